"""The lines of a run's log: their fields, as text and as JSON; and the lines of ours between them.

Text is the format of Puppet's own log file (lib/puppet/util/log/destinations.rb). A line that begins with a
digit is Puppet's, one that begins with `# ` is ours, and one that begins with two blanks continues the line
before, so that no message can forge either.

Puppet's messages get into the journal by syslog, each line of a message as an entry of its own, with the
level as its priority. An entry is a line of the log, and the number of lines is a position in it (`after=`).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import NamedTuple, Optional

from twitch.fields import FieldError, Fields
from twitch.texts import escape

# Puppet's levels, by the number that syslog(3) has for each (lib/puppet/util/log/destinations.rb).
LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

PUPPET, STDERR, OURS = "Puppet", "stderr", "puppet-twitch"

# `(SOURCE) MESSAGE`, as Puppet's syslog has it where the source is not Puppet itself. A source with a slash
# is a resource, or one of its properties: /Stage[main]/Main/Exec[x]/returns. Its title can hold anything, so
# it ends at the first bracket that could be its last one.
SOURCE = r"(?s)\((/.*?\](?:/\w+)?|[^()/]+)\) (.*)\Z"

# The year 9999, the last one that a date can have.
MAX_TIME_S = 253_402_300_800


class Line(NamedTuple):
    """A line of a run's log."""

    at: Optional[int]  # the number of lines up to this one; None if the journal has lost the first lines
    time: float  # epoch seconds
    level: str  # one of LEVELS
    source: str  # a resource, Puppet, stderr, or OURS
    message: str
    ours: bool = False  # puppet-twitch has logged it; a source alone can be chosen by a module

    @property
    def priority(self) -> int:
        """The number of the level: the smaller, the more severe."""
        return LEVELS.index(self.level)

    def text(self) -> str:
        """Return the line as text, without its newline."""
        if self.ours:
            return note(self.message)
        head = f"{_local(self.time)} {_safe(self.source)} ({self.level}): "
        return head + escape(self.message).replace("\n", "\n  ")

    def json(self) -> str:
        """Return the line as a line of JSON, without its newline. Lines of ours have an `event`."""
        fields = {
            "at": self.at,
            "time": moment(self.time),
            "level": self.level,
            "source": self.source,
            "message": self.message,
        }
        return json.dumps({"event": "asked", **fields} if self.ours else fields)


def parsed(message: str) -> tuple[str, str]:
    """Return the source and the message of a line as Puppet has sent it to syslog."""
    found = re.match(SOURCE, message)
    return (found[1], found[2]) if found else (PUPPET, message)


def note(text: str) -> str:
    """Return a line of ours as text: one line, whatever the text contains."""
    return f"# {_safe(text)}"


def event(name: str, **fields: object) -> str:
    """Return a line of ours as JSON, without the fields that are None."""
    return json.dumps({"event": name, **{key: value for key, value in fields.items() if value is not None}})


def moment(seconds: float) -> str:
    """Return a time as JSON has it (RFC 3339, in UTC)."""
    whole, part = divmod(round(seconds * 1e6), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{part:06}Z"


# ---- between the log reader and its callers


def encode(line: Line) -> bytes:
    """Return a line as a packet of the log reader holds it."""
    return json.dumps(line._asdict()).encode()


def decode(value: Mapping[str, object]) -> Line:
    """Return the line in a packet of the log reader; raises `FieldError`."""
    fields = Fields(value)
    level = fields.text("level")
    if not 0 <= fields.number("time") < MAX_TIME_S:
        raise FieldError("'time' is not a time")
    return Line(
        at=fields.optional_integer("at"),
        time=fields.number("time"),
        level=level if level in LEVELS else "notice",
        source=fields.text("source"),
        message=fields.text("message"),
        ours=bool(fields.optional_flag("ours")),
    )


def _local(seconds: float) -> str:
    """Return a time as Ruby prints it, and so Puppet: in the zone of the node."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))


def _safe(text: str) -> str:
    return escape(text).replace("\n", "\\n")
