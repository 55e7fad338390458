"""The one waiting slot, for real: who waits, who joins, and what becomes of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.unit.house import House, Question, new_run
from tests.unit.processes import live
from twitch.messages import Answer, Run

FIRST, SECOND, THIRD = new_run(1), new_run(2), new_run(3)
ASKED = Run("anonymous", "192.0.2.7", tags=("a",), queue=True)


@pytest.fixture
def running(node: House) -> Iterator[Question]:
    """A run that lasts until it is let go."""
    node.configure("[access]\ncooldown = 0\n")
    node.puppet.hold()
    question = Question(node, ASKED, run=FIRST)
    assert question.answer() == Answer("started", run=FIRST)
    yield question


def ends(node: House, running: Question) -> None:
    """Let the run end, with all that follows."""
    node.puppet.let_go()
    assert running.end() == 0
    node.conclude(running.run)


def state(node: House, run: str) -> str:
    record = node.store.read(run)
    return str(record["state"]) if record else "none"


def test_a_request_that_waits_becomes_puppet_when_the_run_before_has_ended(
    node: House, running: Question
) -> None:
    waiting = Question(node, ASKED, run=SECOND)
    assert waiting.answer() == Answer("queued", run=SECOND)
    assert (state(node, FIRST), state(node, SECOND)) == ("running", "queued")
    asked = (node.store.read(SECOND) or {})["asked"]
    ends(node, running)
    node.puppet.let_go()
    assert waiting.end() == 0
    assert [run["pid"] for run in node.puppet.runs() if run["pid"] != running.process.pid] == [
        waiting.process.pid
    ]
    record = node.store.read(SECOND) or {}
    assert (record["state"], record["asked"] == asked, record["started"] >= asked) == ("running", True, True)
    assert node.store.queue_claim() is None


def test_an_equal_request_joins_the_one_that_waits(node: House, running: Question) -> None:
    waiting = Question(node, ASKED, run=SECOND)
    assert waiting.answer() == Answer("queued", run=SECOND)
    joining = Question(node, ASKED._replace(caller="token:deploy", client="::1"), run=THIRD)
    assert joining.answer() == Answer("queued", run=SECOND)
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
def test_a_different_request_does_not(node: House, running: Question, different: Run) -> None:
    assert Question(node, ASKED, run=SECOND).answer() == Answer("queued", run=SECOND)
    third = Question(node, different, run=THIRD)
    assert third.answer() == Answer("busy", run=SECOND)
    assert third.end() == 0


def test_who_does_not_want_to_wait_hears_of_the_run(node: House, running: Question) -> None:
    assert Question(node, ASKED, run=SECOND).answer() == Answer("queued", run=SECOND)
    third = Question(node, ASKED._replace(queue=False), run=THIRD)
    assert third.answer() == Answer("busy", run=FIRST)
    assert third.end() == 0


def test_a_free_node_starts_at_once_whoever_would_have_waited(node: House) -> None:
    question = Question(node, ASKED, run=FIRST)
    assert question.answer() == Answer("started", run=FIRST)
    question.end()


def test_it_also_waits_for_a_puppet_that_somebody_else_has_started(node: House) -> None:
    with live(node.puppet.directory.parent, "puppet-x") as pid:
        node.puppet.lock.write_text(str(pid))
        waiting = Question(node, ASKED, run=SECOND)
        assert waiting.answer() == Answer("queued", run=SECOND)
    assert waiting.end() == 0
    assert [run["pid"] for run in node.puppet.runs()] == [waiting.process.pid]


def test_it_starts_nothing_when_the_node_is_disabled_meanwhile(node: House, running: Question) -> None:
    waiting = Question(node, ASKED, run=SECOND)
    assert waiting.answer().kind == "queued"
    node.puppet.disabled.write_text('{"disabled_message":"maintenance"}')
    ends(node, running)
    assert waiting.end() == 0
    node.conclude(SECOND)
    record = node.store.read(SECOND) or {}
    assert (record["state"], record["verdict"]) == ("finished", "not attempted")
    assert record["reason"] == "Puppet disabled: maintenance"
    assert len(node.puppet.runs()) == 1


def test_it_can_be_stopped_while_it_waits_and_the_slot_is_free_then(node: House, running: Question) -> None:
    waiting = Question(node, ASKED, run=SECOND)
    assert waiting.answer().kind == "queued"
    waiting.process.terminate()
    assert waiting.end() == -signal.SIGTERM
    node.conclude(SECOND, exit_code="killed", exit_status="TERM")
    record = node.store.read(SECOND) or {}
    assert (record["verdict"], record["reason"]) == ("not attempted", "stopped while it waited")
    assert Question(node, ASKED._replace(noop=True), run=THIRD).answer() == Answer("queued", run=THIRD)
