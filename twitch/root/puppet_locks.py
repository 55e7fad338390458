"""Read Puppet's two lock files by Puppet's own rules: the lock on runs, and the one that disables the agent.

Nothing here changes a lock. Puppet deletes a stale one, whose process is not a Puppet; here it is
ignored. A wrong result means one wrong answer but never a second run, because the agent checks its lock
again.
"""

from __future__ import annotations

import os
import re
import time
from typing import NamedTuple, Optional

from twitch.root import files, values

# A run that is this much older than Puppet's own limit for a run will not end by itself.
STUCK_GRACE_S = 5 * 60
# A pid, or a reason in JSON with whatever else other tools have written there.
MAX_LOCK_BYTES = 128 * 1024
# ps, which Puppet's rule is about, shows no more of a command line.
MAX_ARGUMENTS_BYTES = 128 * 1024
# It fits into a packet even if JSON needs twelve bytes for each character (an escaped surrogate pair).
MAX_REASON_CHARS = 1000


class Holder(NamedTuple):
    """The live Puppet process that holds the agent's run lock."""

    pid: int
    age_s: int  # of the lock
    owner: int = 0  # the uid of the lock: user puppet may own its directory, and can write another one


def run_lock_holder(lockfile: str) -> Optional[Holder]:
    """Return the Puppet that holds the lock on runs; None if there is no lock, or a stale one."""
    try:
        with files.open_foreign(lockfile, MAX_LOCK_BYTES) as file:
            content = file.read(32).decode("ascii", "replace").strip()
            info = os.fstat(file.fileno())
            age_s = int(time.time() - info.st_mtime)
    except OSError:
        return None
    # Empty, garbage, or a number that no pid can have: Puppet removes such a lock.
    if not re.fullmatch(r"[0-9]{1,10}", content) or not is_puppet(int(content)):
        return None
    return Holder(int(content), max(age_s, 0), info.st_uid)


def is_puppet(pid: int) -> bool:
    """Return whether a process is a Puppet: its name is puppet or puppet-…, or it is a ruby whose command
    line mentions puppet.

    That is Puppet's own rule (lib/puppet/util/pidlock.rb, 5.5.15 and later), with /proc instead of ps.
    """
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            comm = file.read().strip()
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            arguments = file.read(MAX_ARGUMENTS_BYTES).replace("\0", " ")
    except OSError:
        return False
    if not arguments:
        return False  # it has ended and is not reaped yet; ps shows `puppet <defunct>`, which is no match
    return bool(re.search(r"puppet(-.*)?$", comm) or ("ruby" in comm and "puppet" in arguments))


def is_stuck(age_s: int, runtimeout_s: Optional[int]) -> bool:
    """Return whether a run is so old that Puppet's own limit must have failed; False without a limit."""
    return runtimeout_s is not None and age_s > runtimeout_s + STUCK_GRACE_S


def disabled_reason(lockfile: str) -> Optional[str]:
    """Return why the agent is disabled ('' if no reason was given), or None if it is enabled.

    For Puppet it is enough that the file exists, whatever its content.
    """
    try:
        content = files.read_foreign(lockfile, MAX_LOCK_BYTES)
    except OSError:
        return "" if os.path.exists(lockfile) else None
    reason = values.mapping(values.from_json(content.decode("utf-8", "replace"))).get("disabled_message")
    return reason[:MAX_REASON_CHARS] if isinstance(reason, str) else ""
