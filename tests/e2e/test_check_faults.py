"""Every fix that `puppet-twitch check` prints cures its fault. Those of TLS are in test_access_check.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.configured_node import WITHOUT_TLS, configured
from tests.e2e.curing import cure
from tests.e2e.faults import FAULTS, OF_TLS, Fault
from tests.lab.machine import Machine

OTHERS = {name: fault for name, fault in FAULTS.items() if name not in OF_TLS}


@pytest.fixture
def node(clean_node12: Machine, enabled12: None) -> Iterator[Machine]:
    # Without TLS, `check` does not ask Puppet for settings, which takes a second.
    yield from configured(clean_node12, f"[access]\n{WITHOUT_TLS}")


@pytest.mark.parametrize("fault", OTHERS.values(), ids=OTHERS)
def test_the_fix_of_a_fault_cures_it(node: Machine, fault: Fault) -> None:
    cure(node, fault)
