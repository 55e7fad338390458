"""The file of a record: written as a whole, and shorter where there is no room for all of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from twitch.records import Record, encode
from twitch.root import files


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
