"""Write our events to the journal, each with a message id and with fields.

`units/puppet-twitch.catalog` explains the ids to `journalctl -x`. Any user of the node may write the
same fields, but only journald sets _UID and _SYSTEMD_UNIT, so match one of those as well:
`journalctl _UID=0 TWITCH_RUN=ID`.
"""

from __future__ import annotations

import socket
import sys
from typing import Union

from twitch.texts import one_line

ASKED = "1d1c14c6b1f24ed5a0ea5d7d7d43ba6c"  # a caller asked for a run, and was answered
CANCELLED = "8c3a5c0b9e5d4f0c9a7e2b6d41f3c57e"  # a caller cancelled a run, and was answered; or it has ended
ENDED = "5f0f1b6fd9ff4d7b8a1ea58b7f3bd0a4"  # a run has ended, with a verdict
DISABLED = "6dd7337b2bd548b59491a3f5654d0ea0"  # a caller asked to disable Puppet, and was answered
ENABLED = "81c8a9932f7043468be3946af103f777"  # a caller asked to enable Puppet, and was answered
EXPIRED = "1f3c72592a904c27bcf6ec7df71d7996"  # a hold has ended

Field = Union[str, int, float, None]

# An event is one datagram, a field a line `NAME=value` (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/). The
# library does the same, and takes 18 to 22 ms to import: half of a handler, between its answer and Puppet.
JOURNALD = "/run/systemd/journal/socket"
# sendto() waits for room in journald's queue. If journald is stopped and its socket is not, that wait has no
# end without this, and a run would not begin.
SEND_TIMEOUT_S = 2

# Priorities of syslog(3).
WARNING, NOTICE = 4, 5


def event(message_id: str, message: str, *, priority: int = NOTICE, **fields: Field) -> None:
    """Write one event. A field becomes TWITCH_…; a field that is None is left out.

    Control characters are escaped, because a reason may come from an operator or from Puppet. So no value
    has a line break, and none can add a field.

    Without journald the message goes to stderr, because a run must not fail for an event.
    """
    named = {f"TWITCH_{name.upper()}": value for name, value in fields.items() if value is not None}
    every: dict[str, Field] = {
        "MESSAGE": message,
        "MESSAGE_ID": message_id,
        "PRIORITY": priority,
        "SYSLOG_IDENTIFIER": "puppet-twitch",
        **named,
    }
    entry = "".join(f"{name}={_text(value)}\n" for name, value in every.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
            journald.settimeout(SEND_TIMEOUT_S)
            journald.sendto(entry.encode(), JOURNALD)
    except OSError as error:
        print(f"<{priority}>{one_line(message)} (journal: {error})", file=sys.stderr)


def _text(value: Field) -> str:
    return f"{value:.1f}" if isinstance(value, float) else one_line(str(value))
