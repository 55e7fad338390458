"""`puppet-twitch log` and `trigger --follow`, with a thread in the place of the log reader."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.command import Commands, on_terminal, run_id
from tests.unit.processes import LIMIT_S
from twitch import log_lines, log_packets
from twitch.caller import Caller
from twitch.cli import following
from twitch.cli.following import Choice
from twitch.config import GRANTS
from twitch.log_lines import Line
from twitch.log_packets import END, LIVE, LOG, Read, encode_event
from twitch.messages import STATUS, Answer
from twitch.node_status import NodeStatus
from twitch.records import RUNNING, Record
from twitch.root.store import Store

WHEN = 1769072700.0
LINES = (
    Line(1, WHEN, "notice", "puppet-twitch", "user:alice at local asked for a run", ours=True),
    Line(2, WHEN + 1, "notice", "Puppet", "Compiled catalog\x1b[2J"),
    Line(3, WHEN + 2, "err", "/Stage[main]/Main/Exec[x]/returns", "change failed"),
)
TEXT = [
    "# user:alice at local asked for a run",
    "2026-01-22 09:05:01 +0000 Puppet (notice): Compiled catalog\\x1b[2J",
    "2026-01-22 09:05:02 +0000 /Stage[main]/Main/Exec[x]/returns (err): change failed",
]
# There is no report in these tests.
VERDICT = "# changed; unreported: its report is missing or not whole"


class Reader(threading.Thread):
    """Sends the same packets to every caller; those after LIVE when the caller says that the run is over."""

    def __init__(self, path: str, packets: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.asked: list[Read] = []
        self._packets = packets
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(path)
        self._socket.listen(4)
        self.start()

    def run(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(LIMIT_S)
                self.asked.append(log_packets.decode_question(peer.recv(4096)))
                for packet in self._packets:
                    peer.send(packet)
                    if packet == encode_event(LIVE):
                        assert peer.recv(1) == b""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.join(LIMIT_S)
        self._socket.close()


def lines(*some: Line) -> bytes:
    return b"\n".join(map(log_lines.encode, some))


@pytest.fixture
def ended(commands: Commands) -> Commands:
    """Return the commands of a node with one run, which has ended."""
    commands.environment["TZ"] = "UTC"
    assert commands.run("trigger", "--wait").code == 0
    return commands


@contextlib.contextmanager
def reader(commands: Commands, *packets: bytes) -> Iterator[Reader]:
    """Run a log reader on the node."""
    thread = Reader(os.fspath(commands.node.run / "puppet-twitch/log.sock"), list(packets))
    try:
        yield thread
    finally:
        thread.close()


WHOLE = (encode_event(LOG, complete=True), lines(*LINES), encode_event(END, lines=3))


def test_log_has_the_form_of_puppets_own(ended: Commands) -> None:
    with reader(ended, *WHOLE) as asked:
        done = ended.run("log")
    assert (done.code, done.out.splitlines(), done.err) == (0, [*TEXT, VERDICT], "")
    [question] = asked.asked
    assert (question.run, question.follow, question.tail, question.level) == (run_id(1), False, None, "debug")


def test_choices_reach_the_log_reader(ended: Commands) -> None:
    with reader(ended, *WHOLE) as asked:
        ended.run("log", "--tail", "5", "--level", "warning", run_id(1)[:4])
    [question] = asked.asked
    assert (question.tail, question.level) == (5, "warning")


def test_log_in_json(ended: Commands) -> None:
    with reader(ended, *WHOLE):
        found = [json.loads(line) for line in ended.run("log", "-f", "--json").out.splitlines()]
    assert [line.get("at") for line in found] == [1, 2, 3, None]
    assert found[2]["time"] == "2026-01-22T09:05:02.000000Z"
    assert (found[3]["event"], found[3]["verdict"], found[3]["run"]) == ("end", "changed", run_id(1))


def test_errors_have_a_colour_on_a_terminal(ended: Commands) -> None:
    with reader(ended, *WHOLE):
        shown = on_terminal(ended, "log")
    assert f"\033[31m{TEXT[2]}\033[0m" in shown
    assert "\033[2J" not in shown


def test_follower_gets_the_verdict_and_its_exit_code(ended: Commands) -> None:
    with reader(ended, *WHOLE):
        done = ended.run("log", "-f")
    assert done.code == 0
    assert done.out.splitlines()[:3] == TEXT
    assert done.out.splitlines()[3].startswith("# changed; unreported")


def test_run_is_followed_from_its_trigger_to_its_end(commands: Commands) -> None:
    commands.environment["TZ"] = "UTC"
    commands.ends = "6"
    commands.node.puppet.hold_runs()
    packets = (
        encode_event(LOG, complete=True),
        lines(LINES[0]),
        encode_event(LIVE),
        lines(LINES[1]),
        WHOLE[2],
    )
    with reader(commands, *packets) as asked:
        process = commands.start("trigger", "--follow")
        assert process.stdout
        assert process.stdout.readline().decode() == f"Triggered puppet run {run_id(1)}\n"
        assert process.stdout.readline().decode() == f"{TEXT[0]}\n"
        commands.node.puppet.release_run()
        code, out, _ = commands.end(process)
    assert (code, out.splitlines()[0], out.splitlines()[1][:8]) == (1, TEXT[1], "# failed")
    assert asked.asked[0].follow


def test_trigger_without_a_log_reader_waits_all_the_same(commands: Commands) -> None:
    done = commands.run("trigger", "--follow")
    fix = "systemctl restart puppet-twitch-log.socket"
    text = f"# no log: The log reader cannot be reached (No such file or directory); {fix}"
    assert (done.code, done.out.splitlines()[1]) == (0, text)
    assert done.out.splitlines()[2].startswith("# changed")


REFUSALS = {
    "no-journal": (encode_event("unreadable", why="no files"), "No log of this run: no files"),
    "lost": (encode_event("empty"), "No log of this run: the journal of the node has no line of it any more"),
}


@pytest.mark.parametrize(("packet", "text"), REFUSALS.values(), ids=REFUSALS)
def test_run_without_a_log_says_why(ended: Commands, packet: bytes, text: str) -> None:
    with reader(ended, packet):
        assert ended.run("log") == (1, "", f"puppet-twitch: {text}\n")
        done = ended.run("log", "-f")
    assert (done.code, done.out.splitlines()[0]) == (0, f"# no log: {text}")


def test_log_reader_that_is_gone_is_named_with_its_fix(ended: Commands) -> None:
    done = ended.run("log")
    assert done.code == 69
    assert done.err.endswith("; systemctl restart puppet-twitch-log.socket\n")


def test_log_that_is_cut_is_no_end(ended: Commands) -> None:
    with reader(ended, *WHOLE[:2]):
        done = ended.run("log")
    assert (done.code, done.out.splitlines()) == (69, TEXT)


@pytest.mark.parametrize("option", ["--tail=-1", "--tail=x", "--tail=10001", "--level=loud"])
def test_invalid_options_of_log_are_named(ended: Commands, option: str) -> None:
    done = ended.run("log", option)
    assert (done.code, done.out) == (64, "")


def test_silence_is_interrupted_by_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(os.fspath(tmp_path))
    os.mkdir(store.directory)
    store.write(Record(run_id(1), RUNNING, time.time() - 60.4, started=time.time() - 60.4))
    known = NodeStatus("running", run=run_id(1), phase="applying", resources=574, usual_s=35)
    monkeypatch.setattr(following, "ask", lambda question: Answer(STATUS, status=known))
    monkeypatch.setattr(following, "LOG_SOCKET", os.fspath(tmp_path / "log.sock"))
    monkeypatch.setattr(following, "FIRST_SILENCE_S", 0)
    caller = Caller("user:alice", "local", frozenset(GRANTS), named=True)
    thread = Reader(os.fspath(tmp_path / "log.sock"), [encode_event(LOG, complete=True), encode_event(LIVE)])
    silence = following._lines(store, run_id(1), Choice(), follow=True)
    assert next(silence) is None
    following._say_state(store, run_id(1), caller, Choice())
    following._say_state(store, run_id(1), caller, Choice(json=True))
    silence.close()  # type: ignore[attr-defined]
    thread.close()
    os.unlink(tmp_path / "log.sock")
    # Without -f, that is the last line.
    thread = Reader(os.fspath(tmp_path / "log.sock"), [*WHOLE])
    following.show(store, run_id(1), caller, Choice())
    thread.close()
    text, in_json, *lines, last = capsys.readouterr().out.splitlines()
    assert (len(lines), last) == (len(LINES), text)
    assert text == "# 1m: applying 574 resources; usually 35s"
    assert json.loads(in_json)["phase"] == "applying"


def test_silence_after_a_line_is_as_the_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(os.fspath(tmp_path))
    os.mkdir(store.directory)
    store.write(Record(run_id(1), RUNNING, time.time(), started=time.time()))
    reader_end, our_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    looks = iter(range(20))
    monkeypatch.setattr(following, "_asked", lambda question: our_end)
    monkeypatch.setattr(following, "LOOK_S", 0.01)
    monkeypatch.setattr(following, "FIRST_SILENCE_S", 0)
    monkeypatch.setattr(following, "SILENCE_S", 3600)
    # Called at each look while no line comes; StopIteration ends a wait for the later silence.
    monkeypatch.setattr(following, "_ended", lambda records, run: next(looks) < 0)
    with reader_end:
        followed = following._lines(store, run_id(1), Choice(), follow=True)
        assert next(followed) is None
        reader_end.send(lines(LINES[0]))
        assert next(followed) == LINES[0]
        assert next(followed) is None
        followed.close()  # type: ignore[attr-defined]
