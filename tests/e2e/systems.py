"""The systems that nodes have, and the marks of the tests that also run on Debian testing.

Every test with the fixture `node` or `agent` runs on both stable systems. Those that depend on Puppet,
systemd or Python run on testing as well: OpenVox 9, systemd 262 and Python 3.14 in November 2026.
"""

from __future__ import annotations

import pytest

from tests.lab import images
from tests.lab.errors import NotBuiltError
from tests.lab.install import install
from tests.lab.lab import Lab
from tests.lab.machine import Machine

# Machine -> image.
STABLE = {"node12": "debian12", "node13": "debian13"}
TESTING = "debiantesting"
EVERY = {**STABLE, "nodetesting": TESTING}

# Marks of tests with these fixtures, directly or by another one; the third for fixtures that boot an image.
every_node = pytest.mark.parametrize("node", EVERY, indirect=True)
every_agent = pytest.mark.parametrize("agent", EVERY, indirect=True)
every_image = pytest.mark.parametrize("node", EVERY.values(), indirect=True, scope="module")


def has_testing() -> bool:
    """Return whether there is an image of Debian testing; LabError if nobody has tried to build one."""
    try:
        images.built(TESTING)
    except NotBuiltError:
        return False
    return True


def boot(lab: Lab, name: str, image: str) -> Machine:
    """Boot a machine; skip the test where testing has no image, which `make test` says at its end."""
    try:
        return lab.boot(name, image=image)
    except NotBuiltError as error:
        pytest.skip(str(error))


def boot_node(lab: Lab, name: str) -> Machine:
    """Boot a node, one of EVERY, with puppet-twitch."""
    machine = boot(lab, name, EVERY[name])
    install(machine)
    return machine
