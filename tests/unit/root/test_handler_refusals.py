"""The handler, for real: requests that do not become a run, and what is said instead."""

from __future__ import annotations

import os
from typing import Callable

import pytest

from tests.unit.house import House, Question, new_run
from tests.unit.processes import dead, live, zombie
from twitch.messages import Answer, Run

RUN = new_run(0xB1)
ASKED = Run("anonymous", "192.0.2.7")


def refused(node: House, asked: Run = ASKED) -> Answer:
    """Ask for a run that must not happen, and return what is said about it."""
    question = Question(node, asked, run=RUN)
    answer = question.answer()
    assert question.end() == 0
    assert node.puppet.runs() == []
    assert node.store.read(RUN) is None
    return answer


# ---- disabled


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param('{"disabled_message":"reason not specified"}', "reason not specified", id="puppets"),
        pytest.param("", "", id="empty"),
        pytest.param("{", "", id="broken"),
    ],
)
def test_a_node_that_is_disabled_says_why(node: House, content: str, reason: str) -> None:
    node.puppet.disabled.write_text(content)
    assert refused(node) == Answer("disabled", reason=reason)
    assert refused(node, ASKED._replace(queue=True)) == Answer("disabled", reason=reason)
    message = "anonymous at 192.0.2.7 asked for a run{}: Puppet is disabled"
    assert [event["MESSAGE"] for event in node.events()] == [message.format(""), message.format(" (queue)")]


def test_disabled_comes_before_busy(node: House) -> None:
    node.puppet.disabled.touch()
    with live(node.puppet.directory.parent, "puppet-x") as pid:
        node.puppet.lock.write_text(str(pid))
        assert refused(node).kind == "disabled"


# ---- busy


def test_while_a_run_of_ours_lasts_the_next_hears_of_it(node: House) -> None:
    node.puppet.hold()
    first = Question(node, ASKED, run=new_run(1))
    assert first.answer().kind == "started"
    second = Question(node, ASKED._replace(tags=("a",)), run=RUN)
    assert second.answer() == Answer("busy", run=new_run(1))
    assert second.end() == 0
    node.puppet.let_go()
    assert first.end() == 0
    assert len(node.puppet.runs()) == 1


def test_while_somebody_elses_puppet_holds_the_lock(node: House) -> None:
    with live(node.puppet.directory.parent, "puppet-x") as pid:
        node.puppet.lock.write_text(str(pid))
        assert refused(node) == Answer("busy")


STALE: dict[str, Callable[[House], object]] = {
    "a-dead-pid": lambda node: node.puppet.lock.write_text(str(dead())),
    "an-empty-file": lambda node: node.puppet.lock.touch(),
    "garbage": lambda node: node.puppet.lock.write_text("garbage"),
    "pid-1": lambda node: node.puppet.lock.write_text("1"),
}


@pytest.mark.parametrize("lock", STALE.values(), ids=STALE)
def test_a_stale_lock_is_nobodys(node: House, lock: Callable[[House], object]) -> None:
    lock(node)
    assert_starts(node)


@pytest.mark.parametrize(
    ("words", "shown_as"),
    [
        pytest.param(("sleep",), "", id="sleep"),
        pytest.param(("python3", "/usr/bin/puppet"), "", id="python-with-puppet-among-its-arguments"),
        pytest.param(("sleep",), "puppet-foo", id="a-process-that-calls-itself-puppet"),
    ],
)
def test_the_lock_of_a_live_process_that_is_no_puppet_is_nobodys(
    node: House, words: tuple[str, ...], shown_as: str
) -> None:
    with live(node.puppet.directory.parent, *words, shown_as=shown_as) as pid:
        node.puppet.lock.write_text(str(pid))
        assert_starts(node)


def test_the_lock_of_a_puppet_that_nobody_has_reaped_is_nobodys(node: House) -> None:
    with zombie(node.puppet.directory.parent, "puppet-x") as pid:
        node.puppet.lock.write_text(str(pid))
        assert_starts(node)


def assert_starts(node: House) -> None:
    question = Question(node, ASKED, run=RUN)
    assert question.answer() == Answer("started", run=RUN)
    assert question.end() == 0
    assert len(node.puppet.runs()) == 1


