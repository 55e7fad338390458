"""The handler, with real processes: requests that do not become a run, and their answers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Callable, Union

import pytest

from tests.unit.fake_node import TWITCH_UID, FakeNode, Question, new_run
from tests.unit.processes import dead, live, zombie
from twitch.messages import BUSY, CANNOT, COOLDOWN, DISABLED, MISCONFIGURED, STARTED, Answer, Run, Status

RUN = new_run(0xB1)
ASKED = Run("anonymous", "192.0.2.7")


def refused(node: FakeNode, asked: Run = ASKED) -> Answer:
    """Ask for a run that must not begin, and return the answer."""
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
        pytest.param('{"disabled_message":"reason not specified"}', "reason not specified", id="of-puppet"),
        pytest.param("", "", id="empty"),
        pytest.param("{", "", id="invalid"),
    ],
)
def test_disabled_is_answered_with_its_reason(node: FakeNode, content: str, reason: str) -> None:
    node.puppet.disabled.write_text(content)
    for question in (ASKED, ASKED._replace(queue=True)):
        answer = refused(node, question)
        assert answer._replace(status=None) == Answer(DISABLED, reason=reason)
        assert answer.status and answer.status.disabled and answer.status.disabled.by == "unknown"
    message = "anonymous at 192.0.2.7 asked for a run{}: Puppet is disabled"
    assert [event["MESSAGE"] for event in node.events()] == [message.format(""), message.format(" (queue)")]


def test_disabled_comes_before_busy(node: FakeNode) -> None:
    node.puppet.disabled.touch()
    with live(node.puppet.directory.parent, "puppet-x") as pid:
        node.puppet.lock.write_text(str(pid))
        assert refused(node).kind == DISABLED


# ---- busy


def test_busy_names_the_run_of_ours_under_way(node: FakeNode) -> None:
    node.puppet.hold_runs()
    first = Question(node, ASKED, run=new_run(1))
    assert first.answer().kind == STARTED
    second = Question(node, ASKED._replace(tags=("a",)), run=RUN)
    answer, record = second.answer(), node.store.read(new_run(1))
    assert answer._replace(status=None) == Answer(BUSY, run=new_run(1))
    assert record and answer.status
    assert (answer.status.since, answer.status.pid) == (record.started, first.process.pid)
    assert second.end() == 0
    node.puppet.release_run()
    assert first.end() == 0
    assert len(node.puppet.runs()) == 1


def test_busy_while_a_puppet_that_we_did_not_start_holds_the_lock(node: FakeNode) -> None:
    with live(node.puppet.directory.parent, "puppet-x") as pid:
        node.puppet.lock.write_text(str(pid))
        answer = refused(node)
        assert answer._replace(status=None) == Answer(BUSY)
        assert answer.status and answer.status.since
        assert (answer.status.run, answer.status.pid) == (None, pid)


STALE: dict[str, Callable[[FakeNode], object]] = {
    "a-dead-pid": lambda node: node.puppet.lock.write_text(str(dead())),
    "an-empty-file": lambda node: node.puppet.lock.touch(),
    "garbage": lambda node: node.puppet.lock.write_text("garbage"),
    "pid-1": lambda node: node.puppet.lock.write_text("1"),
}


@pytest.mark.parametrize("lock", STALE.values(), ids=STALE)
def test_stale_lock_does_not_stop_a_run(node: FakeNode, lock: Callable[[FakeNode], object]) -> None:
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
def test_lock_of_a_live_process_that_is_no_puppet_does_not_stop_a_run(
    node: FakeNode, words: tuple[str, ...], shown_as: str
) -> None:
    with live(node.puppet.directory.parent, *words, shown_as=shown_as) as pid:
        node.puppet.lock.write_text(str(pid))
        assert_starts(node)


def test_lock_of_a_puppet_zombie_does_not_stop_a_run(node: FakeNode) -> None:
    with zombie(node.puppet.directory.parent, "puppet-x") as pid:
        node.puppet.lock.write_text(str(pid))
        assert_starts(node)


def assert_starts(node: FakeNode, runs: int = 1) -> None:
    """Ask for a run that has to begin, as the last of so many."""
    question = Question(node, ASKED, run=RUN)
    assert question.answer() == Answer(STARTED, run=RUN)
    assert question.end() == 0
    assert len(node.puppet.runs()) == runs


def test_one_of_many_requests_in_the_same_instant_becomes_a_run(node: FakeNode) -> None:
    node.puppet.hold_runs()
    node.configure("[access]\ncooldown = 0\n")
    for number in range(4):
        # Every process is started before the first one gets its packet.
        questions = [Question(node, None, run=new_run(10 * number + one)) for one in range(6)]
        for question in questions:
            question.ask(ASKED)
        answers = [question.answer() for question in questions]
        [started] = [answer for answer in answers if answer.kind == STARTED]
        busy = [answer._replace(status=None) for answer in answers if answer is not started]
        assert busy == [Answer(BUSY, run=started.run)] * 5
        node.puppet.release_run()
        assert {question.end() for question in questions} == {0}
        assert len(node.puppet.runs()) == number + 1
        node.conclude(str(started.run))


# ---- the cooldown


def test_cooldown_refuses_an_anonymous_caller_and_no_named_one(node: FakeNode) -> None:
    node.configure("[access]\ncooldown = 3600\n")
    assert Question(node, ASKED, run=new_run(1)).end() == 0
    node.conclude(new_run(1))
    question = Question(node, ASKED, run=RUN)
    answer = question.answer()
    assert (answer.kind, answer.run, question.end()) == (COOLDOWN, None, 0)
    assert answer.retry_after_s is not None and 0 < answer.retry_after_s <= 3600
    named = Question(node, ASKED._replace(caller="token:deploy", named=True), run=new_run(2))
    assert named.answer().kind == STARTED
    named.end()


def test_cooldown_does_not_wait_for_a_clock_that_was_set_back(node: FakeNode) -> None:
    node.configure("[access]\ncooldown = 3600\n")
    assert Question(node, ASKED, run=new_run(1)).end() == 0
    node.conclude(new_run(1))
    current = node.store.claims.current()
    assert current is not None and current.ended is not None
    node.store.claims.write_current(current._replace(ended=current.ended + 7200))
    assert_starts(node, 2)


# ---- cannot


def test_missing_puppet_is_answered_with_its_path(node: FakeNode) -> None:
    node.puppet.path.unlink()
    assert refused(node) == Answer(
        "cannot", reason=f"no puppet at {node.puppet.path}; install it, or set [puppet] path"
    )


def test_puppet_that_is_not_executable_is_answered_with_its_path(node: FakeNode) -> None:
    node.puppet.path.chmod(0o644)
    assert refused(node) == Answer(CANNOT, reason=f"{node.puppet.path} is not an executable file")


def test_puppet_that_prints_no_settings_is_answered_with_the_missing_one(node: FakeNode) -> None:
    node.puppet.directory.joinpath("settings").write_text("")
    answer = refused(node)
    assert answer.kind == CANNOT
    assert "config print does not tell agent_catalog_run_lockfile" in str(answer.reason)


def test_missing_manifest_is_answered_with_its_path(node: FakeNode) -> None:
    node.configure(f"[puppet]\ncommand = apply\nmanifest = /nowhere.pp\npath = {node.puppet.path}\n")
    assert refused(node) == Answer(CANNOT, reason="[puppet] manifest: /nowhere.pp does not exist")


def test_invalid_configuration_starts_no_run(node: FakeNode) -> None:
    node.configure("[acces]\n")
    answer = refused(node)
    assert answer.kind == MISCONFIGURED
    assert "[acces]: unknown section" in str(answer.reason)
    [event] = node.events()
    assert event["TWITCH_REASON"] == answer.reason
    assert event["MESSAGE"].endswith(f"asked for a run: misconfigured: {answer.reason}")


def test_missing_invocation_id_starts_no_run(node: FakeNode) -> None:
    question = Question(node, ASKED, run="")
    answer = question.answer()
    assert (answer.kind, question.end(), node.puppet.runs()) == (CANNOT, 0, [])
    assert "no INVOCATION_ID" in str(answer.reason)


def test_directory_that_cannot_be_written_starts_no_run(node: FakeNode) -> None:
    os.rmdir(node.run / "puppet-twitch")
    node.run.joinpath("puppet-twitch").touch()
    question = Question(node, ASKED, run=RUN)
    assert (question.answer().kind, question.end(), node.puppet.runs()) == (CANNOT, 0, [])


# ---- whose directory it is


@pytest.mark.parametrize("asked", [ASKED, Status()], ids=["run", "status"])
def test_directory_of_another_user_is_refused_before_any_write(
    node: FakeNode, asked: Union[Run, Status]
) -> None:
    directory = node.run / "puppet-twitch"
    target = node.etc / "target"
    target.mkdir()
    directory.joinpath("runs").symlink_to(target)
    os.chown(directory, TWITCH_UID, TWITCH_UID)
    question = Question(node, asked, run=RUN, stderr=subprocess.PIPE)
    reason = (
        "/run/puppet-twitch belongs to uid 65123 instead of root, so no run can start; "
        "rm -rf /run/puppet-twitch; systemctl restart puppet-twitch-run.socket puppet-twitch-log.socket"
    )
    assert question.answer() == Answer(CANNOT, reason=reason)
    assert question.errors() == f"<3>{reason}\n"
    assert question.end() == 0
    assert (os.listdir(directory), os.listdir(target), node.puppet.calls()) == (["runs"], [], [])


# ---- a configuration that is lost


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to("none")


LOST: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "dangling": dangle,
    "empty": lambda path: path.write_text(""),
    "whitespace": lambda path: path.write_text("\n\n"),
}


@pytest.mark.parametrize("lose", LOST.values(), ids=LOST)
def test_nothing_runs_while_the_configuration_is_lost(node: FakeNode, lose: Callable[[Path], object]) -> None:
    # With the defaults, `command = apply` would become a run of the agent.
    node.configure(f"[puppet]\ncommand = apply\nmanifest = /etc/passwd\npath = {node.puppet.path}\n")
    lose(node.etc / "puppet-twitch/puppet-twitch.conf")
    answer = refused(node)
    assert (answer.kind, str(answer.reason).endswith("puppet-twitch check says how to restore it")) == (
        MISCONFIGURED,
        True,
    )
    (event,) = node.events()
    assert event["MESSAGE"] == f"anonymous at 192.0.2.7 asked for a run: misconfigured: {answer.reason}"
    status = Question(node, Status(), run=RUN)
    assert status.answer() == answer
    assert status.end() == 0
