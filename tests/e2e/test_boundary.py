"""The listener's units keep the listener away from root's code, whatever the listener becomes."""

from __future__ import annotations

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

TREE = "/usr/lib/puppet-twitch/twitch"
# A file of each side, and whether the listener may read it.
READABLE = {
    f"{TREE}/records.py": True,
    f"{TREE}/listener/server.py": True,
    f"{TREE}/root/handler.py": False,
    f"{TREE}/check/main.py": False,
}
# Runs in the sandbox of the unit, as the user of the unit, before the listener itself.
READ_ALL = f"""\
import sys
for path in {list(READABLE)}:
    try:
        open(path).close()
        result = True
    except OSError as error:
        result = type(error).__name__
    print("readable", path, result, file=sys.stderr)
"""


@pytest.mark.parametrize("unit", ["puppet-twitch.service", "puppet-twitch@.service"])
def test_the_listener_cannot_open_roots_code(node: Machine, unit: str) -> None:
    stub.clear(node)
    node.write("/root/read_all.py", READ_ALL)
    node.sh("install -m 644 /root/read_all.py /usr/share/read_all.py")
    stub.drop_in(node, unit, "[Service]\nExecStartPre=/usr/bin/python3 -I /usr/share/read_all.py\n")
    if "@" in unit:
        stub.per_connection(node)
    try:
        assert node.curl("/version").status == 200
        lines = node.sh(
            "journalctl --sync; journalctl -o cat -t puppet-twitch -g ^readable"
        ).stdout.splitlines()
        found = {line.split()[1]: line.split()[2] == "True" for line in lines}
        assert found == READABLE
    finally:
        node.run("rm", "/usr/share/read_all.py")
        stub.clear(node)
