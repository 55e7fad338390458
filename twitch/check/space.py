"""Room where runs write: a file system that is full, has no free inodes, or is read-only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Optional

from twitch import record_files
from twitch.check.findings import FAULT, NOTE, Finding
from twitch.root.settings import Settings

# A run takes three pages and two inodes of /run when it begins (root/store.py).
RUN_BYTES, RUN_INODES = 64 * 1024, 8
# Puppet writes a catalog, a report and facts, each of which can have a MiB and more.
PUPPET_BYTES, PUPPET_INODES = 4 * 1024 * 1024, 64


def check(settings: Optional[Settings]) -> Iterator[Finding]:
    """Report file systems without room: for our claims, for Puppet's files, and for the history of runs."""
    missing = _missing(record_files.ROOT, RUN_BYTES, RUN_INODES)
    if missing:
        yield Finding(FAULT, f"{missing}, so no run can start", _fix(record_files.ROOT), by_hand=True)
    for directory in _puppets(settings):
        missing = _missing(directory, PUPPET_BYTES, PUPPET_INODES)
        if missing:
            text = f"{missing}, so Puppet cannot write its catalog and report"
            yield Finding(FAULT, text, _fix(directory), by_hand=True)
    missing = _missing(record_files.HISTORY, RUN_BYTES, RUN_INODES)
    if missing:
        yield Finding(
            NOTE, f"{missing}, so the history of runs is not kept", _fix(record_files.HISTORY), by_hand=True
        )


def _puppets(settings: Optional[Settings]) -> Iterator[str]:
    """Yield Puppet's directories, one of each mount: vardir, and those of its locks, report and summary."""
    if settings is None:
        return
    state = os.path.dirname(settings.agent_catalog_run_lockfile)
    written = (settings.lastrunreport, settings.lastrunfile)
    places = (os.path.dirname(state), state, *map(os.path.dirname, written))
    yield from {_mount_point(_existing(place)): place for place in reversed(places)}.values()


def _missing(directory: str, needed_bytes: int, needed_inodes: int) -> Optional[str]:
    """Return what a file system has too little of, or None; the directory may not exist yet."""
    place = _existing(directory)
    info = os.statvfs(place)
    of = f"the file system of {directory} (mounted at {_mount_point(place)})"
    free_bytes = info.f_bfree * info.f_frsize  # root may use the reserved blocks, too
    if info.f_flag & os.ST_RDONLY:
        return f"{of} is read-only"
    if free_bytes < needed_bytes:
        return f"{of} is full: {free_bytes // 1024} KiB free, {needed_bytes // 1024} KiB needed"
    # btrfs and others have no fixed number of inodes, and say 0.
    if info.f_files and info.f_ffree < needed_inodes:
        return f"{of} has no free inodes: {info.f_ffree} free, {needed_inodes} needed"
    return None


def _fix(directory: str) -> str:
    point = _mount_point(_existing(directory))
    return (
        f"free room there (du -xah {point} | sort -h | tail); if it is read-only: mount -o remount,rw {point}"
    )


def _existing(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path) or "/"
    return path


def _mount_point(path: str) -> str:
    """Return where the file system of a directory is mounted; a bind mount has the device of its source."""
    path = os.path.realpath(path)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        # proc(5): the fifth field, with blanks as \\040.
        points = [line.split()[4].replace("\\040", " ") for line in file]
    above = [point for point in points if f"{path}/".startswith(f"{point.rstrip('/')}/")]
    return max(above, key=len, default="/")
