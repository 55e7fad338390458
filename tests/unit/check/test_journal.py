"""The journal: a journald that stores nothing has no logs of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import pytest

from twitch.check import journal, systemd
from twitch.check.findings import FAULT

CONFIGURATIONS: dict[str, tuple[Optional[str], int]] = {
    "as installed": ("# /etc/systemd/journald.conf\n[Journal]\n#Storage=none\n", 0),
    "none": ("[Journal]\nStorage=none\n", 1),
    "none, and a drop-in after it": ("[Journal]\nStorage=none\n[Journal]\nStorage=volatile\n", 0),
    "volatile, and a drop-in after it": ("[Journal]\nStorage=volatile\n[Journal]\nStorage=none\n", 1),
    "unknown": (None, 0),
}


@pytest.mark.parametrize(("text", "number"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_storage_none_is_a_fault(monkeypatch: pytest.MonkeyPatch, text: Optional[str], number: int) -> None:
    def output(command: Sequence[str]) -> Optional[str]:
        assert command == ["systemd-analyze", "cat-config", "systemd/journald.conf"]
        return text

    monkeypatch.setattr(systemd, "output", output)
    found = list(journal.check())
    assert [finding.level for finding in found] == [FAULT] * number
