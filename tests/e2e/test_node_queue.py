"""Puppet runs once at a time: refusals while it is busy, the queue, locks, the cooldown, a disabled agent.

All of this is between our files and Puppet's, so one version of systemd is enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.e2e import access, stub
from tests.lab.curl import Reply
from tests.lab.machine import Machine


@pytest.fixture
def node(clean_node12: Machine) -> Machine:
    return clean_node12


def at_once(node: Machine, query: str, count: int) -> list[Reply]:
    """Return the answers to triggers that are sent in the same instant."""
    instant = Barrier(count, timeout=60)

    def ask(_: int) -> Reply:
        instant.wait()
        return stub.trigger(node, query)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(ask, range(count)))


# -- busy ---------------------------------------------------------------------------------------


def test_trigger_during_a_run_gets_409(node: Machine) -> None:
    stub.stub_puppet(node)
    run = stub.hold(node)
    for _ in range(2):
        reply = stub.trigger(node)
        assert (reply.status, reply.body) == (409, "Puppet already running")
        assert reply.headers["Puppet-Run"] == run
        assert int(reply.headers["Retry-After"]) > 0
        # A new listener remembers nothing, so the second answer is the handler's own.
        node.run("systemctl", "restart", "puppet-twitch.service")


# One listener asks root one question after the other; two listeners let two handlers race.
@pytest.mark.parametrize(("listeners", "rounds"), [("one", 5), ("one each", 20)])
def test_simultaneous_triggers_become_one_run(node: Machine, listeners: str, rounds: int) -> None:
    stub.stub_puppet(node)
    if listeners != "one":
        stub.per_connection(node)
    for _ in range(rounds):
        stub.hold_runs(node)
        replies = at_once(node, "", 2)
        assert sorted(reply.status for reply in replies) == [202, 409]
        run, same = (str(reply.headers["Puppet-Run"]) for reply in replies)
        assert run == same
        stub.release(node)
        stub.end_of(node, run)
        assert stub.stub_log(node) == stub.in_order(run)
        node.run("rm", f"{stub.STUB}/log")


# -- the queue, which has one place -------------------------------------------------------------


def test_equal_queued_requests_share_one_run(node: Machine) -> None:
    stub.stub_puppet(node)
    first = stub.hold(node)
    replies = at_once(node, "?queue=true", 20)
    assert {(reply.status, reply.body) for reply in replies} == {(202, "Queued puppet run\n")}
    (second,) = {str(reply.headers["Puppet-Run"]) for reply in replies}
    assert node.curl("/puppet/status").body == "queued\n"
    stub.release(node)
    stub.end_of(node, second)
    assert stub.stub_log(node) == stub.in_order(first, second)


def test_different_request_does_not_join_the_queued_run(node: Machine) -> None:
    stub.stub_puppet(node, access="anonymous = trigger status noop")
    first = stub.hold(node)
    second = stub.started(node, "?queue=true")
    assert stub.trigger(node, "?queue=true&noop=true").status == 409
    assert stub.trigger(node, "?queue=true").headers["Puppet-Run"] == second
    stub.release(node)
    stub.end_of(node, second)
    assert stub.stub_log(node) == stub.in_order(first, second)


def test_request_after_the_queued_run_began_is_queued_anew(node: Machine) -> None:
    stub.stub_puppet(node)
    stub.hold(node)
    second = stub.started(node, "?queue=true")
    # The queued run begins, and the stub holds it.
    node.sh(f"touch {stub.CUE}; until grep -q 'began {second}' {stub.STUB}/log; do :; done; rm {stub.CUE}")
    third = stub.trigger(node, "?queue=true")
    assert third.headers["Puppet-Run"] != second
    assert third.status == 202


def test_queue_true_on_an_idle_node_starts_at_once(node: Machine) -> None:
    stub.stub_puppet(node)
    reply = stub.trigger(node, "?queue=true")
    assert (reply.status, reply.body) == (202, "Triggered puppet run")


# -- foreign runs, and their locks --------------------------------------------------------------


def foreign(node: Machine, command: str) -> None:
    """Start a process whose pid is in the agent's run lock."""
    node.write("/root/foreign/start", f"#!/bin/sh\necho $$ >{stub.STUB_LOCK}\nexec {command}\n", 0o755)
    node.sh("systemd-run --quiet --unit=foreign /root/foreign/start")
    node.wait("grep -q 1000 /proc/$(systemctl show -P MainPID foreign)/cmdline")
    assert node.read(stub.STUB_LOCK) == node.sh("systemctl show -P MainPID foreign").stdout


