"""The packets between the log reader and its callers, over SOCK_SEQPACKET (/run/puppet-twitch/log.sock).

The caller sends one packet, a question; the log reader answers with packets of one or more lines, each a JSON
object: a line of the log, or one of these events:

    {"event": "log", "complete": true}      there are lines; complete: the journal has the first one
    {"event": "empty"}                      the journal has no line of this run, not yet or any more
    {"event": "beyond", "lines": 7}         there are less lines than `after`
    {"event": "lost"}                       the journal has lost the first lines, so `after` has no meaning
    {"event": "unreadable", "why": "…"}     there is no journal to read
    {"event": "invalid", "why": "…"}        the question was not understood
    {"event": "live"}                       all lines so far are sent; those to come follow
    {"event": "end", "lines": 7}            there will be no more

The first packet is one of the first six; all but `log` and `empty` are the only one. With `follow`, an empty
log may get lines: then `log` follows. A caller that shuts down its sending half says that the run has ended:
it gets the lines that are still on their way, and `end`. A connection without `end` was cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple, Optional, Union

from twitch import log_lines
from twitch.errors import PacketError
from twitch.fields import FieldError, Fields
from twitch.log_lines import LEVELS, Line
from twitch.records import RUN_ID

LOG_SOCKET = "/run/puppet-twitch/log.sock"

MAX_QUESTION_BYTES = 1024
# The kernel carries about 212,900 bytes; a line is at most 50 KB, if JSON needs six for each byte.
MAX_PACKET_BYTES = 128 * 1024
MAX_AFTER = 10**9
MAX_TAIL = 10_000
MAX_PID = 2**22  # of the kernel (PID_MAX_LIMIT)

LOG, EMPTY, BEYOND, LOST, UNREADABLE, INVALID = "log", "empty", "beyond", "lost", "unreadable", "invalid"
LIVE, END = "live", "end"


class Read(NamedTuple):
    """A question: which lines of which run."""

    run: str
    after: int = 0  # the lines that the caller has
    tail: Optional[int] = None  # only so many lines at the end of what there is
    level: str = LEVELS[-1]  # only lines of this level or a more severe one
    follow: bool = False
    pid: Optional[int] = None  # of the main process, which the record of the run names


class Event(NamedTuple):
    """An event of the log reader; which fields it has depends on its name."""

    name: str
    complete: bool = False
    lines: int = 0
    why: str = ""


def encode_question(question: Read) -> bytes:
    """Return the packet of a question."""
    return json.dumps(question._asdict()).encode("ascii")


def decode_question(packet: bytes) -> Read:
    """Return the question in a packet; raises `PacketError`. Each field is matched whole."""
    try:
        values = json.loads(packet[: MAX_QUESTION_BYTES + 1].decode("ascii"))
        fields = Fields(values)
        unknown = [name for name in values if name not in Read._fields]
        question = Read(
            run=fields.text("run"),
            after=fields.optional_integer("after") or 0,
            tail=fields.optional_integer("tail"),
            level=fields.optional_text("level") or LEVELS[-1],
            follow=bool(fields.optional_flag("follow")),
            pid=fields.optional_integer("pid"),
        )
    except (ValueError, RecursionError) as error:
        raise PacketError("not a question in JSON") from error
    well_formed = (
        len(packet) <= MAX_QUESTION_BYTES
        and not unknown
        and RUN_ID.fullmatch(question.run)
        and 0 <= question.after <= MAX_AFTER
        and (question.tail is None or 0 <= question.tail <= MAX_TAIL)
        and (question.pid is None or 1 < question.pid <= MAX_PID)
        and question.level in LEVELS
    )
    if not well_formed:
        raise PacketError("a field of the question is invalid")
    return question


def encode_event(name: str, **fields: object) -> bytes:
    """Return the packet of an event."""
    return log_lines.event(name, **fields).encode("ascii")


def decode(packet: bytes) -> Iterator[Union[Line, Event]]:
    """Yield the lines and events in a packet; raises `PacketError`."""
    for piece in packet.split(b"\n"):
        try:
            values = json.loads(piece)
            fields = Fields(values)
            name = fields.optional_text("event")
            if name is None:
                yield log_lines.decode(values)
            else:
                yield Event(
                    name,
                    complete=bool(fields.optional_flag("complete")),
                    lines=fields.optional_integer("lines") or 0,
                    why=fields.optional_text("why") or "",
                )
        except (ValueError, FieldError, RecursionError) as error:
            raise PacketError("the log reader's packet was not understood") from error
