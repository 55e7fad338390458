"""Runs that are cancelled, with real agents: of ours at each moment, of the daemon, and by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import access, stub
from tests.e2e.systems import every_agent
from tests.lab.curl import Reply
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
LOCK = "/var/cache/puppet/state/agent_catalog_run.lock"
PIDFILE = "/run/puppet/agent.pid"
# A command waits here until somebody writes.
WAITS = "/root/waits"
HOLD = f"exec {{ '/bin/cat {WAITS}': timeout => 0 }}"

# A package whose maintainer script waits: apt-get, dpkg and the script are real.
PACKAGE = f"""\
set -e
rm -rf /root/hangs && mkdir -p /root/hangs/DEBIAN && cd /root/hangs/DEBIAN
printf '%s\\n' 'Package: hangs' 'Version: 1' 'Architecture: all' 'Maintainer: x <x@example.com>' \\
    'Description: waits' >control
printf '%s\\n' '#!/bin/sh' 'cat {WAITS}' >postinst
chmod 755 postinst
dpkg-deb --build /root/hangs /root/hangs.deb >/dev/null
"""
INSTALL = """\
exec { '/usr/bin/apt-get install -y /root/hangs.deb':
  environment => ['DEBIAN_FRONTEND=noninteractive'],
  timeout     => 0,
}
"""


@pytest.fixture
def node(agent: Machine, server: PuppetServer) -> Iterator[Machine]:
    stub.clear(agent)
    agent.write(stub.CONFIG, "[access]\nanonymous = trigger status\ntoken:deploy = trigger status cancel\n")
    agent.sh(f"rm -f {WAITS}; mkfifo {WAITS}")
    server.manifest("production", HOLD)
    yield agent
    server.manifest("production", "")
    agent.run("systemctl", "stop", "puppet.service", timeout_s=180)
    # To open the FIFO for both directions does not block, and ends every `cat` that waits at this moment.
    agent.wait(f": 3<>{WAITS}; ! pgrep -f 'ca[t] {WAITS}'", show="ps ax")
    agent.wait(f"! test -s {LOCK}", show=f"cat {LOCK}; ps ax")
    agent.sh(f"rm -rf {WAITS} {access.TOKENS}")
    stub.clear(agent)


@pytest.fixture
def deploy(node: Machine) -> tuple[str, str]:
    """Return the arguments of curl that make the request one of the caller token:deploy."""
    token, line = access.new_token(node, "deploy")
    access.write_tokens(node, line)
    return access.bearer(token)


def cancel(node: Machine, run: str, query: str, *arguments: str) -> Reply:
    return node.curl(f"/puppet/runs/{run}/cancel{query}", "-X", "POST", *arguments, timeout_s=240)


def await_command(node: Machine, *credentials: str) -> None:
    """Return when the command of the manifest waits, and the status names it."""

    def doing() -> str:
        fields: dict[str, Any] = json.loads(node.curl("/puppet/status", *access.JSON, *credentials).body)
        return str(fields.get("doing", {}).get("name", ""))

    # The name alone is not enough: before Puppet applies anything, Facter runs `cat` several times.
    node.wait(f"pgrep -f 'ca[t] {WAITS}'")
    node.wait(lambda: doing() == "cat")


@every_agent
def test_cancelled_run_leaves_the_package_manager_and_names_it(
    node: Machine, server: PuppetServer, deploy: tuple[str, str]
) -> None:
    node.sh(PACKAGE)
    server.manifest("production", INSTALL)
    run = stub.started(node)
    await_command(node, *deploy)
    cursor = access.journal_cursor(node)
    reply = cancel(node, run, "?wait=180", *deploy)
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (200, "interrupted")
    (example,) = re.findall(r"^Puppet run cancelled: .*", README, re.MULTILINE)
    words = re.escape(example.partition("(pid")[0])
    assert re.match(rf"{words}\(pid \d+, (\d+m )?\d+s\)", reply.body), reply.body
    record = json.loads(node.curl(f"/puppet/runs/{run}", *access.JSON, *deploy).body)
    assert record["cancelled"]["by"] == "token:deploy"
    assert "apt-get" in [process["name"] for process in record["left_running"]]
    # Root logs it after its answer, so that conclude may have logged the verdict before.
    messages = access.await_message(node, cursor, "it was told to stop")
    asked = rf"token:deploy at \S+ cancelled run {run}: it was told to stop"
    assert [text for text in messages if re.fullmatch(asked, text)]
    assert server.reports(node.name)[-1]["job_id"] == run
    # Nobody else learns who it was.
    assert "deploy" not in node.curl(f"/puppet/runs/{run}?wait=1").body
    again = cancel(node, run, "", *deploy)
    assert (again.status, again.body) == (409, "Puppet run has ended before: interrupted\n")
    # The package manager goes on to its end, and the next anonymous run need not wait for the cooldown.
    node.sh(f"echo >{WAITS}")
    node.wait("dpkg-query -W -f '${Status}' hangs | grep -q 'ok installed'")
    server.manifest("production", "")
    assert node.curl("/puppet/twitch?async=false", timeout_s=300).headers["Puppet-Verdict"] == "unchanged"
    node.wait("! pgrep -x 'apt-get|dpkg'")  # it locks the packages until it has ended
    node.sh("dpkg --purge hangs")


@every_agent
def test_run_is_cancelled_in_its_first_seconds(node: Machine, deploy: tuple[str, str]) -> None:
    # At once; when Ruby loads Puppet; and when the run lock is taken.
    for moment in ("true", "pgrep -x 'puppet|ruby'", f"test -s {LOCK}"):
        run = stub.started(node)
        node.wait(moment)
        # A fact that waits for its command swallows SIGTERM, and systemd sends SIGKILL 90 s later.
        reply = cancel(node, run, "?wait=180", *deploy)
        assert reply.status == 200, reply
        assert reply.headers["Puppet-Verdict"] in ("not attempted", "interrupted")
        assert "cancelled by token:deploy" in reply.body
        node.wait(lambda run=run: not stub.unit_of(node, run))  # type: ignore[misc]


@pytest.mark.parametrize("agent", ["node13"], indirect=True)
def test_run_of_the_daemon_is_cancelled_by_force_and_the_daemon_stays(
    node: Machine, deploy: tuple[str, str]
) -> None:
    node.run("systemctl", "start", "puppet.service")
    await_command(node, *deploy)
    daemon = node.run("systemctl", "show", "-P", "MainPID", "puppet.service").stdout
    refused = cancel(node, "current", "", *deploy)
    assert refused.status == 409
    assert refused.body.startswith("The run under way was not started by puppet-twitch; force=true stops it")
    cursor = access.journal_cursor(node)
    reply = cancel(node, "current", "?force=true&wait=180", *deploy)
    assert (reply.status, reply.body) == (200, "Puppet run was told to stop, and has ended\n")
    access.await_message(node, cursor, "cancelled by token:deploy, has ended; still running: cat (pid ")
    assert node.run("systemctl", "show", "-P", "MainPID", "puppet.service").stdout == daemon
    assert node.curl("/puppet/status").body == "idle\n"
    assert cancel(node, "current", "?force=true", *deploy).status == 404


@pytest.mark.parametrize("agent", ["node13"], indirect=True)
def test_run_by_hand_is_cancelled_by_force_unless_it_is_the_daemon(
    node: Machine, deploy: tuple[str, str]
) -> None:
    by_hand = node.popen("puppet", "agent", "--onetime", "--no-daemonize")
    await_command(node, *deploy)
    assert "applying" in node.curl("/puppet/status", *deploy).body  # the phase of a run that is not ours
    node.sh(f"cp {LOCK} {PIDFILE}")  # as if this were a daemon that cannot fork
    refused = cancel(node, "current", "?force=true", *deploy)
    assert refused.status == 409
    assert "the daemon itself applies the catalog" in refused.body
    node.sh(f"rm {PIDFILE}")
    assert cancel(node, "current", "?force=true&wait=180", *deploy).status == 200
    assert by_hand.wait(180) == 0
