"""Writes the file of a record: as a whole, in its room, and shorter where there is no room for all."""

from __future__ import annotations

import os
from collections.abc import Iterator

from twitch.record_files import encode
from twitch.records import Record
from twitch.root import files

# Two pages of memory: for the verdict, and not for the details of a run, which need room of their own.
ROOM_BYTES = 8192


def write(path: str, record: Record, *, durable: bool = False) -> None:
    """Replace the file of a record; if it is to last, return when it is on the disk."""
    content = encode(record)
    with files.replacing(path, f"{path}.{os.getpid()}", 0o644) as file:
        os.fchmod(file.fileno(), 0o644)  # whatever the umask of the site; runs/ decides who reads it
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    if durable:
        directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def shortened(record: Record) -> Iterator[Record]:
    """Yield the record without its details, for a place that has no room for them.

    First without its resources, then without everything that can be long.
    """
    left_out = (record.resources_left_out or 0) + len(record.resources or ())
    shorter = record._replace(resources=None, resources_left_out=left_out or None)
    yield shorter
    yield shorter._replace(failed_resources=None, left_running=None, error=None)


def take_room(path: str) -> bool:
    """Take room for the verdict on a run; return False if the run has it already. Raises `OSError`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o644)
    except FileExistsError:
        return False
    try:
        os.fchmod(descriptor, 0o644)  # whatever the umask of the site; runs/ decides who reads it
        os.posix_fallocate(descriptor, 0, ROOM_BYTES)
    except OSError as error:
        files.remove(path)
        raise OSError(error.errno, error.strerror, path) from error  # with the path, which it lacks
    finally:
        os.close(descriptor)
    return True


def write_in_room(path: str, room: str, record: Record) -> None:
    """Write a record into its room, which becomes its file; as `write` does if it has no room."""
    content = encode(record)
    try:
        descriptor = os.open(room, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            written = 0
            while written < len(content):
                written += os.pwrite(descriptor, content[written:], written)
            os.ftruncate(descriptor, len(content))
        finally:
            os.close(descriptor)
        os.rename(room, path)
    except OSError:
        # No room: 1.0.0 has begun the run, or its files vanished, or the verdict is too long for it.
        write(path, record)
        files.remove(room)