# Processes with the names of an agent: a program called puppet, or Ruby with an argument puppet.
LIVE = {
    "puppet": "/root/foreign/puppet 1000",
    "a titled agent": "/root/foreign/puppet-agent 1000",
    "ruby": "ruby -e 'sleep 1000' puppet agent",
}
# Puppet removes each of these (seen), by the rule in lib/puppet/util/pidlock.rb.
DEAD = {
    "a dead pid": "sh -c 'echo $$' >{lock}",
    "nothing": ": >{lock}",
    "garbage": "echo nonsense >{lock}",
    "init": "echo 1 >{lock}",
    "a pid too large": "echo 99999999999999999999 >{lock}",
}
OTHERS = {
    "sleep": "sleep 1000",
    "Python that says puppet": "python3 -c 'import time; time.sleep(1000)' puppet agent",
    "sleep that claims to be puppet": "bash -c 'exec -a puppet-agent sleep 1000'",
}


@pytest.fixture
def foreigner(node: Machine) -> Iterator[Machine]:
    stub.stub_puppet(node)
    node.sh(
        "mkdir /root/foreign; for name in puppet puppet-agent; do cp /bin/sleep /root/foreign/$name; done"
    )
    yield node
    node.sh("systemctl stop foreign.service; rm -rf /root/foreign", check=False)


@pytest.mark.parametrize("command", LIVE.values(), ids=LIVE)
def test_queued_run_waits_for_a_foreign_run(foreigner: Machine, command: str) -> None:
    foreign(foreigner, command)
    busy = stub.trigger(foreigner)
    assert (busy.status, busy.headers["Puppet-Run"]) == (409, None)
    assert foreigner.curl("/puppet/status").body == "running\n"
    run = stub.started(foreigner, "?queue=true")
    assert stub.stub_log(foreigner) == []
    foreigner.run("systemctl", "stop", "foreign.service")
    stub.end_of(foreigner, run)
    assert stub.stub_log(foreigner) == stub.in_order(run)


@pytest.mark.parametrize("command", OTHERS.values(), ids=OTHERS)
def test_lock_of_another_program_is_ignored(foreigner: Machine, command: str) -> None:
    foreign(foreigner, command)
    assert foreigner.curl("/puppet/status").body == "idle\n"
    assert stub.trigger(foreigner).status == 202


@pytest.mark.parametrize("lock", DEAD.values(), ids=DEAD)
def test_stale_lock_is_ignored(node: Machine, lock: str) -> None:
    stub.stub_puppet(node)
    node.sh(lock.format(lock=stub.STUB_LOCK))
    assert node.curl("/puppet/status").body == "idle\n"
    assert stub.trigger(node).status == 202
    # Puppet removes such a lock itself, and only Puppet does.
    assert node.exists(stub.STUB_LOCK)


def test_lock_older_than_runtimeout_is_stuck(foreigner: Machine) -> None:
    foreign(foreigner, LIVE["puppet"])
    # The limit is runtimeout, one hour here, and five minutes for the report.
    foreigner.run("touch", "--date=64 minutes ago", stub.STUB_LOCK)
    assert foreigner.curl("/puppet/status").body == "running\n"
    foreigner.run("touch", "--date=66 minutes ago", stub.STUB_LOCK)
    foreigner.wait(lambda: foreigner.curl("/puppet/status").body == "stuck\n")
    assert foreigner.curl("/puppet/status?max_age=2h").status == 503
    assert stub.trigger(foreigner).status == 409


@pytest.fixture
def deploy(node: Machine) -> Iterator[str]:
    """Return the header of a named caller."""
    stub.stub_puppet(node, access="token:deploy = trigger status\nplaintext_tokens = yes")
    token, line = access.new_token(node, "deploy")
    access.write_tokens(node, line)
    yield f"Authorization: Bearer {token}"
    node.sh(f"rm -f {access.TOKENS}")


