"""How far a run is, on real agents: the files that Puppet writes on its way, in their order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import access, stub
from tests.e2e.systems import every_agent
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
PUPPET_CONF = "/etc/puppet/puppet.conf"
RESOURCES = "/var/cache/puppet/state/resources.txt"
# A `cat` waits until somebody writes here: for the catalog on the server, in an exec on the node.
PREPARE, APPLY = "/srv/prepare", "/root/apply"
MANIFEST = f"""\
$waited = generate('/bin/cat', '{PREPARE}')
exec {{ '/bin/cat {APPLY}': timeout => 0 }} -> notify {{ 'after it': }}
"""
# Puppet begins when this file is there.
BEGIN = "/root/begin"
COMMAND = "/root/puppet-that-waits"
WAITING = f"""\
#!/bin/sh
case $* in
"config print "*) ;;
*) until test -e {BEGIN}; do sleep 0.05; done ;;
esac
exec /usr/bin/puppet "$@"
"""
CONFIG = f"""\
[access]
anonymous = trigger status
cooldown = 0
token:deploy = status
[puppet]
path = {COMMAND}
"""
# The port to which the agent sends its report accepts connections, and does not answer.
SETTINGS = "report_server = localhost\nreport_port = 8149\n"
SILENT = """\
import socket
server, clients = socket.create_server(("127.0.0.1", 8149)), []
while True:
    clients.append(server.accept())
"""
# Three good runs, after which it is known how long one usually takes.
EARLIER = """\
mkdir -p /var/lib/puppet-twitch/runs && cd /var/lib/puppet-twitch/runs
for id in 1 2 3; do
    run=$(printf %032d $id)
    times='"asked": 1, "started": 1, "ended": 36, "duration_s": 35'
    echo '{"run": "'$run'", "state": "finished", "verdict": "changed", '"$times"'}' >$run.json
done
"""


@pytest.fixture
def node(agent: Machine, server: PuppetServer) -> Iterator[Machine]:
    """Return an agent whose runs stop in each phase."""
    stub.clear(agent)
    agent.write(COMMAND, WAITING, 0o755)
    agent.write(stub.CONFIG, CONFIG)
    before = agent.read(PUPPET_CONF)
    agent.write(PUPPET_CONF, before + SETTINGS)
    agent.sh(f"rm -f {BEGIN} {APPLY}; mkfifo {APPLY}; {EARLIER}")
    agent.write("/root/silent.py", SILENT)
    agent.run("systemd-run", "--unit=silent", "/usr/bin/python3", "/root/silent.py")
    agent.wait("ss -Hltn sport = :8149 | grep -q .")
    server.machine.sh(f"rm -f {PREPARE}; mkfifo -m 644 {PREPARE}")
    server.manifest("production", MANIFEST)
    yield agent
    agent.write(PUPPET_CONF, before)
    server.manifest("production", "")
    agent.sh(f"systemctl stop silent; rm -rf {BEGIN} {COMMAND} {APPLY} {access.TOKENS}")
    stub.clear(agent)


@every_agent
def test_phases_of_a_run_are_seen_in_their_order(node: Machine, server: PuppetServer) -> None:
    token, line = access.new_token(node, "deploy")
    access.write_tokens(node, line)
    named = access.bearer(token)

    def status(*credentials: str) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(node.curl("/puppet/status", *access.JSON, *credentials).body)
        return fields

    def reached(phase: str) -> dict[str, Any]:
        """Return what a named caller sees when the run is in this phase; {} before that."""
        found = status(*named)
        assert found.get("phase") in (*seen, phase), found
        return found if found.get("phase") == phase else {}

    seen: list[str] = []
    run = stub.started(node)
    for phase in ("starting", "preparing", "applying", "reporting"):
        found = node.wait(lambda phase=phase: reached(phase))  # type: ignore[misc]
        seen.append(phase)
        assert (found["run"], found["state"], found["usual_s"]) == (run, "running", 35)
        assert found["elapsed_s"] >= 0
        if phase == "starting":
            node.run("touch", BEGIN)
        if phase == "preparing":
            # Other callers see phases and numbers, and no names.
            assert status().keys() == {"message", "state", "phase", "elapsed_s", "usual_s"}
            assert node.curl("/puppet/status").body == "running\n"
            server.machine.sh(f"echo >{PREPARE}")
        if phase == "applying":
            assert found["resources"] == int(node.sh(f"grep -c . {RESOURCES}").stdout)
            node.wait(lambda: status(*named).get("doing", {}).get("name") == "cat")
            assert_as_in_readme(node.curl("/puppet/status", *named).body.splitlines()[0], run)
            node.sh(f"echo >{APPLY}")
    node.run("systemctl", "stop", "silent")
    assert stub.end_of(node, run)["verdict"] == "changed"
    assert node.wait(lambda: status()["state"] == "idle")
    assert status().keys() == {"message", "state"}


def assert_as_in_readme(text: str, run: str) -> None:
    """README's example is this text, but for the id, the numbers, the times and the name of the command."""
    (example,) = re.findall(r"^running: run .*", README, re.MULTILINE)
    pattern = re.sub(r"\d+", r"\\d+", re.escape(re.sub(r"[0-9a-f]{32}", "RUN", example)))
    pattern = re.sub(r"\\d\+s", r"(\\d+m )?\\d+s", pattern)
    assert re.fullmatch(pattern.replace("RUN", run).replace(re.escape("apt-get"), "cat"), text)
