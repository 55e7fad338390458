"""The log reader: which lines a caller gets, and which it never gets; the journal is in memory."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Union

import pytest

from tests.unit.fake_journal import OTHER, PID, RUN, Entry, FakeJournal, asked, ended, entry
from twitch import log_packets
from twitch.errors import PacketError
from twitch.log import entries, reader
from twitch.log_lines import Line
from twitch.log_packets import Event, Read
from twitch.root import journal as events

ALL = Read(RUN)
LINES = [
    asked(),
    entry("one"),
    entry("two", PRIORITY="4"),
    entry("(/Stage[main]/Main/Exec[x]/returns) three"),
]


class Caller:
    """A caller of the log reader, which runs in a thread."""

    def __init__(self, journal: FakeJournal, question: Union[Read, bytes]) -> None:
        self.journal = journal
        self.socket, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        self.error: list[Exception] = []
        self.socket.send(question if isinstance(question, bytes) else log_packets.encode_question(question))
        self._thread = threading.Thread(target=self._serve, args=(peer,))
        self._thread.start()

    def _serve(self, peer: socket.socket) -> None:
        try:
            reader.serve(peer, self.journal)  # type: ignore[arg-type]
        except (PacketError, OSError) as error:
            self.error.append(error)
        peer.close()

    def packet(self) -> list[Union[Line, Event]]:
        """Return what the next packet has; nothing at the end of the connection."""
        packet = self.socket.recv(log_packets.MAX_PACKET_BYTES)
        return list(log_packets.decode(packet)) if packet else []

    def rest(self) -> list[Union[Line, Event]]:
        """Return all that comes until the end."""
        found = []
        for packet in iter(self.packet, []):
            found += packet
        self._thread.join(60)
        assert not self._thread.is_alive()
        return found

    def close(self) -> None:
        self.socket.close()
        self._thread.join(60)
        assert not self._thread.is_alive()


def read(*there: Entry, question: Read = ALL) -> list[Union[Line, Event]]:
    """Return all that the reader sends."""
    return Caller(FakeJournal(*there), question).rest()


def lines(found: list[Union[Line, Event]]) -> list[tuple[object, str]]:
    """Return positions and messages."""
    return [(one.at, one.message) for one in found if isinstance(one, Line)]


def names(found: list[Union[Line, Event]]) -> list[str]:
    return [one.name for one in found if isinstance(one, Event)]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(reader, "SETTLE_S", 0.02)
    monkeypatch.setattr(reader, "VERDICT_S", 0.02)
    yield


def test_ids_of_events_are_those_that_root_writes() -> None:
    assert (entries.ASKED, entries.ENDED) == (events.ASKED, events.ENDED)


def test_lines_of_a_run_have_positions_levels_and_sources() -> None:
    found = read(*LINES, ended())
    assert names(found) == ["log", "end"]
    assert found[0] == Event("log", complete=True)
    request, one, two, three = (line for line in found if isinstance(line, Line))
    assert (request.at, request.ours, request.source) == (1, True, "puppet-twitch")
    assert (one.at, one.level, one.source, one.message) == (2, "notice", "Puppet", "one")
    assert (two.at, two.level) == (3, "warning")
    assert (three.source, three.message) == ("/Stage[main]/Main/Exec[x]/returns", "three")
    assert three.time == 1769072699.25


STRANGERS = {
    "a daemon that the run has started": entry("forged", pid=PID + 9),
    "another user": entry("forged", _UID="1000"),
    "another run": entry("forged", run=OTHER),
    "another unit, with the same fields": entry("forged", _SYSTEMD_UNIT="evil.service"),
    "a request that was forged": asked(pid=PID + 9),
    "a verdict of another user": {**ended(), "_UID": "1000"},
}


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_line_of_another_program_does_not_appear(stranger: Entry) -> None:
    expected = [(1, LINES[0]["MESSAGE"]), (2, "one")]
    assert lines(read(LINES[0], stranger, LINES[1])) == expected
    assert lines(read(LINES[0], stranger, LINES[1], question=Read(RUN, pid=PID))) == expected


def test_pid_of_the_record_decides_where_a_daemon_forges_the_request() -> None:
    forged = [asked(pid=PID + 9), entry("forged", pid=PID + 9)]
    assert lines(read(*forged, *LINES[:2], question=Read(RUN, pid=PID)))[1:] == [(2, "one")]


def test_standard_error_of_puppet_is_named() -> None:
    (_, warning) = (
        one for one in read(LINES[0], entry("rb: warning", _TRANSPORT="stdout")) if isinstance(one, Line)
    )
    assert (warning.source, warning.message) == ("stderr", "rb: warning")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (Read(RUN, after=2), [(3, "two"), (4, "three")]),
        (Read(RUN, after=4), []),
        (Read(RUN, tail=1), [(4, "three")]),
        (Read(RUN, tail=0), []),
        (Read(RUN, level="warning"), [(3, "two")]),
        (Read(RUN, level="warning", tail=5), [(3, "two")]),
        (Read(RUN, after=1, tail=2), [(3, "two"), (4, "three")]),
    ],
)
def test_caller_gets_the_part_that_it_asks_for(question: Read, expected: list[tuple[int, str]]) -> None:
    found = read(*LINES, question=question)
    assert (lines(found), names(found)) == (expected, ["log", "end"])


def test_position_beyond_the_end_is_refused() -> None:
    assert read(*LINES, question=Read(RUN, after=5)) == [Event("beyond", lines=4)]


def test_position_is_lost_with_the_first_lines() -> None:
    assert read(*LINES[1:], question=Read(RUN, after=1, pid=PID)) == [Event("lost")]
    assert read(question=Read(RUN, after=1, pid=PID)) == [Event("lost")]


def test_lines_without_the_first_ones_have_no_position() -> None:
    found = read(*LINES[2:], question=Read(RUN, pid=PID))
    assert found[0] == Event("log", complete=False)
    assert lines(found) == [(None, "two"), (None, "three")]


@pytest.mark.parametrize("question", [Read(RUN), Read(RUN, pid=PID)])
def test_log_without_a_line_is_empty(question: Read) -> None:
    assert names(read(entry("x", run=OTHER), question=question)) == ["empty", "end"]


def test_missing_journal_is_reported() -> None:
    journal = FakeJournal()
    journal.exists = False
    (event,) = Caller(journal, Read(RUN)).rest()
    assert isinstance(event, Event)
    assert event.name == "unreadable"
    assert "Storage=" in event.why


def test_journal_that_cannot_be_read_is_reported() -> None:
    journal = FakeJournal(entry("of another run", run=OTHER))
    journal.denied = True
    (event,) = Caller(journal, Read(RUN)).rest()
    assert isinstance(event, Event)
    assert (event.name, event.why) == ("unreadable", reader.DENIED)


def test_follower_gets_lines_until_the_verdict() -> None:
    caller = Caller(FakeJournal(*LINES[:2]), Read(RUN, follow=True))
    assert names(caller.packet()) == ["log"]
    assert lines(caller.packet()) == [(1, LINES[0]["MESSAGE"]), (2, "one")]
    assert names(caller.packet()) == ["live"]
    caller.journal.append(LINES[2])
    assert lines(caller.packet()) == [(3, "two")]
    caller.journal.append(ended(), LINES[3])  # a line that the verdict has overtaken
    rest = caller.rest()
    assert (lines(rest), names(rest)) == ([(4, "three")], ["end"])


def test_follower_of_an_ended_run_is_not_kept() -> None:
    found = read(*LINES, ended(), question=Read(RUN, follow=True))
    assert names(found) == ["log", "live", "end"]


def test_end_comes_on_a_node_whose_journal_is_never_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FakeJournal(*LINES[:2])
    monkeypatch.setattr(journal, "process", lambda: None)  # there is always something new
    caller = Caller(journal, Read(RUN, follow=True))
    while names(caller.packet()) != ["live"]:
        pass
    journal.append(entry("of another program", run=OTHER))
    journal.append(ended(), LINES[2])
    rest = caller.rest()
    assert (lines(rest), names(rest)) == ([(3, "two")], ["end"])


def test_follower_of_a_run_without_lines_waits_for_the_first_one() -> None:
    caller = Caller(FakeJournal(), Read(RUN, follow=True))
    assert names(caller.packet()) == ["empty"]
    caller.journal.append(entry("of another run", run=OTHER))
    caller.journal.append(LINES[0])
    assert caller.packet() == [Event("log", complete=True)]
    assert lines(caller.packet()) == [(1, LINES[0]["MESSAGE"])]
    caller.journal.append(ended())
    assert names(caller.rest()) == ["live", "end"]


def test_follower_can_say_that_the_run_has_ended() -> None:
    # A run whose conclude was killed has no verdict in the journal.
    caller = Caller(FakeJournal(*LINES), Read(RUN, follow=True))
    caller.socket.shutdown(socket.SHUT_WR)
    found = caller.rest()
    assert (len(lines(found)), names(found)) == (4, ["log", "live", "end"])


def test_lines_come_although_the_follower_knows_of_the_end_before_journald(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "SETTLE_S", 0)
    monkeypatch.setattr(reader, "VERDICT_S", 3600)
    caller = Caller(FakeJournal(*LINES[:2]), Read(RUN, follow=True))
    while names(caller.packet()) != ["live"]:
        pass
    caller.socket.shutdown(socket.SHUT_WR)
    caller.journal.append(LINES[2])
    assert lines(caller.packet()) == [(3, "two")]
    caller.journal.append(LINES[3], ended())
    rest = caller.rest()
    assert (lines(rest), names(rest)) == ([(4, "three")], ["end"])


def test_follower_goes_on_while_the_journal_deletes_its_oldest_entries() -> None:
    caller = Caller(FakeJournal(*LINES[:2]), Read(RUN, follow=True))
    while names(caller.packet()) != ["live"]:
        pass
    caller.journal.vacuum(2)
    caller.journal.append(LINES[2])
    assert lines(caller.packet()) == [(3, "two")]
    caller.close()


def test_reader_leaves_when_its_caller_has_left() -> None:
    caller = Caller(FakeJournal(*LINES), Read(RUN, follow=True))
    caller.close()


def test_many_lines_share_a_packet() -> None:
    journal = FakeJournal(asked(), *(entry(f"line {number}") for number in range(2000)))
    caller = Caller(journal, Read(RUN))
    caller.packet()
    sizes = []
    while (packet := caller.packet()) and isinstance(packet[0], Line):
        sizes.append(len(packet))
    assert sum(sizes) == 2001
    assert len(sizes) < 20
    caller.close()


def test_long_message_is_cut() -> None:
    (_, line) = (one for one in read(asked(), entry("\u2028" * 100_000)) if isinstance(one, Line))
    assert len(line.message) == entries.MAX_MESSAGE_BYTES + len(entries.CUT)


INVALID = [
    b"",
    b"{}",
    b"[]",
    b"\xff",
    b"[" * 900,
    *(
        json.dumps({"run": RUN, **fields}).encode()
        for fields in (
            {"run": RUN + "\n"},
            {"run": "_PID=1"},
            {"run": ""},
            {"after": -1},
            {"after": 1.5},
            {"after": True},
            {"tail": 10**6},
            {"pid": 1},
            {"level": "_UID"},
            {"follow": 1},
            {"match": "_PID=1"},
            {"run": RUN, "padding": "x" * 2000},
        )
    ),
]


@pytest.mark.parametrize("packet", INVALID)
def test_question_that_is_not_well_formed_is_refused(packet: bytes) -> None:
    caller = Caller(FakeJournal(*LINES), packet)
    assert names(caller.rest()) == ["invalid"]
    assert isinstance(caller.error[0], PacketError)


def test_second_packet_is_refused() -> None:
    caller = Caller(FakeJournal(*LINES), Read(RUN, follow=True))
    caller.socket.send(b"more")
    caller.rest()
    assert isinstance(caller.error[0], PacketError)


def test_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(struct, "unpack", lambda form, data: (1, 65534, 65534))
    caller = Caller(FakeJournal(*LINES), Read(RUN))
    with pytest.raises(ConnectionResetError):  # its packet was not read
        caller.packet()
    caller.close()
    assert "uid 65534 may not read logs" in str(caller.error[0])


def test_other_connections_are_refused() -> None:
    ours, peer = socket.socketpair()
    with ours, peer, pytest.raises(PacketError):
        reader.serve(peer, FakeJournal())  # type: ignore[arg-type]
