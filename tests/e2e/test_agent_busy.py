"""Foreign runs and their locks: started by hand, by the agent daemon, or at the same moment as ours."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.systems import every_agent
from tests.e2e.test_agent_verdicts import GENEROUS, STATE, run
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

CONFIG = "/etc/puppet-twitch/puppet-twitch.conf"
LOCK = f"{STATE}/agent_catalog_run.lock"

# A run that lasts until the test says so.
CUE, HELD = "/root/agent-cue", "/root/agent-held"
HOLD = f"""\
exec {{ '/bin/sh -c "touch {HELD}; until test -e {CUE}; do sleep 0.1; done"': timeout => 0 }}
"""


@pytest.fixture
def node(agent: Machine, server: PuppetServer) -> Iterator[Machine]:
    agent.write(CONFIG, GENEROUS)
    agent.sh(f"rm -f {CUE} {HELD}")
    yield agent
    agent.sh(f"touch {CUE}; systemctl stop puppet.service")
    agent.wait(f"! test -s {LOCK}", show=f"cat {LOCK}; ps ax")
    server.manifest("production", "")


def test_busy_with_our_own_run(node: Machine, server: PuppetServer) -> None:
    server.manifest("production", HOLD)
    first = node.curl("/puppet/twitch")
    node.wait(f"test -e {HELD}")
    second = node.curl("/puppet/twitch")
    assert (second.status, second.body) == (409, "Puppet already running")
    assert second.headers["Puppet-Run"] == first.headers["Puppet-Run"]
    assert int(second.headers["Retry-After"]) > 0


@every_agent
def test_busy_with_a_run_by_hand_and_queued_behind_it(node: Machine, server: PuppetServer) -> None:
    server.manifest("production", HOLD)
    by_hand = node.popen("puppet", "agent", "--onetime", "--no-daemonize")
    node.wait(f"test -e {HELD}")
    reply = node.curl("/puppet/twitch")
    assert (reply.status, reply.body) == (409, "Puppet already running")
    assert reply.headers["Puppet-Run"] is None
    assert node.curl("/puppet/status").body == "running\n"
    queued = node.curl("/puppet/twitch?queue=true")
    assert (queued.status, queued.body) == (202, "Queued puppet run\n")
    run_id = queued.headers["Puppet-Run"]
    assert node.curl("/puppet/twitch?queue=true").headers["Puppet-Run"] == run_id
    assert node.curl("/puppet/twitch?queue=true&noop=true").status == 409
    assert node.curl("/puppet/status").body == "queued\n"
    server.manifest("production", "notify { 'after the other one': }")
    node.sh(f"touch {CUE}")
    assert by_hand.wait(180) == 0
    ended = node.curl(f"/puppet/runs/{run_id}?wait=180", timeout_s=240)
    assert ended.headers["Puppet-Verdict"] == "changed"
    assert server.reports(node.name)[-1]["job_id"] == run_id


@every_agent
def test_busy_with_the_agent_daemons_run(node: Machine, server: PuppetServer) -> None:
    server.manifest("production", HOLD)
    node.run("systemctl", "start", "puppet.service")
    node.wait(f"test -e {HELD}")
    # The daemon's child holds the lock, under a title of its own.
    assert node.read(LOCK) != node.sh("systemctl show -P MainPID puppet.service").stdout.strip()
    assert node.curl("/puppet/twitch").status == 409
    status = json.loads(node.curl("/puppet/status", "-H", "Accept: application/json").body)
    assert status["state"] == "running"
    node.sh(f"touch {CUE}")
    node.wait(lambda: node.curl("/puppet/status").body == "idle\n")
    # The daemon is idle now, and does not keep our run from starting.
    server.manifest("production", "")
    assert run(node).headers["Puppet-Verdict"] == "unchanged"


def test_agent_lock_decides_between_simultaneous_runs(node: Machine, server: PuppetServer) -> None:
    """A run by hand may begin between our check and our start; then the agent's own lock decides."""
    server.manifest("production", "")
    before = len(server.reports(node.name))
    by_hand = node.popen("puppet", "agent", "--onetime", "--no-daemonize")
    reply = run(node)
    by_hand.wait(180)
    reports = server.reports(node.name)[before:]
    ours = [report for report in reports if report.get("job_id") == reply.headers["Puppet-Run"]]
    if reply.status == 409:
        assert (reply.body, ours) == ("Puppet already running", [])
    else:
        assert (reply.status, len(ours)) == (200, 1)


STALE = {
    "a process that is gone": "sh -c 'echo $$'",
    "empty": "true",
    "garbage": "echo nonsense",
    "init": "echo 1",
}


@pytest.mark.parametrize("content", STALE.values(), ids=STALE)
def test_stale_agent_lock_does_not_block(node: Machine, content: str) -> None:
    node.sh(f"{content} >{LOCK}")
    assert run(node).status == 200
    assert not node.exists(LOCK)  # Puppet removed it as stale, too


def test_agent_lock_of_another_program_does_not_block(node: Machine) -> None:
    other = "python3 -c 'import time; time.sleep(600)' puppet"
    node.sh(f"{other} >/dev/null 2>&1 & echo $! | tee /root/other-pid >{LOCK}")
    assert run(node).status == 200
    node.sh("kill $(cat /root/other-pid)")


def test_killed_run_does_not_block_the_next(node: Machine, server: PuppetServer) -> None:
    server.manifest("production", HOLD)
    first = node.curl("/puppet/twitch")
    node.wait(f"test -e {HELD}")
    pid = node.read(LOCK)
    # Puppet alone is killed; in test_node_restarts conclude is killed as well.
    node.sh(f"kill -KILL {pid}")
    ended = node.curl(f"/puppet/runs/{first.headers['Puppet-Run']}?wait=180", timeout_s=240)
    assert ended.headers["Puppet-Verdict"] == "interrupted"
    assert node.read(LOCK) == pid
    server.manifest("production", "")
    assert run(node).status == 200
