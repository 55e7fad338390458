"""Debian testing, the next Debian: its versions, and unit tests under its Python, systemd, h11 and OpenSSL.

Tests of other files with a mark of systems.py run there as well.
"""

from __future__ import annotations

import re

from tests.e2e import systems
from tests.lab.machine import Machine


def version(text: str) -> tuple[int, ...]:
    """Return the first version in a text, two numbers of it."""
    found = re.search(r"(\d+)(?:\.(\d+))?", text)
    assert found, text
    return tuple(int(number or 0) for number in found.groups())


def test_versions_are_newer_than_those_of_stable(nodetesting: Machine) -> None:
    assert version(nodetesting.run("python3", "--version").stdout) >= (3, 14)
    assert version(nodetesting.run("systemctl", "--version").stdout) >= (262, 0)
    assert version(nodetesting.run("puppet", "--version").stdout) >= (9, 0)


def test_unit_tests_pass_on_testing(nodetesting: Machine) -> None:
    systems.pass_unit_tests(nodetesting, "tests/units/test_units.py")
