"""Debian testing, the next Debian: its versions, and unit tests under its Python, systemd, h11 and OpenSSL.

Tests of other files with a mark of systems.py run there as well.
"""

from __future__ import annotations

import re

from tests.lab.install import SOURCE
from tests.lab.machine import Machine

# The tests of what depends on Python and on its libraries most; all of them would take minutes, because many
# wait, or try thousands of inputs.
UNIT_TESTS = (
    "tests/units/test_units.py",
    *("tests/unit/test_main.py", "tests/unit/test_boundary.py", "tests/unit/test_config.py"),
    *("tests/unit/test_messages.py", "tests/unit/test_records.py", "tests/unit/check"),
    *("tests/unit/root/test_handler_run.py", "tests/unit/root/test_conclude.py"),
    *("tests/unit/root/test_report.py", "tests/unit/root/test_settings.py", "tests/unit/root/test_locks.py"),
    *("tests/unit/root/test_files.py", "tests/unit/root/test_store.py", "tests/unit/root/test_puppet.py"),
    *("tests/unit/listener/test_handshake.py", "tests/unit/listener/test_tls.py"),
    *("tests/unit/listener/test_crl.py", "tests/unit/listener/test_contexts.py"),
    *("tests/unit/listener/test_server_process.py", "tests/unit/listener/test_server_life.py"),
    *("tests/unit/listener/test_activation.py", "tests/unit/listener/test_exchange_requests.py"),
    *("tests/unit/listener/test_exchange_limits.py", "tests/unit/listener/test_exchange_smuggling.py"),
    *("tests/unit/listener/test_access.py", "tests/unit/listener/test_tokens.py"),
)


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
    command = f"cd {SOURCE} && python3 -m pytest -q -p no:cacheprovider {' '.join(UNIT_TESTS)} 2>&1"
    done = nodetesting.sh(command, check=False, timeout_s=600)
    assert done.returncode == 0, done.stdout
