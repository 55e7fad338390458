"""The holds that keep Puppet disabled: whether each of them will end in time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Optional

from twitch import record_files
from twitch.check import systemd
from twitch.check.findings import FAULT, Finding
from twitch.holds import utc
from twitch.root import expiry_timer, files, holds_in_lock
from twitch.root.puppet_locks import MAX_LOCK_BYTES
from twitch.root.settings import Settings
from twitch.root.store import Store

# The timer starts the unit within a second, and the unit takes less than a second.
GRACE_S = 60
# Not `systemctl start`, which does nothing while the file for a boot and the timer are missing.
FIX = "puppet-twitch expire"


def check(settings: Optional[Settings]) -> Iterator[Finding]:
    """Report holds that should have ended, and those whose end nothing is waiting for."""
    if settings is None:
        return
    path = settings.agent_disabled_lockfile
    try:
        lock = holds_in_lock.parse(files.read_foreign(path, MAX_LOCK_BYTES), 0)
    except OSError:
        return  # agent.py reports a lock that cannot be read
    now = time.time()
    late = lock.expired(now - GRACE_S)
    if late:
        text = f"Puppet is still disabled, although the hold of {late[0].caller} has ended at "
        yield Finding(FAULT, f"{text}{utc(late[0].until or now)}", FIX)
        return
    ends = expiry_timer.ends(lock.holds)
    if not ends or ends[0] <= now:
        return
    missing = [expiry_timer.TIMER] if systemd.show(expiry_timer.TIMER, "ActiveState") != "active" else []
    store = Store(record_files.ROOT)
    if expiry_timer.remembered(store) != path:
        missing.append(os.path.join(store.state, "disabled.json"))
    if missing:
        text = f"Puppet is disabled until {utc(ends[0])}, and {' and '.join(missing)} is missing, so that"
        yield Finding(FAULT, f"{text} it may not be enabled in time", FIX)
