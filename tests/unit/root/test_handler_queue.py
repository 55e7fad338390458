"""The queue, with real processes: which request waits, which joins it, and what becomes of both."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.unit.concluding import read
from tests.unit.fake_node import FakeNode, Question, new_run
from tests.unit.processes import live, wait_until
from twitch.messages import BUSY, FULL, QUEUED, STARTED, Answer, Run

FIRST, SECOND, THIRD = new_run(1), new_run(2), new_run(3)
ASKED = Run("anonymous", "192.0.2.7", tags=("a",), queue=True)


@pytest.fixture
def running(node: FakeNode) -> Iterator[Question]:
    """Start a run that lasts until it is released."""
    node.configure("[access]\ncooldown = 0\n")
    node.puppet.hold_runs()
    question = Question(node, ASKED, run=FIRST)
    assert question.answer() == Answer(STARTED, run=FIRST)
    yield question


def finish(node: FakeNode, running: Question) -> None:
    """Let the run end, and conclude it."""
    node.puppet.release_run()
    assert running.end() == 0
    node.conclude(running.run)


def state(node: FakeNode, run: str) -> str:
    record = node.store.read(run)
    return record.state if record else "none"


def test_queued_run_begins_when_the_run_before_has_ended(node: FakeNode, running: Question) -> None:
    queued = Question(node, ASKED, run=SECOND)
    assert queued.answer() == Answer(QUEUED, run=SECOND)
    assert (state(node, FIRST), state(node, SECOND)) == ("running", "queued")
    asked = read(node.store, SECOND).asked
    finish(node, running)
    node.puppet.release_run()
    assert queued.end() == 0
    pids = {run["pid"] for run in node.puppet.runs()}
    assert pids == {running.process.pid, queued.process.pid}
    record = read(node.store, SECOND)
    assert (record.state, record.asked) == ("running", asked)
    assert record.started is not None and record.started >= asked
    assert node.store.claims.queue_claim() is None


def test_queued_run_begins_although_an_upgrade_has_replaced_our_files_and_those_of_python(
    node: FakeNode, running: Question
) -> None:
    queued = Question(node, ASKED, run=SECOND)
    assert queued.answer() == Answer(QUEUED, run=SECOND)
    pid = queued.process.pid
    wait_until(lambda: waits_for_a_process(pid), "the run waits for the one before it")
    # Of the modules that are needed only to become Puppet, `signal` is the one of Python.
    hide = f"mount -t tmpfs none {node.tree} && mount --bind /dev/null {signal.__file__}"
    subprocess.run(["/usr/bin/nsenter", f"--target={pid}", "--mount", "/bin/sh", "-c", hide], check=True)
    finish(node, running)
    node.puppet.release_run()
    assert queued.end() == 0
    assert queued.process.pid in {run["pid"] for run in node.puppet.runs()}


def waits_for_a_process(pid: int) -> bool:
    links = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            links.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return "anon_inode:[pidfd]" in links


def test_equal_request_joins_the_queued_run(node: FakeNode, running: Question) -> None:
    queued = Question(node, ASKED, run=SECOND)
    assert queued.answer() == Answer(QUEUED, run=SECOND)
    joining = Question(node, ASKED._replace(caller="token:deploy", client="::1"), run=THIRD)
    assert joining.answer() == Answer(QUEUED, run=SECOND)
    assert joining.end() == 0
    assert state(node, THIRD) == "none"
    [*_, event] = node.events()
    assert (event["TWITCH_RUN"], event["TWITCH_ANSWER"]) == (SECOND, "queued")


@pytest.mark.parametrize(
    "different",
    [
        pytest.param(ASKED._replace(tags=("b",)), id="other-tags"),
        pytest.param(ASKED._replace(tags=()), id="no-tags"),
        pytest.param(ASKED._replace(noop=True), id="noop"),
        pytest.param(ASKED._replace(environment="x"), id="other-environment"),
    ],
)
def test_different_request_finds_the_queue_full(node: FakeNode, running: Question, different: Run) -> None:
    assert Question(node, ASKED, run=SECOND).answer() == Answer(QUEUED, run=SECOND)
    third = Question(node, different, run=THIRD)
    assert third.answer() == Answer(FULL, run=SECOND)
    assert third.end() == 0
    assert state(node, THIRD) == "none"
    [*_, event] = node.events()
    assert (event["TWITCH_RUN"], event["TWITCH_ANSWER"]) == (SECOND, "full")


def test_request_that_does_not_queue_is_answered_busy(node: FakeNode, running: Question) -> None:
    assert Question(node, ASKED, run=SECOND).answer() == Answer(QUEUED, run=SECOND)
    third = Question(node, ASKED._replace(queue=False), run=THIRD)
    assert third.answer()._replace(status=None) == Answer(BUSY, run=FIRST)
    assert third.end() == 0


def test_request_that_would_queue_starts_at_once_on_a_free_node(node: FakeNode) -> None:
    question = Question(node, ASKED, run=FIRST)
    assert question.answer() == Answer(STARTED, run=FIRST)
    question.end()


def test_queued_run_also_waits_for_a_puppet_that_we_did_not_start(node: FakeNode) -> None:
    with live(node.puppet.directory.parent, "puppet-x") as pid:
        node.puppet.lock.write_text(str(pid))
        queued = Question(node, ASKED, run=SECOND)
        assert queued.answer() == Answer(QUEUED, run=SECOND)
    assert queued.end() == 0
    assert [run["pid"] for run in node.puppet.runs()] == [queued.process.pid]


def test_queued_run_is_not_attempted_when_the_agent_is_disabled(node: FakeNode, running: Question) -> None:
    queued = Question(node, ASKED, run=SECOND)
    assert queued.answer().kind == QUEUED
    node.puppet.disabled.write_text('{"disabled_message":"maintenance"}')
    finish(node, running)
    assert queued.end() == 0
    node.conclude(SECOND)
    record = read(node.store, SECOND)
    assert (record.state, record.verdict) == ("finished", "not attempted")
    assert record.reason == "Puppet disabled: maintenance"
    assert len(node.puppet.runs()) == 1


def test_queued_run_can_be_stopped_and_leaves_the_queue_free(node: FakeNode, running: Question) -> None:
    queued = Question(node, ASKED, run=SECOND)
    assert queued.answer().kind == QUEUED
    queued.process.terminate()
    assert queued.end() == -signal.SIGTERM
    node.conclude(SECOND, code="killed", status="TERM")
    record = read(node.store, SECOND)
    assert (record.verdict, record.reason) == ("not attempted", "stopped while it waited in the queue")
    assert Question(node, ASKED._replace(noop=True), run=THIRD).answer() == Answer(QUEUED, run=THIRD)
