"""Puppet runs once at a time: who is refused meanwhile, who waits, and which locks count."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.e2e import stub
from tests.lab.curl import Reply
from tests.lab.machine import Machine


@pytest.fixture
def node(node12: Machine) -> Iterator[Machine]:
    """What is here is between our files and Puppet's; systemd's version does not matter."""
    stub.clear(node12)
    yield node12
    stub.clear(node12)


def at_once(node: Machine, query: str, count: int) -> list[Reply]:
    """Let so many clients ask in the same instant."""
    instant = Barrier(count)

    def ask(_: int) -> Reply:
        instant.wait()
        return stub.trigger(node, query)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(ask, range(count)))


def in_order(*runs: str) -> list[str]:
    """What the stub has written down when these runs came one after the other."""
    return [f"{word} {run}" for run in runs for word in ("began", "ended")]


# -- busy ---------------------------------------------------------------------------------------


def test_who_asks_during_a_run_is_told_to_come_again(node: Machine) -> None:
    stub.stub_puppet(node)
    run = stub.hold(node)
    for _ in range(2):
        reply = stub.trigger(node)
        assert (reply.status, reply.body) == (409, "Puppet already running")
        assert reply.headers["Puppet-Run"] == run
        assert int(reply.headers["Retry-After"]) > 0
        # The second answer is the handler's own, not the one that the listener remembers.
        node.run("systemctl", "restart", "puppet-twitch.service")


# One listener asks one question after the other; only two of them let two handlers race.
@pytest.mark.parametrize(("listeners", "rounds"), [("one", 5), ("each its own", 20)])
def test_of_two_in_the_same_instant_one_becomes_a_run(node: Machine, listeners: str, rounds: int) -> None:
    stub.stub_puppet(node)
    if listeners != "one":
        stub.per_connection(node)
    for _ in range(rounds):
        stub.hold_runs(node)
        replies = at_once(node, "", 2)
        assert sorted(reply.status for reply in replies) == [202, 409]
        run, same = (str(reply.headers["Puppet-Run"]) for reply in replies)
        assert run == same
        stub.let_go(node)
        stub.end_of(node, run)
        assert stub.stub_log(node) == in_order(run)
        node.run("rm", f"{stub.STUB}/log")


# -- the one place to wait in -------------------------------------------------------------------


def test_twenty_who_wait_share_one_run(node: Machine) -> None:
    stub.stub_puppet(node)
    first = stub.hold(node)
    replies = at_once(node, "?queue=true", 20)
    assert {(reply.status, reply.body) for reply in replies} == {(202, "Queued puppet run\n")}
    (second,) = {str(reply.headers["Puppet-Run"]) for reply in replies}
    assert node.curl("/puppet/status").body == "queued\n"
    stub.let_go(node)
    stub.end_of(node, second)
    assert stub.stub_log(node) == in_order(first, second)


def test_a_different_request_does_not_join_the_waiting_one(node: Machine) -> None:
    stub.stub_puppet(node, access="anonymous = trigger status noop")
    first = stub.hold(node)
    second = stub.started(node, "?queue=true")
    assert stub.trigger(node, "?queue=true&noop=true").status == 409
    assert stub.trigger(node, "?queue=true").headers["Puppet-Run"] == second
    stub.let_go(node)
    stub.end_of(node, second)
    assert stub.stub_log(node) == in_order(first, second)


def test_who_asks_after_the_waiting_run_has_begun_waits_for_another_one(node: Machine) -> None:
    stub.stub_puppet(node)
    stub.hold(node)
    second = stub.started(node, "?queue=true")
    # One step of the stub's, and it holds again.
    node.sh(f"touch {stub.CUE}; until grep -q 'began {second}' {stub.STUB}/log; do :; done; rm {stub.CUE}")
    third = stub.trigger(node, "?queue=true")
    assert third.headers["Puppet-Run"] != second
    assert third.status == 202


def test_a_free_puppet_is_not_waited_for(node: Machine) -> None:
    stub.stub_puppet(node)
    reply = stub.trigger(node, "?queue=true")
    assert (reply.status, reply.body) == (202, "Triggered puppet run")


# -- runs of others, and their locks ------------------------------------------------------------


def foreign(node: Machine, command: str) -> None:
    """Start a process that holds the agent's run lock."""
    node.write("/root/foreign/start", f"#!/bin/sh\necho $$ >{stub.STUB_LOCK}\nexec {command}\n", 0o755)
    node.sh("systemd-run --quiet --unit=foreign /root/foreign/start")
    node.wait("grep -q 1000 /proc/$(systemctl show -P MainPID foreign)/cmdline")
    assert node.read(stub.STUB_LOCK) == node.sh("systemctl show -P MainPID foreign").stdout


