"""The log of a run over HTTP: its lines as they come, in the journal of real machines."""

from __future__ import annotations

import json

from tests.e2e import stub
from tests.e2e.systems import every_node
from tests.lab.machine import Machine

ASK = """\
import json, socket, sys
peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
peer.settimeout(20)
peer.connect("/run/puppet-twitch/log.sock")
peer.send(sys.argv[1].encode())
while packet := peer.recv(200000):
    print(packet.decode())
"""


def ask(node: Machine, user: str, **question: object) -> list[dict[str, object]]:
    """Return what the log reader answers a user of the node."""
    node.write("/tmp/ask.py", ASK)
    done = node.run("setpriv", f"--reuid={user}", "--init-groups", "python3", "/tmp/ask.py", json.dumps(question))
    return [json.loads(line) for line in done.stdout.splitlines()]


@every_node
def test_log_reader_is_neither_root_nor_the_listener(clean_node: Machine) -> None:
    stub.real_puppet(clean_node, stub.HOLD + "notify { 'seen': }\n")
    run = stub.hold(clean_node)
    process = clean_node.popen(
        "setpriv", "--reuid=twitch", "--regid=twitch", "--init-groups", "python3", "-c", ASK, json.dumps({"run": run, "follow": True})
    )
    pid = clean_node.wait("pgrep -f '[r]ead-log'").strip()
    status = clean_node.read(f"/proc/{pid}/status")
    print(status, clean_node.sh(f"id twitch; ps -o user,uid,rss,args -p {pid}; systemctl status 'puppet-twitch-log@*'").stdout)
    stub.release(clean_node)
    out, _ = process.communicate(timeout=60)
    print(out)
    assert '"end"' in out
    assert "seen" in out
    print(clean_node.sh("systemctl --failed; journalctl -b -u 'puppet-twitch-log*' --no-pager").stdout)
    assert 0