def test_of_many_requests_in_the_same_instant_one_becomes_a_run(node: House) -> None:
    node.puppet.hold()
    node.configure("[access]\ncooldown = 0\n")
    for number in range(4):
        # Every process is on its way before the first one gets its packet.
        questions = [Question(node, None, run=new_run(10 * number + one)) for one in range(6)]
        for question in questions:
            question.ask(ASKED)
        answers = [question.answer() for question in questions]
        [started] = [answer for answer in answers if answer.kind == "started"]
        assert answers.count(Answer("busy", run=started.run)) == 5
        node.puppet.let_go()
        assert {question.end() for question in questions} == {0}
        assert len(node.puppet.runs()) == number + 1
        node.conclude(str(started.run))


# ---- too soon


def test_anonymous_waits_after_a_run_and_others_do_not(node: House) -> None:
    node.configure("[access]\ncooldown = 3600\n")
    assert Question(node, ASKED, run=new_run(1)).end() == 0
    node.conclude(new_run(1))
    question = Question(node, ASKED, run=RUN)
    answer = question.answer()
    assert (answer.kind, answer.run, question.end()) == ("cooldown", None, 0)
    assert answer.retry_after_s is not None and 0 < answer.retry_after_s <= 3600
    named = Question(node, ASKED._replace(caller="token:deploy", named=True), run=new_run(2))
    assert named.answer().kind == "started"
    named.end()


def test_a_clock_that_was_set_back_is_no_reason_to_refuse(node: House) -> None:
    node.configure("[access]\ncooldown = 3600\n")
    assert Question(node, ASKED, run=new_run(1)).end() == 0
    node.conclude(new_run(1))
    current = node.store.current()
    assert current is not None and current.ended is not None
    node.store.claim_current(current._replace(ended=current.ended + 7200))
    assert_question_starts(node)


def assert_question_starts(node: House) -> None:
    question = Question(node, ASKED, run=RUN)
    assert question.answer().kind == "started"
    assert question.end() == 0


# ---- cannot


def test_a_puppet_that_is_not_there_is_named(node: House) -> None:
    node.puppet.path.unlink()
    assert refused(node) == Answer(
        "cannot", reason=f"no puppet at {node.puppet.path}; install it, or set [puppet] path"
    )


def test_a_puppet_that_is_not_executable_is_named(node: House) -> None:
    node.puppet.path.chmod(0o644)
    assert refused(node) == Answer("cannot", reason=f"{node.puppet.path} is not an executable file")


def test_a_puppet_that_does_not_tell_its_settings_is_named(node: House) -> None:
    node.puppet.directory.joinpath("settings").write_text("")
    answer = refused(node)
    assert answer.kind == "cannot"
    assert "config print does not tell agent_catalog_run_lockfile" in str(answer.reason)


def test_a_manifest_that_is_not_there_is_named(node: House) -> None:
    node.configure(f"[puppet]\ncommand = apply\nmanifest = /nowhere.pp\npath = {node.puppet.path}\n")
    assert refused(node) == Answer("cannot", reason="[puppet] manifest: /nowhere.pp does not exist")


def test_a_configuration_at_fault_starts_nothing(node: House) -> None:
    node.configure("[acces]\n")
    answer = refused(node)
    assert answer.kind == "cannot"
    assert "[acces]: unknown section" in str(answer.reason)
    [event] = node.events()
    assert event["TWITCH_REASON"] == answer.reason
    assert event["MESSAGE"].endswith(f"asked for a run: cannot: {answer.reason}")


def test_without_an_invocation_id_there_is_no_run(node: House) -> None:
    question = Question(node, ASKED, run="")
    answer = question.answer()
    assert (answer.kind, question.end(), node.puppet.runs()) == ("cannot", 0, [])
    assert "no INVOCATION_ID" in str(answer.reason)


def test_a_directory_that_cannot_be_written_starts_nothing(node: House) -> None:
    os.rmdir(node.run / "puppet-twitch")
    node.run.joinpath("puppet-twitch").touch()
    question = Question(node, ASKED, run=RUN)
    assert (question.answer().kind, question.end(), node.puppet.runs()) == ("cannot", 0, [])
