"""Cancelling a run: ours by systemd, one in the queue, and with force one that we have not started."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.concluding import begun, dead_claim, end, read
from tests.unit.fake_node import FakeNode, Question, new_run
from tests.unit.fake_puppet import FakePuppet
from tests.unit.processes import LIMIT_S, dead, live, wait_until
from tests.unit.records import OTHER, RUN
from twitch.errors import TwitchError
from twitch.messages import CANCELLED, ENDED, FOREIGN, NO_RUN, STARTED, Answer, Cancel, Run
from twitch.records import INTERRUPTED, NOT_ATTEMPTED, QUEUED, Cancelled
from twitch.root import cancel, conclude, history, journal, turn, unit
from twitch.root.claims import Claim
from twitch.root.node import Node
from twitch.root.process import start_time

Events = list[dict[str, Any]]

ASKED = Cancel(RUN, "token:deploy", "192.0.2.7")
CURRENT = ASKED._replace(run="current")
FORCED = CURRENT._replace(force=True)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the commands for systemd, which stops nothing."""
    commands: list[list[str]] = []

    def run(command: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(list(command))
        return subprocess.CompletedProcess(command, 0, b"", b"")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(unit, "name", lambda pid=None: f"run-of-{pid}.service")
    return commands


def claim(pid: int, run: str = RUN) -> Claim:
    return Claim(run, pid, start_time(pid) or 0)


# ---- runs of ours


@pytest.mark.parametrize("asked", [ASKED, CURRENT], ids=["by-its-id", "current"])
def test_systemd_stops_the_unit_of_a_run(
    root_node: Node, tmp_path: Path, stopped: list[list[str]], asked: Cancel
) -> None:
    store = root_node.store
    with live(tmp_path, "puppet-x") as pid:
        begun(root_node)
        store.claims.write_current(claim(pid))
        assert cancel.cancel(store, asked) == (Answer(CANCELLED, run=RUN), None)
    assert stopped == [["systemctl", "stop", "--no-block", f"run-of-{pid}.service"]]
    kept = store.cancelled(RUN)
    assert kept is not None
    assert (kept.by, abs(kept.at - time.time()) < LIMIT_S) == ("token:deploy", True)


def test_second_cancel_tells_systemd_again_and_the_first_caller_stays(
    root_node: Node, tmp_path: Path, stopped: list[list[str]]
) -> None:
    with live(tmp_path, "puppet-x") as pid:
        begun(root_node)
        root_node.store.claims.write_current(claim(pid))
        cancel.cancel(root_node.store, ASKED)
        second, _ = cancel.cancel(root_node.store, ASKED._replace(caller="token:other"))
    assert (second, len(stopped)) == (Answer(CANCELLED, run=RUN), 2)
    kept = root_node.store.cancelled(RUN)
    assert kept is not None and kept.by == "token:deploy"


def test_cancel_of_a_queued_run_frees_its_place_and_it_never_begins(
    root_node: Node, tmp_path: Path, stopped: list[list[str]], events: Events
) -> None:
    store = root_node.store
    with live(tmp_path, "puppet-x") as pid, live(tmp_path, "python3") as waiting:
        begun(root_node)
        store.claims.write_current(claim(pid))
        begun(root_node, OTHER, QUEUED)
        store.claims.write_queued(claim(waiting, OTHER))
        answer, _ = cancel.cancel(store, ASKED._replace(run=OTHER))
        assert (answer, store.claims.queue_claim()) == (Answer(CANCELLED, run=OTHER), None)
        assert stopped == [["systemctl", "stop", "--no-block", f"run-of-{waiting}.service"]]
        # The process finds out, should it look before systemd stops it.
        with pytest.raises(turn.NotAttempted, match="cancelled by token:deploy"):
            turn.wait(root_node, OTHER, Run("anonymous", "192.0.2.7", queue=True))
        conclude.conclude(store, read(store, OTHER), "killed", "TERM")
    record = read(store, OTHER)
    assert (record.verdict, record.reason) == (NOT_ATTEMPTED, "cancelled by token:deploy")


def test_cancel_of_a_run_that_is_not_known(root_node: Node, stopped: list[list[str]]) -> None:
    assert cancel.cancel(root_node.store, ASKED) == (Answer(NO_RUN), None)
    assert cancel.cancel(root_node.store, CURRENT) == (Answer(NO_RUN), None)
    assert stopped == []


def test_cancel_of_a_run_that_has_ended(root_node: Node, stopped: list[list[str]], events: Events) -> None:
    end(root_node)
    assert cancel.cancel(root_node.store, ASKED) == (Answer(ENDED, run=RUN), None)
    assert (stopped, root_node.store.cancelled(RUN)) == ([], None)


def test_cancel_waits_while_the_run_is_concluded(
    root_node: Node, tmp_path: Path, stopped: list[list[str]], events: Events
) -> None:
    store, answers = root_node.store, []
    with live(tmp_path, "puppet-x") as pid:
        record = begun(root_node)
        store.claims.write_current(claim(pid))
        asking = threading.Thread(target=lambda: answers.append(cancel.cancel(store, ASKED)))
        with store.concluding():
            asking.start()
            asking.join(0.2)
            assert asking.is_alive()
            conclude.conclude(store, record, "exited", "0")
        asking.join(LIMIT_S)
    assert (answers, stopped) == ([(Answer(ENDED, run=RUN), None)], [])


def test_run_whose_record_has_vanished_is_stopped(
    root_node: Node, tmp_path: Path, stopped: list[list[str]]
) -> None:
    with live(tmp_path, "puppet-x") as pid:
        root_node.store.claims.write_current(claim(pid))
        assert cancel.cancel(root_node.store, CURRENT) == (Answer(CANCELLED, run=RUN), None)
    assert len(stopped) == 1


def test_cancel_without_room_for_who_it_was_stops_the_run(
    root_node: Node,
    tmp_path: Path,
    stopped: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def full(run: str, cancelled: Cancelled) -> None:
        raise OSError(28, "No space left on device")

    with live(tmp_path, "puppet-x") as pid:
        begun(root_node)
        root_node.store.claims.write_current(claim(pid))
        monkeypatch.setattr(root_node.store, "keep_cancel", full)
        assert cancel.cancel(root_node.store, ASKED)[0].kind == CANCELLED
    assert len(stopped) == 1
    assert "will not say who has cancelled it: [Errno 28]" in capfd.readouterr().err


def test_cancel_says_why_systemd_does_not_stop_the_run(
    root_node: Node, tmp_path: Path, stopped: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with live(tmp_path, "puppet-x") as pid:
        begun(root_node)
        root_node.store.claims.write_current(claim(pid))
        failed = subprocess.CompletedProcess([], 1, b"", b"Failed to connect to bus\nmore\n")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
        with pytest.raises(TwitchError, match=r"--no-block run-of-\d+.service: Failed to connect to bus$"):
            cancel.cancel(root_node.store, ASKED)
        monkeypatch.setattr(unit, "name", lambda pid: None)
        with pytest.raises(TwitchError, match="is in no unit of systemd"):
            cancel.cancel(root_node.store, ASKED)


def test_cancelled_run_has_no_cooldown(root_node: Node, events: Events) -> None:
    asked = Run("anonymous", "192.0.2.7")
    end(root_node)
    assert turn.decide(root_node, OTHER, asked).kind == "cooldown"
    root_node.store.keep_cancel(RUN, Cancelled("token:deploy", 1.0))
    end(root_node, "TERM", "killed")
    assert turn.decide(root_node, OTHER, asked) == Answer(STARTED, run=OTHER)


def test_record_of_a_cancelled_run_says_who_it_was(root_node: Node, events: Events) -> None:
    who = Cancelled("token:deploy", 1769072702.5)
    begun(root_node)
    root_node.store.keep_cancel(RUN, who)
    record = end(root_node, "TERM", "killed", command="apply")
    assert (record.verdict, record.reason) == (INTERRUPTED, "cancelled by token:deploy")
    assert record.cancelled == who
    history.move_ended(root_node.store)
    assert os.listdir(root_node.store.directory) == []
    assert read(root_node.store).cancelled == who


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"by": 1, "at": 2}', '{"by": "x"}', "[" * 10**5])
def test_invalid_file_about_a_cancel_is_none(root_node: Node, content: str) -> None:
    Path(root_node.store.directory, f"{RUN}.cancel").write_text(content)
    assert root_node.store.cancelled(RUN) is None


# ---- runs that are not ours


@contextmanager
def foreign(
    puppet: FakePuppet, directory: Path, script: str = "read line"
) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a Puppet that holds the run lock, and has said that it is ready."""
    command = directory / "puppet-x"
    command.symlink_to("/bin/sh")
    process = subprocess.Popen(
        [command, "-c", f"{script.replace('READY', 'echo ready')}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "puppet-x\n", "it has its name")
    if "READY" in script:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    puppet.lock.write_text(str(process.pid))
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LIMIT_S)


def test_foreign_run_is_left_alone_without_force(root_node: Node, puppet: FakePuppet, tmp_path: Path) -> None:
    with foreign(puppet, tmp_path) as process:
        answer, target = cancel.cancel(root_node.store, CURRENT)
        assert (answer.kind, target) == (FOREIGN, None)
        assert answer.status is not None and answer.status.pid == process.pid
        assert process.poll() is None


def test_foreign_run_is_told_to_stop_by_force(
    root_node: Node, puppet: FakePuppet, tmp_path: Path, events: Events
) -> None:
    # It is ready when its child has become `sleep`, because the child is named below.
    script = "sleep 60 >/dev/null & until grep -qx sleep /proc/$!/comm; do :; done; READY; wait"
    with foreign(puppet, tmp_path, script) as process:
        answer, target = cancel.cancel(root_node.store, FORCED)
        assert answer.kind == CANCELLED
        assert target is not None
        assert process.wait(LIMIT_S) == -signal.SIGTERM
        cancel.end(target, FORCED)
    (event,) = events
    ((_, child),) = target.below
    text = f"the Puppet run of pid {process.pid}, cancelled by token:deploy, has ended"
    assert event["message"].startswith(f"{text}; still running: sleep (pid {child}, ")
    assert event["message_id"] == journal.CANCELLED
    os.kill(child, signal.SIGKILL)


def test_foreign_run_that_does_not_end_is_killed(
    root_node: Node, puppet: FakePuppet, tmp_path: Path, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel, "TERM_S", 0.2)
    with foreign(puppet, tmp_path, "trap '' TERM; READY; read line") as process:
        _, target = cancel.cancel(root_node.store, FORCED)
        assert target is not None
        cancel.end(target, FORCED)
        assert process.wait(LIMIT_S) == -signal.SIGKILL
    assert events[0]["message"].endswith("did not end within 0.2 s, and was killed")


def test_second_cancel_of_a_foreign_run_sends_no_second_signal(
    root_node: Node, puppet: FakePuppet, tmp_path: Path, events: Events
) -> None:
    count = "trap 'echo told' TERM; READY; while ! read line; do :; done"
    with foreign(puppet, tmp_path, count) as process:
        first, target = cancel.cancel(root_node.store, FORCED)
        assert process.stdout is not None
        assert process.stdout.readline() == b"told\n"
        assert target is not None
        second, other = cancel.cancel(root_node.store, FORCED)
        assert (second.kind, other) == (CANCELLED, None)
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
        process.stdin = None
        assert process.stdout.read() == b""
        cancel.end(target, FORCED)
    assert first.kind == CANCELLED
    lock = root_node.store.take_ending()
    assert lock is not None
    os.close(lock)


def test_daemon_itself_is_never_ended(root_node: Node, puppet: FakePuppet, tmp_path: Path) -> None:
    root_node.settings = root_node.settings._replace(pidfile=os.fspath(tmp_path / "agent.pid"))
    puppet.set_settings(pidfile=os.fspath(tmp_path / "agent.pid"))
    Path(root_node.store.root, "settings.json").unlink(missing_ok=True)
    with foreign(puppet, tmp_path) as process:
        (tmp_path / "agent.pid").write_text(str(process.pid))
        answer, target = cancel.cancel(root_node.store, FORCED)
        assert (answer.kind, answer.reason, target) == (FOREIGN, cancel.DAEMON, None)
        assert process.poll() is None


def test_lock_that_root_has_not_written_names_no_process_to_end(
    root_node: Node, puppet: FakePuppet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In Debian user puppet owns the directory, and could name any process that passes for a Puppet: the
    # daemon, with the pidfile away, or an agent in a container.
    with foreign(puppet, tmp_path) as process:
        monkeypatch.setattr(os, "geteuid", lambda: os.stat(puppet.lock).st_uid + 1)
        answer, target = cancel.cancel(root_node.store, FORCED)
        assert (answer.kind, answer.reason, target) == (FOREIGN, cancel.NOT_ROOTS, None)
        assert process.poll() is None


@pytest.mark.parametrize("content", [str(dead()), "1", "", "x"])
def test_stale_lock_names_no_run_to_cancel(root_node: Node, puppet: FakePuppet, content: str) -> None:
    puppet.lock.write_text(content)
    assert cancel.cancel(root_node.store, FORCED) == (Answer(NO_RUN), None)


def test_pid_that_another_process_has_by_now_is_not_signalled(
    root_node: Node, puppet: FakePuppet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with foreign(puppet, tmp_path) as process:
        opened = os.pidfd_open

        def later(pid: int) -> int:
            descriptor = opened(pid)
            puppet.lock.write_text(str(os.getpid()))  # the run has ended since
            return descriptor

        monkeypatch.setattr(os, "pidfd_open", later)
        assert cancel.cancel(root_node.store, FORCED) == (Answer(NO_RUN), None)
        assert process.poll() is None


# ---- the handler


def test_handler_answers_a_cancel_and_writes_down_who_asked(node: FakeNode) -> None:
    question = Question(node, Cancel(RUN, "token:deploy", "192.0.2.7"), run=new_run(1))
    assert question.answer() == Answer(NO_RUN)
    assert question.end() == 0
    (event,) = node.events()
    text = f"token:deploy at 192.0.2.7 cancelled run {RUN}: there is no such run"
    assert (event["MESSAGE"], event["MESSAGE_ID"]) == (text, journal.CANCELLED)
    assert (event["TWITCH_CALLER"], event["TWITCH_ANSWER"]) == ("token:deploy", NO_RUN)


def test_handler_says_that_puppet_cannot_be_asked(node: FakeNode) -> None:
    node.puppet.path.unlink()
    question = Question(node, Cancel("current", "token:deploy", "192.0.2.7"), run=new_run(1))
    answer = question.answer()
    assert (answer.kind, question.end()) == ("cannot", 0)
    (event,) = node.events()
    text = "token:deploy at 192.0.2.7 cancelled the run under way: cannot: "
    assert event["MESSAGE"].startswith(text)


def test_claim_of_a_dead_process_is_no_run_to_cancel(
    root_node: Node, stopped: list[list[str]], events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Conclude was killed as well: the run is concluded first.
    begun(root_node, state="running")
    root_node.store.claims.write_current(dead_claim())
    monkeypatch.setattr(turn, "CONCLUDE_GRACE_S", 0)
    assert cancel.cancel(root_node.store, ASKED) == (Answer(ENDED, run=RUN), None)
    assert read(root_node.store).verdict == INTERRUPTED
