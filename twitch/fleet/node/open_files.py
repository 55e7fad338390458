"""How many connections this process may have open: each is a file, and shells start with 1024 of them."""

from __future__ import annotations

from typing import Optional

# Files that are not connections: the result, the terminal, PuppetDB, the puppetservers, threads for DNS.
OTHERS = 200

# Beyond this, the kernel's own limits and the memory of a workstation come first.
MAX_CONNECTIONS = 20_000


def connections(wanted: int) -> tuple[int, Optional[str]]:
    """Return how many connections there may be, and a sentence for people if these are less than wanted.

    The soft limit of open files is raised to the hard one: threads in the trackers of Bolt and parallel-ssh
    (puppetlabs/bolt#1789, ParallelSSH/parallel-ssh#311) are about tools that have not done so.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return min(wanted, MAX_CONNECTIONS), None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted + OTHERS
    if soft == resource.RLIM_INFINITY or soft >= need:
        return wanted, None
    limit = need if hard == resource.RLIM_INFINITY else min(need, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    except (OSError, ValueError):  # macOS has a lower limit that it does not tell (kern.maxfilesperproc)
        limit = soft
    allowed = max(1, limit - OTHERS)
    if allowed >= wanted:
        return wanted, None
    return (
        allowed,
        f"{allowed} connections at once instead of {wanted}: the limit of open files is {limit} (ulimit -n)",
    )
