"""The systems that nodes have, and the marks of the tests that also run on Debian testing.

A test with the fixture `agent` runs on both stable systems, because their Puppets differ. A test with the
fixture `node` always runs on the same one, chosen by a hash of its name. Tests that depend on Puppet, systemd
or Python most have a mark, and run on both and on testing: OpenVox 9, systemd 262 and Python 3.14 in November
2026. Tests of the Puppet module name their images themselves.
"""

from __future__ import annotations

import zlib

import pytest

from tests.lab import images
from tests.lab.errors import NotBuiltError
from tests.lab.install import SOURCE, install
from tests.lab.lab import Disk, Lab
from tests.lab.machine import Machine

# Machine -> image.
STABLE = {"node12": "debian12", "node13": "debian13"}
TESTING = "debiantesting"
EVERY = {**STABLE, "nodetesting": TESTING}

# The unit tests of what depends on Python, systemd, h11 and OpenSSL most, of every side. All unit tests would
# take minutes on each system, because many wait, or try thousands of inputs: they run on Debian 12 alone.
UNIT_TESTS = (
    *("tests/unit/test_main.py", "tests/unit/test_boundary.py", "tests/unit/test_config.py"),
    *("tests/unit/test_messages.py", "tests/unit/test_records.py", "tests/unit/test_record_files.py"),
    "tests/unit/check",
    *("tests/unit/root/test_handler_run.py", "tests/unit/root/test_conclude.py"),
    *(
        "tests/unit/root/test_evidence.py",
        "tests/unit/root/test_claims.py",
        "tests/unit/root/test_history.py",
    ),
    *(
        "tests/unit/root/test_report.py",
        "tests/unit/root/test_settings.py",
        "tests/unit/root/test_puppet_locks.py",
    ),
    *("tests/unit/root/test_files.py", "tests/unit/root/test_store.py", "tests/unit/root/test_puppet.py"),
    *("tests/unit/listener/test_handshake.py", "tests/unit/listener/test_tls.py"),
    "tests/unit/listener/test_tls_context.py",
    *("tests/unit/listener/test_crl_parser.py", "tests/unit/listener/test_contexts.py"),
    *("tests/unit/listener/test_server_process.py", "tests/unit/listener/test_lifetime.py"),
    *("tests/unit/listener/test_activation.py", "tests/unit/listener/test_exchange_requests.py"),
    *("tests/unit/listener/test_exchange_limits.py", "tests/unit/listener/test_exchange_smuggling.py"),
    *("tests/unit/listener/test_access.py", "tests/unit/listener/test_tokens.py"),
    *("tests/unit/log", "tests/unit/cli/test_runs.py", "tests/unit/cli/test_completion.py"),
)

# Marks of tests with these fixtures, directly or by another one; the third for fixtures that boot an image.
every_node = pytest.mark.parametrize("node", EVERY, indirect=True)
every_agent = pytest.mark.parametrize("agent", EVERY, indirect=True)
every_image = pytest.mark.parametrize("node", EVERY.values(), indirect=True, scope="function")


def is_its_turn(item: pytest.Item) -> bool:
    """Return whether a test runs on this system: not if the other stable system has its turn.

    Half of the tests on each system take two minutes less than all on both. All have passed on both.
    """
    parameters = getattr(item, "callspec", None)
    system = parameters.params.get("node") if parameters else None
    by_mark = any(mark.args[0] == "node" for mark in item.iter_markers("parametrize"))
    if system not in STABLE or by_mark:
        return True
    chosen = zlib.crc32(item.nodeid.replace(system, "").encode()) % len(STABLE)
    return bool(list(STABLE)[chosen] == system)


def has_testing() -> bool:
    """Return whether there is an image of Debian testing; LabError if nobody has tried to build one."""
    try:
        images.built(TESTING)
    except NotBuiltError:
        return False
    return True


def boot(lab: Lab, name: str, image: str, disk: Disk = ()) -> Machine:
    """Boot a machine, from a kept disk if there is one.

    Skip the test where testing has no image, which `make test` says at its end.
    """
    try:
        return lab.boot(name, image=image, disk=disk)
    except NotBuiltError as error:
        pytest.skip(str(error))


def boot_node(lab: Lab, name: str) -> Machine:
    """Boot a node, one of EVERY, with puppet-twitch."""
    machine = boot(lab, name, EVERY[name])
    install(machine)
    return machine


def pass_unit_tests(machine: Machine, *options: str) -> None:
    """See that UNIT_TESTS pass on a machine with pytest and puppet-twitch's source."""
    command = ["python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *UNIT_TESTS]
    script = f"cd {SOURCE} && PYTHONPATH=. {' '.join(command)} 2>&1"
    done = machine.sh(script, check=False, timeout_s=600)
    assert done.returncode == 0, done.stdout
