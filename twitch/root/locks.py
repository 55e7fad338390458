"""Is Puppet free? Its two lock files, read as Puppet itself reads them.

Puppet deletes a lock whose owner is not a Puppet; we only do not count it. A test of ours that is
wrong costs an answer, never a run: the agent decides again, under its own lock.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import NamedTuple, Optional

# A run that is this much older than Puppet's own limit for a run will not end by itself.
STUCK_GRACE_S = 5 * 60
# With twelve bytes for the widest character it still fits into a packet.
MAX_REASON_CHARS = 1000


class Holder(NamedTuple):
    """The live Puppet process that holds the agent's run lock."""

    pid: int
    age_s: int  # of the lock


def run_lock_holder(lockfile: str) -> Optional[Holder]:
    """Return who holds the lock on catalog runs, or None if nobody does or the lock is stale."""
    try:
        with open(lockfile, encoding="ascii", errors="replace") as file:
            content = file.read(32).strip()
            age_s = int(time.time() - os.fstat(file.fileno()).st_mtime)
    except OSError:
        return None
    # Empty, garbage, or a number no pid can have: Puppet removes such a lock.
    if not re.fullmatch(r"[0-9]{1,10}", content) or not is_puppet(int(content)):
        return None
    return Holder(int(content), max(age_s, 0))


def is_puppet(pid: int) -> bool:
    """Puppet's own rule (lib/puppet/util/pidlock.rb, 5.5.15 and later), on /proc instead of ps:
    the name is puppet or puppet-…, or it is ruby and the command line mentions puppet."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            comm = file.read().strip()
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            arguments = file.read().replace("\0", " ")
    except OSError:
        return False
    if not arguments:
        return False  # it has ended and is not reaped yet: ps calls it `puppet <defunct>`
    return bool(re.search(r"puppet(-.*)?$", comm) or ("ruby" in comm and "puppet" in arguments))


def is_stuck(holder: Holder, runtimeout_s: Optional[int]) -> bool:
    """Whether a run is so old that Puppet's own limit must have failed; never without a limit."""
    return runtimeout_s is not None and holder.age_s > runtimeout_s + STUCK_GRACE_S


def disabled_reason(lockfile: str) -> Optional[str]:
    """Return why the agent is disabled ('' if nobody said), or None if it is enabled.

    That the file exists is enough for Puppet, whatever it contains.
    """
    try:
        with open(lockfile, encoding="utf-8", errors="replace") as file:
            content = file.read(64 * 1024)
    except FileNotFoundError:
        return None
    except OSError:
        return ""
    try:
        reason = json.loads(content).get("disabled_message")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return reason[:MAX_REASON_CHARS] if isinstance(reason, str) else ""