# Named as an agent is: a program called puppet, or Ruby with puppet among its arguments.
LIVE = {
    "puppet": "/root/foreign/puppet 1000",
    "a titled agent": "/root/foreign/puppet-agent 1000",
    "ruby": "ruby -e 'sleep 1000' puppet agent",
}
# puppet-facts: seen to be removed by Puppet, by the rule in lib/puppet/util/pidlock.rb.
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
def test_a_run_of_somebody_else_is_waited_for(foreigner: Machine, command: str) -> None:
    foreign(foreigner, command)
    busy = stub.trigger(foreigner)
    assert (busy.status, busy.headers["Puppet-Run"]) == (409, None)
    assert foreigner.curl("/puppet/status").body == "running\n"
    run = stub.started(foreigner, "?queue=true")
    assert stub.stub_log(foreigner) == []
    foreigner.run("systemctl", "stop", "foreign.service")
    stub.end_of(foreigner, run)
    assert stub.stub_log(foreigner) == in_order(run)


@pytest.mark.parametrize("command", OTHERS.values(), ids=OTHERS)
def test_a_lock_of_what_is_no_puppet_does_not_count(foreigner: Machine, command: str) -> None:
    foreign(foreigner, command)
    assert foreigner.curl("/puppet/status").body == "idle\n"
    assert stub.trigger(foreigner).status == 202


@pytest.mark.parametrize("lock", DEAD.values(), ids=DEAD)
def test_a_lock_of_nobody_does_not_count(node: Machine, lock: str) -> None:
    stub.stub_puppet(node)
    node.sh(lock.format(lock=stub.STUB_LOCK))
    assert node.curl("/puppet/status").body == "idle\n"
    assert stub.trigger(node).status == 202
    # Puppet removes such a lock itself, and only Puppet does.
    assert node.exists(stub.STUB_LOCK)


def test_a_lock_that_is_older_than_a_run_may_take_is_stuck(foreigner: Machine) -> None:
    foreign(foreigner, LIVE["puppet"])
    # runtimeout is an hour, and five minutes are for the report.
    foreigner.run("touch", "--date=64 minutes ago", stub.STUB_LOCK)
    assert foreigner.curl("/puppet/status").body == "running\n"
    foreigner.run("touch", "--date=66 minutes ago", stub.STUB_LOCK)
    foreigner.wait(lambda: foreigner.curl("/puppet/status").body == "stuck\n")
    assert foreigner.curl("/puppet/status?max_age=2h").status == 503
    assert stub.trigger(foreigner).status == 409


# -- not now ------------------------------------------------------------------------------------


def test_an_anonymous_caller_waits_out_the_cooldown(node: Machine) -> None:
    stub.stub_puppet(node, access="cooldown = 1000")
    stub.end_of(node, stub.started(node))
    for query in ("", "?queue=true"):
        reply = stub.trigger(node, query)
        assert reply.status == 429
        assert 0 < int(reply.headers["Retry-After"]) <= 1000
    stub.stub_puppet(node, access="cooldown = 0")
    node.wait(lambda: stub.trigger(node).status == 202)


def test_a_disabled_agent_is_not_run_until_it_is_enabled(node: Machine) -> None:
    stub.real_puppet(node, "")
    node.run("puppet", "agent", "--disable", "the disk is being replaced")
    reply = stub.trigger(node)
    assert (reply.status, reply.body) == (423, "Puppet disabled\n")  # an anonymous caller
    assert node.curl("/puppet/status").body == "disabled\n"
    assert node.curl("/puppet/runs").body == "No runs yet\n"
    node.run("puppet", "agent", "--enable")
    node.wait(lambda: stub.trigger(node).status == 202)


def test_an_agent_that_was_disabled_without_a_word_is_disabled(node: Machine) -> None:
    stub.stub_puppet(node, access="anonymous = trigger status logs")  # so that answers have reasons
    node.write(stub.STUB_DISABLED, "")
    reply = stub.trigger(node)
    assert (reply.status, reply.body) == (423, "Puppet disabled: no reason given\n")
    node.run("rm", stub.STUB_DISABLED)
    node.wait(lambda: stub.trigger(node).status == 202)
