"""A limit on the memory of the processes of root that never become Puppet: status and conclude.

What they read is bounded where it is parsed; this is for what was overlooked there. A process that becomes
Puppet must not call it, because Puppet would inherit the limit.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

# Measured on Debian 12 (VmData): a status or a conclude has 9 MiB, also with a report of 50 MB, in YAML or in
# JSON; with the worst value that a report in JSON may have 120 MiB.
LIMIT_BYTES = 256 * 1024 * 1024


def limit() -> None:
    """Limit the data of this process. An allocation beyond that raises `MemoryError`."""
    # RLIMIT_DATA and not RLIMIT_AS: the journal's files are mapped, and may be hundreds of megabytes.
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = LIMIT_BYTES if hard == resource.RLIM_INFINITY else min(LIMIT_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextlib.contextmanager
def unlimited() -> Iterator[None]:
    """Lift the limit for a program that is started meanwhile, and would inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
