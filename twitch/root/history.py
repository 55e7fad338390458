"""The history: the records of runs that have ended, on the disk, and how many of them are kept.

/var/lib/puppet-twitch/runs/ID.json, which the listener reads as well. root/store.py has the life of a record.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from twitch.record_files import KEEP_BYTES, KEEP_RUNS, ids
from twitch.records import FINISHED, Record
from twitch.root import begun, files, record_writer

if TYPE_CHECKING:
    from twitch.root.store import Store

STRAY_S = 86400  # the age from which a file that belongs to no run is removed


def move_ended(store: Store) -> None:
    """Move the records of ended runs to the history; raises `OSError` or `NotOurs` if that fails."""
    # It is not there if version 1.0.0 has begun the run, or if the run has removed it.
    store.prepare_history(os.stat(store.directory).st_gid)
    for run in ids(store.directory):
        record = store.read(run)
        if record and record.state == FINISHED:
            write(store, record)


def add(store: Store, record: Record, gid: int, keep: int, size: int) -> None:
    """Write the record of a run of Puppet's own into the history; raises as `move_ended` does.

    `keep` and `size` are those of `prune`.
    """
    store.prepare_history(gid)
    write(store, record)
    prune(store, keep, size)


def write(store: Store, record: Record) -> None:
    """Write a record to the history, wait for the disk, and remove what /run has of the run.

    Where the disk has no room for its details, it is written without them. Raises `OSError` or `NotOurs`.
    """
    store.trust_history()
    path = store.history_path(record.run)
    try:
        record_writer.write(path, record, durable=True)
    except OSError as error:
        for shorter in record_writer.shortened(record):
            with contextlib.suppress(OSError):
                record_writer.write(path, shorter, durable=True)
                break
        else:
            raise error from None
    begun.forget(store, record.run)
    for path in store.own_paths(record.run):
        with contextlib.suppress(OSError):  # /run may be read-only
            files.remove(path)


def prune(store: Store, keep: int = KEEP_RUNS, size: int = KEEP_BYTES) -> None:
    """Keep the last `keep` runs, and of these as many as `size` bytes hold; remove old strays."""
    newest = [record.run for record in store.newest()]
    room = size
    for number, run in enumerate(newest):
        # In both places: a record that cannot be moved to the disk is in /run only.
        for path in (store.path(run), store.history_path(run)):
            with contextlib.suppress(OSError):
                room -= os.path.getsize(path)
        if number >= keep or (room < 0 and number > 0):
            for path in (*store.history_paths(run), *store.own_paths(run)):
                with contextlib.suppress(OSError):
                    files.remove(path)
    in_use = {path for run in newest for path in (store.history_path(run), *store.own_paths(run))}
    _prune_strays(store.directory, in_use)
    if store.history_is_ours:
        _prune_strays(store.history, in_use)


def _prune_strays(directory: str, in_use: set[str]) -> None:
    """Delete files older than STRAY_S that belong to no run: of an invalid record, or left by a killed
    writer. Newer ones may be in use."""
    old = time.time() - STRAY_S
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            with contextlib.suppress(OSError):
                if path not in in_use and os.lstat(path).st_mtime < old:
                    os.unlink(path)