def test_named_caller_is_told_who_has_the_lock(foreigner: Machine, deploy: str) -> None:
    foreign(foreigner, LIVE["puppet"])
    pid = foreigner.read(stub.STUB_LOCK).strip()
    since = foreigner.sh(f"date --utc --reference={stub.STUB_LOCK} +%Y-%m-%dT%H:%M").stdout.strip()
    told = foreigner.curl("/puppet/twitch", "-H", deploy)
    assert told.body.startswith(f"Puppet already running: started elsewhere, since {since}:")
    assert told.body.endswith(f"Z, pid {pid}\n")
    foreigner.run("systemctl", "stop", "foreign.service")
    stub.hold_runs(foreigner)
    run = stub.started_when_fixed(foreigner)
    told = foreigner.curl("/puppet/twitch", "-H", deploy)
    assert told.body.startswith(f"Puppet already running: run {run} of anonymous at ")
    assert stub.trigger(foreigner).body == "Puppet already running"


def test_stopped_runs_end_as_the_status_says(foreigner: Machine, deploy: str) -> None:
    # SIGTERM alone does nothing to a process that was stopped with SIGSTOP.
    run = stub.hold(foreigner)
    queued = stub.started(foreigner, "?queue=true")
    foreigner.write(stub.STUB_LOCK, f"{stub.pid_of(foreigner, run)}\n")
    _end_as_the_status_says(foreigner, deploy, f", run {queued} waits\n")
    assert stub.end_of(foreigner, run)["verdict"] == "interrupted"
    stub.release(foreigner)
    stub.end_of(foreigner, queued)
    foreign(foreigner, LIVE["puppet"])
    foreigner.wait(lambda: foreigner.curl("/puppet/status").body == "running\n")
    _end_as_the_status_says(foreigner, deploy, "\n")
    foreigner.wait(lambda: foreigner.curl("/puppet/status").body == "idle\n")


def _end_as_the_status_says(node: Machine, deploy: str, end: str) -> None:
    """Stop the process that has the lock, let it be old, and run the command in the text of the status."""
    node.sh(f"kill -STOP $(cat {stub.STUB_LOCK}); touch --date='67 minutes ago' {stub.STUB_LOCK}")
    node.wait(lambda: node.curl("/puppet/status").body == "stuck\n")
    text = node.curl("/puppet/status", "-H", deploy).body
    found = re.search(r", 1h \d+m old \(to end it: (.*)\)(.*\n)", text)
    assert found is not None, text
    assert found[2] == end
    node.sh(found[1])


# -- the cooldown, and a disabled agent ---------------------------------------------------------


def test_cooldown_of_an_anonymous_caller(node: Machine) -> None:
    stub.stub_puppet(node, access="cooldown = 1000")
    stub.end_of(node, stub.started(node))
    for query in ("", "?queue=true"):
        reply = stub.trigger(node, query)
        assert reply.status == 429
        assert 0 < int(reply.headers["Retry-After"]) <= 1000
    stub.stub_puppet(node, access="cooldown = 0")
    node.wait(lambda: stub.trigger(node).status == 202)


def test_disabled_agent_gets_423_until_it_is_enabled(node: Machine) -> None:
    stub.real_puppet(node, "")
    node.run("puppet", "agent", "--disable", "the disk is being replaced")
    reply = stub.trigger(node)
    assert (reply.status, reply.body) == (423, "Puppet disabled\n")  # an anonymous caller
    assert node.curl("/puppet/status").body == "disabled\n"
    assert node.curl("/puppet/runs").body == "No runs on record yet\n"
    node.run("puppet", "agent", "--enable")
    node.wait(lambda: stub.trigger(node).status == 202)


def test_disabled_agent_without_a_reason(node: Machine) -> None:
    stub.stub_puppet(node, access=stub.WITH_REASONS)
    node.write(stub.STUB_DISABLED, "")
    reply = stub.trigger(node)
    assert (reply.status, reply.body) == (423, "Puppet disabled: no reason given\n")
    node.run("rm", stub.STUB_DISABLED)
    node.wait(lambda: stub.trigger(node).status == 202)
