"""Control groups: one for each lab, and below it one for each of its machines.

nspawn puts a machine in `payload` below its own caller's group (--keep-unit), so each machine's
nspawn starts in a group of its own: two machines in one `payload` would share, and end, each other.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import LabError

PREFIX = "twitch-lab-"

# The kernel releases a killed process a moment after its parent has been told.
EMPTY_WITHIN_S = 60


def tree() -> Path:
    """Return where cgroup2 is mounted: at its usual place, or at that of a hybrid host."""
    for place in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (place / "cgroup.controllers").exists():
            return place
    raise LabError("the lab needs cgroup2 mounted (a unified or hybrid hierarchy)")


def own() -> Path:
    """Return this process's group."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    # cgroups(7): hierarchy 0 is cgroup2.
    (path,) = (line[len("0::/") :] for line in lines if line.startswith("0::"))
    return tree() / path


@contextmanager
def lab() -> Iterator[None]:
    """Move this process into a new group, and remove that group, which must be empty then, at the end.

    A lab that was killed could not do the latter, so the next one removes what is empty. The lock
    keeps other labs from doing so between the making of a group and the moving.
    """
    parent = own()
    group = parent / f"{PREFIX}{os.getpid()}"
    held = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        for other in filter(_is_empty, parent.glob(f"{PREFIX}*")):
            remove(other)
        group.mkdir()
        _join(group)
    finally:
        os.close(held)
    try:
        yield
    finally:
        _join(parent)
        remove(group)


def remove(group: Path) -> None:
    """Remove a group with all below it, once its processes have ended; LabError if some do not."""
    deadline = time.monotonic() + EMPTY_WITHIN_S
    while not _is_empty(group):
        if time.monotonic() > deadline:
            raise LabError(f"processes are left in {group}")
        time.sleep(0.01)
    for directory, _, _ in os.walk(group, topdown=False):
        with suppress(FileNotFoundError):  # of a lab that ends just now, by itself
            os.rmdir(directory)


def _is_empty(group: Path) -> bool:
    try:
        return "populated 0" in (group / "cgroup.events").read_text()
    except OSError as error:
        # Its own lab has removed it: before its file was opened, or before that was read.
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return True
        raise


def _join(group: Path) -> None:
    (group / "cgroup.procs").write_text("0")
