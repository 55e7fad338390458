"""Our events in the journal: what each is called, and its fields.

`units/puppet-twitch.catalog` explains them to `journalctl -x`. Anyone on the node may write such
fields; what only systemd can say is _SYSTEMD_UNIT and _UID, so look for those first:
`journalctl _UID=0 TWITCH_RUN=ID`.
"""

from __future__ import annotations

import signal
import sys
from typing import Union

from twitch.texts import one_line

ASKED = "1d1c14c6b1f24ed5a0ea5d7d7d43ba6c"  # somebody asked for a run, and was answered
ENDED = "5f0f1b6fd9ff4d7b8a1ea58b7f3bd0a4"  # a run has ended, with a verdict

Field = Union[str, int, float, None]

# sd_journal_send(3) waits for room in journald's queue. Where journald is stopped and its socket is
# not, that would be for ever, and a run would not begin.
SEND_TIMEOUT_S = 2

# Priorities of syslog(3).
WARNING, NOTICE = 4, 5


def event(message_id: str, message: str, *, priority: int = NOTICE, **fields: Field) -> None:
    """Write one event. Fields become TWITCH_…; those that are None are left out.

    Reasons and such come from elsewhere, so whatever plays with a terminal is escaped.

    Without the library or without journald the message goes to stderr: an event must not be the
    reason why a run fails.
    """
    message = one_line(message)
    named = {f"TWITCH_{name.upper()}": _text(value) for name, value in fields.items() if value is not None}
    before = signal.signal(signal.SIGALRM, lambda *_: None)  # not ignored: it ends the waiting
    signal.setitimer(signal.ITIMER_REAL, SEND_TIMEOUT_S)
    try:
        from systemd import journal

        journal.send(
            message, MESSAGE_ID=message_id, PRIORITY=priority, SYSLOG_IDENTIFIER="puppet-twitch", **named
        )
    except (ImportError, OSError) as error:
        print(f"<{priority}>{message} (journal: {error})", file=sys.stderr)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # it would outlive exec
        signal.signal(signal.SIGALRM, before)


def _text(value: Field) -> str:
    return f"{value:.1f}" if isinstance(value, float) else one_line(str(value))
