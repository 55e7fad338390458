"""The holds that keep Puppet disabled: who has asked for it, why, and until when.

Root reads them from Puppet's lock file (root/holds_in_lock.py); the listener shows them (views.py).
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple, Optional

from twitch.fields import Fields

# The caller of a lock that another tool has written: `puppet agent --disable`, Choria.
UNKNOWN = "unknown"

MAX_CHARS = 1000  # of what several holds have together; each has its own in `holds`


class Hold(NamedTuple):
    """One caller that wants Puppet to be disabled. Times are epoch seconds."""

    caller: str
    client: str  # the address; '' of an unknown caller
    reason: str
    since: float
    until: Optional[float] = None  # None: without an end

    def shown(self) -> str:
        """Return the hold as Puppet prints it, in `disabled_message`."""
        if self.caller == UNKNOWN:
            return self.reason or "no reason given"
        end = "without an end" if self.until is None else f"until {utc(self.until)}"
        return f"{self.reason} ({self.caller} at {self.client}, {end})"

    def to_json(self) -> dict[str, Any]:
        """Return the hold as the lock file and packets have it."""
        return self._asdict()


class Disabled(NamedTuple):
    """All holds together."""

    by: str  # the callers
    reason: str
    since: Optional[float]  # of the first hold
    until: Optional[float]  # of the last hold; None if a hold has no end
    holds: tuple[Hold, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the holds as a packet has them."""
        return {**self._asdict(), "holds": [hold.to_json() for hold in self.holds]}


def together(holds: tuple[Hold, ...]) -> Disabled:
    """Return what several holds mean together; there is at least one."""
    ends = [hold.until for hold in holds]
    return Disabled(
        by=", ".join(hold.caller for hold in holds)[:MAX_CHARS],
        reason="; ".join(hold.reason for hold in holds if hold.reason)[:MAX_CHARS],
        since=min(hold.since for hold in holds),
        until=None if None in ends else max(end for end in ends if end is not None),
        holds=holds,
    )


def from_json(fields: Fields) -> Disabled:
    """Return the holds that a packet has; raises `FieldError`."""
    return Disabled(
        by=fields.text("by"),
        reason=fields.text("reason"),
        since=fields.optional_number("since"),
        until=fields.optional_number("until"),
        holds=tuple(map(hold_from_json, fields.optional_objects("holds") or ())),
    )


def hold_from_json(fields: Fields) -> Hold:
    """Return one hold; raises `FieldError`."""
    return Hold(
        caller=fields.text("caller"),
        client=fields.text("client"),
        reason=fields.text("reason"),
        since=fields.number("since"),
        until=fields.optional_number("until"),
    )


def utc(epoch_s: float) -> str:
    """Return epoch seconds in UTC, in the form of RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_s))
