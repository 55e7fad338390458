"""The holds in Puppet's own lock file, which disable Puppet, and their ends.

    {"disabled_message": "CHG-123 (token:deploy at 192.0.2.7, until 2026-11-26T02:00:00Z)",
     "puppet_twitch": {"holds": [{"caller": "token:deploy", "client": "192.0.2.7", "reason": "CHG-123",
                                  "since": 1795649985, "until": 1795657185}]}}

Puppet and the tools around it read `disabled_message` and ignore the rest. It comes first and without a
space, because some tools cut the text out with sed. The lock of another tool is one hold of the caller
`unknown`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple, Optional

from twitch.errors import TwitchError
from twitch.fields import FieldError, Fields
from twitch.holds import UNKNOWN, Disabled, Hold, hold_from_json, together, utc
from twitch.messages import CALLER, CLIENT, MAX_UNTIL, REASON
from twitch.root import disabled_lock, expiry_timer, files, journal, values
from twitch.root.disabled_lock import Found, LockFile
from twitch.root.puppet_locks import MAX_LOCK_BYTES, MAX_REASON_CHARS
from twitch.root.store import Store
from twitch.texts import one_line

# All of them, with the longest reasons, fit into the lock that is read and into a packet.
MAX_HOLDS = 32
# How often another tool may change the lock while it is written here. Puppet takes a second for a change, so
# even two of them are no coincidence.
TRIES = 10

OURS, MESSAGE = "puppet_twitch", "disabled_message"


class Lock(NamedTuple):
    """What the lock file says."""

    message: str  # as Puppet prints it; '' if there is none
    holds: tuple[Hold, ...]  # at least one
    others: Mapping[str, Any] = {}  # what other tools have written into the object

    @property
    def disabled(self) -> Disabled:
        """Return what all holds mean together."""
        return together(self.holds)

    @property
    def foreign(self) -> bool:
        """Return whether another tool has written the lock, and nobody has a hold of ours in it."""
        return all(hold.caller == UNKNOWN for hold in self.holds)

    def expired(self, now: float) -> tuple[Hold, ...]:
        """Return the holds whose end has passed."""
        return tuple(hold for hold in self.holds if hold.until is not None and hold.until <= now)


# ---- reading


def look(store: Store, path: str) -> Optional[Lock]:
    """Return the lock, after lifting the holds that have expired; None if Puppet is enabled.

    For Puppet it is enough that something exists, whatever it is.
    """
    try:
        content = files.read_foreign(path, MAX_LOCK_BYTES)
        written = os.stat(path).st_mtime
    except OSError:
        if not os.path.exists(path):
            return None
        return Lock("", (Hold(UNKNOWN, "", "", os.lstat(path).st_mtime),))
    lock = parse(content, written)
    if not lock.expired(time.time()):
        return lock
    try:
        return lift(store, path)
    except (OSError, TwitchError) as error:
        # Puppet does not know of an end, and stays disabled.
        print(f"<4>Puppet stays disabled, although a hold has ended: {one_line(str(error))}", file=sys.stderr)
        return lock


def parse(content: bytes, written: float) -> Lock:
    """Return what the content of a lock means; `written` is the time of the file."""
    written = min(max(written, 0.0), float(MAX_UNTIL))  # user puppet may have chosen it
    text = content.decode("utf-8", "replace")
    document = values.from_json(text)
    value = values.mapping(document)
    written_text = value.get(MESSAGE)
    shown = written_text[:MAX_REASON_CHARS] if isinstance(written_text, str) else ""
    others = {name: item for name, item in value.items() if name not in (MESSAGE, OURS)}
    holds = _holds(value.get(OURS))
    if holds:
        return Lock(shown, holds, others)
    # Not JSON: `echo CHG-123 >agent_disabled.lock` disables as well. Puppet shows no reason then.
    reason = shown if isinstance(document, dict) else one_line(text.strip())[:MAX_REASON_CHARS]
    return Lock(shown, (Hold(UNKNOWN, "", reason, written),), others)


def _holds(value: object) -> tuple[Hold, ...]:
    """Return our holds; none if there are none, or if this version does not understand them."""
    try:
        found = Fields(value).optional_objects("holds") or ()
        holds = tuple(map(hold_from_json, found))
    except FieldError:
        return ()
    callers = {hold.caller for hold in holds}
    # Without this check, user puppet could write a lock that fits into no packet, and nobody would see it.
    possible = len(callers) == len(holds) <= MAX_HOLDS and all(map(_is_valid, holds))
    return holds if possible else ()


def _is_valid(hold: Hold) -> bool:
    if not all(0 <= moment <= MAX_UNTIL for moment in (hold.since, hold.until or 0)):
        return False
    if hold.caller == UNKNOWN:
        return len(hold.reason) <= MAX_REASON_CHARS and hold.until is None and not hold.client
    return bool(
        re.fullmatch(CALLER, hold.caller)
        and re.fullmatch(REASON, hold.reason)
        and re.fullmatch(CLIENT, hold.client)
    )


def message(holds: tuple[Hold, ...]) -> str:
    """Return what Puppet prints of these holds; of the lock of another tool alone, its own text."""
    if all(hold.caller == UNKNOWN for hold in holds):
        return holds[0].reason
    return "; ".join(hold.shown() for hold in holds)[:MAX_REASON_CHARS]


def content_of(lock: Lock) -> bytes:
    """Return the content of a lock file; raises `TwitchError` if it is too long."""
    fields: dict[str, Any] = {MESSAGE: lock.message, **lock.others}
    if not lock.foreign:
        fields[OURS] = {"holds": [hold.to_json() for hold in lock.holds]}
    # ASCII, because a tool may run without a locale.
    try:
        content = json.dumps(fields, separators=(",", ":")).encode("ascii")
    except RecursionError as error:
        text = "the lock that is there is nested too deep; puppet-twitch enable --force removes it"
        raise TwitchError(text) from error
    if len(content) > MAX_LOCK_BYTES:
        raise TwitchError("there are too many holds; puppet-twitch enable lifts them")
    return content


# ---- changing

# Returns what becomes of the holds in a lock (None: there is no lock); an error leaves the lock as it is.
Change = Callable[[Optional[Lock]], tuple[Hold, ...]]


def lift(store: Store, path: str) -> Optional[Lock]:
    """Lift the holds that have expired; return what is left of the lock. Raises `OSError`, `TwitchError`."""
    return change(store, path, lambda lock: lock.holds if lock else ())


def change(store: Store, path: str, becomes: Change) -> Optional[Lock]:
    """Lift the holds that have expired, and change the others; return what is left of the lock."""
    with store.disabling(), disabled_lock.opened(path) as file:
        for _ in range(TRIES):
            found = file.read()
            lock = parse(found.content, found.written) if found else None
            expired = lock.expired(time.time()) if lock else ()
            others = lock.others if lock else {}
            live = tuple(hold for hold in lock.holds if hold not in expired) if lock else ()
            holds = becomes(_lock(live, others))
            # First, for the case that the node goes down in between.
            expiry_timer.remember(store, path, holds)
            if not _write(file, found, lock, _lock(holds, others)):
                continue
            expiry_timer.arm(store, holds)
            for hold in expired:
                _log_expired(hold, holds)
            return _lock(holds, others)
    raise TwitchError(f"another tool changes {path} again and again")


def _lock(holds: tuple[Hold, ...], others: Mapping[str, Any]) -> Optional[Lock]:
    return Lock(message(holds), holds, others) if holds else None


def _write(file: LockFile, found: Optional[Found], before: Optional[Lock], after: Optional[Lock]) -> bool:
    """Write the lock; return False if another tool has changed it meanwhile."""
    if (before and before.holds) == (after and after.holds):
        return True
    if after is None:
        return found is None or file.remove(found)
    content = content_of(after)
    return file.create(content) if found is None else file.replace(found, content)


def _log_expired(hold: Hold, rest: tuple[Hold, ...]) -> None:
    state = f"Puppet stays disabled: {message(rest)}" if rest else "Puppet is enabled"
    journal.event(
        journal.EXPIRED,
        f"the hold of {hold.caller} has ended ({hold.reason}): {state}",
        caller=hold.caller,
        client=hold.client,
        reason=hold.reason,
        until=utc(hold.until or 0),
    )
