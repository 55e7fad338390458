"""The log of a run, line by line, to its end: from the log reader, which is neither root nor the listener."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple, Optional, Union

from twitch import log_lines, log_packets, run_wording, wording
from twitch.caller import Caller
from twitch.cli import exits, terminal
from twitch.cli.asking import ask
from twitch.cli.waiting import wait
from twitch.errors import PacketError, RootUnavailable, TwitchError
from twitch.log_lines import LEVELS, Line
from twitch.log_packets import EMPTY, END, INVALID, LOG_SOCKET, UNREADABLE, Event, Read
from twitch.messages import Status
from twitch.record_files import LOOK_S, Records
from twitch.records import FINISHED, PUPPET, Record
from twitch.run_wording import FIRST_SILENCE_S, SILENCE_S

OPEN_TIMEOUT_S = 30.0

CROWDED = "Too many logs are read at once, or the log reader has ended; try again"
NO_LINE = "the journal of the node has no line of it any more"


class NoLog(TwitchError):
    """The journal has no log of the run."""


class Choice(NamedTuple):
    """What a person wants to see of a log."""

    level: str = LEVELS[-1]
    tail: Optional[int] = None
    json: bool = False


def follow(records: Records, run: str, caller: Caller, choice: Choice) -> int:
    """Print the log of a run to its end, and then its verdict; return the exit status for the verdict.

    Where the log cannot be read, print why, and wait all the same.
    """
    try:
        for line in _lines(records, run, choice, follow=True):
            _say(line, choice) if line else _say_state(records, run, caller, choice)
    except (NoLog, RootUnavailable) as error:
        _note(choice, "no-log", f"no log: {error}", reason=str(error))
    record = wait(records, run)
    _say_end(record, choice)
    return exits.of(record)


def show(records: Records, run: str, caller: Caller, choice: Choice) -> None:
    """Print the log of a run as it is now, and then its verdict, or how far it is; raises `NoLog`."""
    for line in _lines(records, run, choice, follow=False):
        if line:
            _say(line, choice)
    record = records.read(run)
    if record and record.state == FINISHED:
        _say_end(record, choice)
    else:
        _say_state(records, run, caller, choice)


def _lines(records: Records, run: str, choice: Choice, *, follow: bool) -> Iterator[Optional[Line]]:
    """Yield the lines of a log, and None where the run has been silent for a while."""
    record = records.read(run)
    if record and record.started_by == PUPPET:
        raise NoLog(wording.NO_LOG_OF_PUPPET)
    question = Read(run, 0, choice.tail, choice.level, follow, record and record.pid)
    quiet_until = time.monotonic() + FIRST_SILENCE_S
    over = record is not None and record.state == FINISHED
    with _asked(question) as reader:
        if over and follow:
            reader.shutdown(socket.SHUT_WR)  # no line comes any more, but those that are on their way
        while True:
            if not select.select([reader], [], [], LOOK_S if follow else OPEN_TIMEOUT_S)[0]:
                if not follow:
                    raise NoLog(f"No answer from the log reader in {OPEN_TIMEOUT_S:g} s")
                if not over and _ended(records, run):
                    over = True
                    reader.shutdown(socket.SHUT_WR)
                if time.monotonic() > quiet_until and not over:
                    yield None
                    quiet_until = time.monotonic() + SILENCE_S
                continue
            for item in _received(reader):
                if isinstance(item, Line):
                    yield item
                    quiet_until = time.monotonic() + FIRST_SILENCE_S
                elif item.name == END:
                    return
                elif item.name in (UNREADABLE, INVALID) or (item.name == EMPTY and (over or not follow)):
                    raise NoLog(f"No log of this run: {item.why or NO_LINE}")


def _asked(question: Read) -> socket.socket:
    """Return a connection to the log reader, which has been asked; raises `RootUnavailable`."""
    reader = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        reader.connect(LOG_SOCKET)
        reader.send(log_packets.encode_question(question), socket.MSG_NOSIGNAL)
    except OSError as error:
        reader.close()
        fix = "systemctl restart puppet-twitch-log.socket"
        text = f"The log reader cannot be reached ({error.strerror}); {fix}"
        raise RootUnavailable(text) from error
    return reader


def _received(reader: socket.socket) -> Iterator[Union[Line, Event]]:
    try:
        packet = reader.recv(log_packets.MAX_PACKET_BYTES + 1)
    except OSError:
        packet = b""
    if not packet:
        raise RootUnavailable(CROWDED)
    try:
        yield from log_packets.decode(packet)
    except PacketError as error:
        raise RootUnavailable(str(error)) from error


def _ended(records: Records, run: str) -> bool:
    record = records.read(run)
    return record is None or record.state == FINISHED


def _say(line: Line, choice: Choice) -> None:
    if choice.json:
        print(line.json(), flush=True)
    else:
        terminal.say_line(line.text(), line.level)


def _say_end(record: Record, choice: Choice) -> None:
    ending = {"run": record.run, "verdict": record.verdict, "reason": record.reason, "error": record.error}
    _note(choice, "end", wording.end(record), **ending)


def _say_state(records: Records, run: str, caller: Caller, choice: Choice) -> None:
    """Print what is known of a run that has not ended."""
    status = None
    with contextlib.suppress(TwitchError):
        status = ask(Status()).status
    record = records.read(run, resources=False)
    if record and record.state != FINISHED:
        text, fields = run_wording.so_far(record, status if status and status.run == run else None, caller)
        _note(choice, "state", text, **fields)


def _note(choice: Choice, event: str, text: str, **fields: object) -> None:
    """Print a line of ours."""
    print(log_lines.event(event, **fields) if choice.json else log_lines.note(text), flush=True)
