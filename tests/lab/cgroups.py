"""Control groups: where this process is, and groups below that for a lab and its machines.

nspawn puts a machine in `payload` below its own caller's group (--keep-unit), so each machine's
nspawn starts in a group of its own: two machines in one `payload` would share, and end, each other.
A hybrid host has two trees that matter, cgroup2 and v1's `name=systemd`; any other host cgroup2 only.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from .errors import LabError

PREFIX = "puppet-twitch-lab-"

# The kernel lets go of a killed process a moment after its parent has heard of it.
GONE_WITHIN_S = 10


def own() -> list[Path]:
    """Return this process's group in each tree, cgroup2 first; LabError without cgroup2."""
    paths = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        paths[controllers] = path
    trees = _trees()
    if "" not in trees:
        raise LabError("the lab needs cgroup2 mounted (a unified or hybrid hierarchy)")
    return [
        trees[controllers] / paths[controllers].lstrip("/")
        for controllers in ("", "name=systemd")
        if controllers in trees and controllers in paths
    ]


def _trees() -> dict[str, Path]:
    """Map `""` and `name=systemd`, as /proc/self/cgroup writes them, to where they are mounted."""
    trees: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # proc(5): 36 35 98:0 ROOT MOUNTPOINT rw,noatime master:1 - FSTYPE SOURCE OPTIONS
        before, after = line.split(" - ", 1)
        root, mountpoint = before.split()[3:5]
        filesystem, _, options = after.split(" ", 2)
        if root != "/":
            continue
        if filesystem == "cgroup2":
            trees.setdefault("", Path(mountpoint))
        elif filesystem == "cgroup" and "name=systemd" in options.split(","):
            trees.setdefault("name=systemd", Path(mountpoint))
    return trees


def create(name: str) -> list[Path]:
    """Make a group below ours in each tree."""
    groups = [parent / name for parent in own()]
    for group in groups:
        group.mkdir(exist_ok=True)
    return groups


def join(groups: list[Path]) -> None:
    """Move the calling process into the group, in each tree."""
    for group in groups:
        (group / "cgroup.procs").write_text("0")


def remove(groups: list[Path]) -> None:
    """Remove groups whose processes have ended, with all below; LabError if some did not end."""
    deadline = time.monotonic() + GONE_WITHIN_S
    for group in groups[::-1]:
        while not _try_remove(group):
            if time.monotonic() > deadline:
                raise LabError(f"processes are left in {group}")
            time.sleep(0.01)


def _try_remove(group: Path) -> bool:
    for directory, _, _ in os.walk(group, topdown=False):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
                return False
            raise
    return True


@contextmanager
def lab() -> Iterator[list[Path]]:
    """Make a lab's group; yield it, and remove it and what was made in it at the end.

    The lock on the directory says that the lab lives. The kernel drops it with the process, so
    that the next lab can tell, and clear away, what one that was killed has left behind.
    """
    _sweep()
    with ExitStack() as held:
        while True:
            with suppress(FileNotFoundError):
                groups = create(f"{PREFIX}{os.getpid()}")
                held.enter_context(_locked(groups[0]))
                # Another lab's sweep may have been faster than our lock.
                if groups[0].exists():
                    break
        try:
            yield groups
        finally:
            remove(groups)


def _sweep() -> None:
    parents = own()
    for left in sorted({path.name for parent in parents for path in parent.glob(f"{PREFIX}*")}):
        # Those of a living lab are locked; a process that cannot be killed must not stop us.
        with (
            suppress(FileNotFoundError, BlockingIOError, LabError),
            _locked(parents[0] / left, fcntl.LOCK_NB),
        ):
            remove([parent / left for parent in parents])


@contextmanager
def _locked(directory: Path, flags: int = 0) -> Iterator[None]:
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(held)
