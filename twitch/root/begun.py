"""The run that became Puppet last: a copy of its record where a power cut leaves it, on the disk.

It is one small file, /var/lib/puppet-twitch/begun.json, from the start of Puppet until the run is in the
history.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple, Optional

from twitch.fields import FieldError, Fields
from twitch.records import FINISHED, RUN_ID, Record, from_json
from twitch.root.ownership import NotOurs
from twitch.root.process import boot_id, start_time

if TYPE_CHECKING:
    from twitch.root.claims import Claim
    from twitch.root.store import Store

# The record of a run that begins, with fifty tags of a hundred characters and Puppet's settings.
MAX_BYTES = 8192


class Begun(NamedTuple):
    """The content of the file."""

    record: Record
    pid: int
    start: int
    boot: str  # the boot id: pid and start name a process of one boot

    @property
    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self.boot == boot_id() and start_time(self.pid) == self.start


def keep(store: Store, claim: Claim) -> None:
    """Keep a copy of the record of a run that becomes Puppet now.

    It is written over the one before, so that a full disk has room for it, and not waited for: whatever
    is lost, the run is not. The kernel is only told to begin writing now.
    """
    with contextlib.suppress(OSError, NotOurs), store.claims.locked():
        record = store.read(claim.run)
        store.trust_history()
        if record:
            begun = Begun(record, claim.pid, claim.start, boot_id())
            _write(store.begun_path, json.dumps({**begun._asdict(), "record": record.to_json()}))


def read(store: Store) -> Optional[Begun]:
    """Return the run that became Puppet last, unless the record of its end is in the history."""
    try:
        store.trust_history()
        descriptor = os.open(store.begun_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, encoding="ascii", errors="replace") as file:
            values = json.loads(file.read(4 * MAX_BYTES))
        fields = Fields(values)
        record = from_json(values["record"])
        if not RUN_ID.fullmatch(record.run) or record.state == FINISHED:
            raise FieldError("not the record of a run under way")
        return Begun(record, fields.integer("pid"), fields.integer("start"), fields.text("boot"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, NotOurs):
        return None


def forget(store: Store, run: str) -> None:
    """Forget the copy, if it is that of this run."""
    with contextlib.suppress(OSError), store.claims.locked():
        begun = read(store)
        if begun and begun.record.run == run:
            _write(store.begun_path, "null")


def _write(path: str, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        content = text.encode("ascii").ljust(MAX_BYTES)
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # on Linux, begins the writing
    finally:
        os.close(descriptor)
