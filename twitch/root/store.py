"""The files of root: the records of runs, and the claims of two of them.

In `/run/puppet-twitch/`, which is memory and empty after a boot:

    lock                held (flock) while current.json or queued.json are read and written
    concluding          held (flock) while a verdict is worked out and written
    disabling           held (flock) while Puppet's lock that disables the agent is read and written
    ending              held (flock) while a run that is not ours is ended
    current.json        the claim of the run that is under way, or was the last one of ours
    queued.json         the claim of the run that waits in the queue
    runs/ID.json        the record of a run that has not ended, or whose record cannot be moved yet
    runs/ID.room        the room for the verdict of the run, taken when it was asked for
    runs/ID.cancel      who has cancelled the run: beside its record, which conclude may be writing

In `/var/lib/puppet-twitch/`, which lasts:

    runs/ID.json        the record of a run that has ended
    counts.json         how many runs ended with which verdict (root/counts.py)
    begun.json          the record of the run under way, for the case that the one in /run is lost
    disabled.json       where that lock is, as long as a hold in it has an end

The life of a record:

    queued ────────> running ──────> finished, in /run ──────> finished, in /var/lib ──────> pruned
       └───────────────────────────────────^  │ │                        ^
         stopped while it waited              │ └── disk full: moved by ─┘
                                              │     a later conclude
                                              └── power cut: written again from begun.json and the report

Callers hear the verdict as soon as it is in /run; the fsync of the move delays nobody. There is room in /run
for every verdict, because a run is refused without it. Where /run has become read-only meanwhile, or is gone,
the verdict is written to /var/lib at once. The disk costs history only: no run and no verdict needs it.

What happened to the resources is up to a hundred times as long as the verdict. Where there is no room for it,
in /run or on the disk, the record is written without it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from typing import NamedTuple, Optional

from twitch.fields import FieldError, Fields
from twitch.records import (
    FINISHED,
    KEEP_BYTES,
    KEEP_RUNS,
    ROOT,
    RUN_ID,
    Cancelled,
    Record,
    Records,
    cancelled_from_json,
    encode,
    from_json,
    ids,
)
from twitch.root import claims, files, record_file, trust
from twitch.root.claims import Claim
from twitch.root.process import boot_id, start_time
from twitch.root.trust import NotOurs

STRAY_S = 86400  # the age from which a file that belongs to no run is removed

# Two pages of memory: for the verdict, and not for the details of a run, which need room of their own.
ROOM_BYTES = 8192
# The record of a run that begins, with fifty tags of a hundred characters and Puppet's settings.
BEGUN_BYTES = 8192

# The files below ROOT that root reads or writes by name.
OWN_FILES = (
    *("", "runs", "lock", "concluding", "disabling", "ending"),
    *("current.json", "queued.json", "settings.json"),
)


class Begun(NamedTuple):
    """The run that became Puppet last, as `begun.json` holds it until its end is in the history."""

    record: Record
    pid: int
    start: int
    boot: str  # the boot id: pid and start name a process of one boot

    @property
    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self.boot == boot_id() and start_time(self.pid) == self.start


class Store(Records):
    """Records, for reading and writing, and claims."""

    def __init__(self, root: str = ROOT, history: Optional[str] = None) -> None:
        super().__init__(root, history)
        self.root = root
        self.state = os.path.dirname(self.history)
        try:
            self.trust_history()
        except NotOurs:
            self.history_is_ours = False

    # ---- the directories

    def trust(self) -> None:
        """Raise `NotOurs` unless only root can change what root reads and writes in /run/puppet-twitch.

        The gem of the same name leaves a directory that its user owns; with links in it, that user could
        lead root's writes to any file.
        """
        for name in OWN_FILES:
            path = os.path.join(self.root, name) if name else self.root
            fault = trust.fault(path)
            if fault:
                # Not chown: the links in the directory would stay.
                restart = "systemctl restart puppet-twitch-run.socket puppet-twitch-log.socket"
                fix = f"rm -rf {self.root}; {restart}"
                raise NotOurs(f"{path} {fault}, so no run can start", fix)

    def trust_history(self) -> None:
        """Raise `NotOurs` unless only root can change what root writes in /var/lib/puppet-twitch."""
        ours = (self._begun_path, self.counts_path, self.disabled_path)
        for path in (self.state, self.history, *ours):
            fault = trust.fault(path)
            if fault:
                raise NotOurs(f"{path} {fault}, so no history of runs is kept", f"rm -rf {self.state}")

    def prepare(self, gid: int) -> None:
        """Make `runs/`, for root to write and for the group of the listener to read, and the history."""
        _make(self.directory, gid)
        with contextlib.suppress(OSError, NotOurs):  # the disk costs history, never a run
            self._prepare_history(gid)

    def prepare_state(self) -> None:
        """Make the directory of what lasts; raises `OSError` or `NotOurs`."""
        self.trust_history()
        _make(self.state)

    def _prepare_history(self, gid: int) -> None:
        self.prepare_state()
        _make(self.history, gid)

    # ---- records

    def write(self, record: Record) -> None:
        """Write the record of a run, whole or not at all.

        With the record of a run that has not ended, take room for its verdict. A verdict uses that room.
        Where /run cannot be written, or has no room for the details of the run, the record goes to the disk;
        where the disk has none either, /run has room for the verdict without the details.
        """
        if record.state != FINISHED:
            taken = self._take_room(record.run)
            try:
                record_file.write(self.path(record.run), record)
            except BaseException:
                if taken:  # if not, it is the room of the same run, which waited
                    files.remove(self._room_path(record.run))
                raise
            return
        try:
            self._write_in_room(record)
        except OSError as error:
            try:
                self._keep(record)
            except (OSError, NotOurs):
                for shorter in record_file.shortened(record):
                    with contextlib.suppress(OSError):
                        return self._write_in_room(shorter)
                raise error from None

    def _take_room(self, run: str) -> bool:
        """Take room for the verdict; return False if the run has it already. Raises `OSError`."""
        path = self._room_path(run)
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

    def _write_in_room(self, record: Record) -> None:
        content, room = encode(record), self._room_path(record.run)
        try:
            descriptor = os.open(room, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                written = 0
                while written < len(content):
                    written += os.pwrite(descriptor, content[written:], written)
                os.ftruncate(descriptor, len(content))
            finally:
                os.close(descriptor)
            os.rename(room, self.path(record.run))
        except OSError:
            # No room: 1.0.0 has begun the run, or its files vanished, or the verdict is too long for it.
            record_file.write(self.path(record.run), record)
            files.remove(room)

    def note(self, run: str, reason: str) -> None:
        """Add to the record of a run why it will not begin; conclude makes that the verdict's reason."""
        record = self.read(run)
        if record:
            noted = record._replace(reason=reason)
            try:
                record_file.write(self.path(run), noted)
            except OSError:
                self._write_in_room(noted)

    def without_verdict(self, run: str) -> Optional[Record]:
        """Return the record of a run without a verdict; from the copy on the disk if the record vanished."""
        record = self.read(run)
        if record:
            return record if record.state != FINISHED else None
        begun = self.begun()
        return begun.record if begun and begun.record.run == run and not self.recorded(run) else None

    def keep_cancel(self, run: str, cancelled: Cancelled) -> None:
        """Keep who has cancelled a run, for conclude; the first one of several. Raises `OSError`."""
        if self.cancelled(run) is None:
            files.write_json(self._cancel_path(run), cancelled._asdict(), 0o600)

    def cancelled(self, run: str) -> Optional[Cancelled]:
        """Return who has cancelled a run that has no verdict yet."""
        try:
            with open(self._cancel_path(run), encoding="utf-8") as file:
                return cancelled_from_json(Fields(json.load(file)))
        except (OSError, ValueError, RecursionError):
            return None

    def recorded(self, run: str) -> bool:
        """Return whether there is a record of a run, valid or not."""
        return any(map(os.path.lexists, (self.path(run), *self._history_paths(run))))

    def report_path(self, run: str) -> str:
        """Return where `puppet apply` wrote the report of a run that version 1.0.0 has begun."""
        return os.path.join(self.directory, f"{run}.yaml")

    # ---- the history

    def move_ended(self) -> None:
        """Move the records of ended runs to the history; raises `OSError` or `NotOurs` if that fails."""
        # It is not there if version 1.0.0 has begun the run, or if the run has removed it.
        self._prepare_history(os.stat(self.directory).st_gid)
        for run in ids(self.directory):
            record = self.read(run)
            if record and record.state == FINISHED:
                self._keep(record)

    def add(self, record: Record, gid: int, keep: int, size: int) -> None:
        """Write the record of a run of Puppet's own into the history; raises as `move_ended` does.

        `keep` and `size` are those of `prune`.
        """
        self._prepare_history(gid)
        self._keep(record)
        self.prune(keep, size)

    def _keep(self, record: Record) -> None:
        """Write a record to the history, wait for the disk, and remove what /run has of the run."""
        self.trust_history()
        path = self.history_path(record.run)
        try:
            record_file.write(path, record, durable=True)
        except OSError as error:
            for shorter in record_file.shortened(record):
                with contextlib.suppress(OSError):
                    record_file.write(path, shorter, durable=True)
                    break
            else:
                raise error from None
        self._forget_begun(record.run)
        for path in self._paths(record.run):
            with contextlib.suppress(OSError):  # /run may be read-only
                files.remove(path)

    def prune(self, keep: int = KEEP_RUNS, size: int = KEEP_BYTES) -> None:
        """Keep the last `keep` runs, and of these as many as `size` bytes hold; remove old strays."""
        newest = [record.run for record in self.newest()]
        room = size
        for number, run in enumerate(newest):
            # Of a record that cannot be moved to the disk, the copy in /run is the only one.
            for path in (self.path(run), self.history_path(run)):
                with contextlib.suppress(OSError):
                    room -= os.path.getsize(path)
            if number >= keep or (room < 0 and number > 0):
                for path in (*self._history_paths(run), *self._paths(run)):
                    with contextlib.suppress(OSError):
                        files.remove(path)
        in_use = {path for run in newest for path in (self.history_path(run), *self._paths(run))}
        _prune_strays(self.directory, in_use)
        if self.history_is_ours:
            _prune_strays(self.history, in_use)

    # ---- the run that became Puppet last

    def begin(self, claim: Claim) -> None:
        """Keep a copy of the record of the run under way where a power cut leaves it.

        It is written over the one before, so that a full disk has room for it, and not waited for: whatever
        is lost, the run is not. The kernel is only told to begin writing now.
        """
        with contextlib.suppress(OSError, NotOurs), self.locked():
            record = self.read(claim.run)
            self.trust_history()
            if record:
                begun = Begun(record, claim.pid, claim.start, boot_id())
                self._write_begun(json.dumps({**begun._asdict(), "record": record.to_json()}))

    def begun(self) -> Optional[Begun]:
        """Return the run that became Puppet last, unless the record of its end is in the history."""
        try:
            self.trust_history()
            descriptor = os.open(self._begun_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(descriptor, encoding="ascii", errors="replace") as file:
                values = json.loads(file.read(4 * BEGUN_BYTES))
            fields = Fields(values)
            record = from_json(values["record"])
            if not RUN_ID.fullmatch(record.run) or record.state == FINISHED:
                raise FieldError("not the record of a run under way")
            return Begun(record, fields.integer("pid"), fields.integer("start"), fields.text("boot"))
        except (OSError, ValueError, KeyError, TypeError, RecursionError, NotOurs):
            return None

    def _forget_begun(self, run: str) -> None:
        with contextlib.suppress(OSError), self.locked():
            begun = self.begun()
            if begun and begun.record.run == run:
                self._write_begun("null")

    def _write_begun(self, text: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._begun_path, flags, 0o600)
        try:
            content = text.encode("ascii").ljust(BEGUN_BYTES)
            os.pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # on Linux, begins the writing
        finally:
            os.close(descriptor)

    # ---- the run under way, and the one in the queue

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock on current.json and queued.json: for moments, never across an exec."""
        return _flock(self._path("lock"))

    def concluding(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock on verdicts, so that a run gets one verdict, however slow its own conclude is."""
        return _flock(self._path("concluding"))

    def disabling(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock on what disables Puppet; a process that holds `locked` may take this one as well."""
        return _flock(self._path("disabling"))

    def take_ending(self) -> Optional[int]:
        """Take the lock on the end of a run that is not ours, without waiting.

        Return its descriptor, or None if another process ends such a run. Raises `OSError`.
        """
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path("ending"), flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def current(self) -> Optional[Claim]:
        """Return the claim of the run that is under way, or was the last of ours."""
        return claims.read(self._path("current.json"))

    def running(self) -> Optional[Claim]:
        """Return the claim of the run that is under way, if it is one of ours."""
        claim = self.current()
        return claim if claim and claim.alive else None

    def queue_claim(self) -> Optional[Claim]:
        """Return the claim on the place in the queue, whether its process is alive or not."""
        return claims.read(self._path("queued.json"))

    def queued(self) -> Optional[Claim]:
        """Return the claim on the place in the queue, if its process is alive."""
        claim = self.queue_claim()
        return claim if claim and claim.alive else None

    def claim_current(self, claim: Claim) -> None:
        """Write the claim of the run that is under way, or has ended."""
        files.write_json(self._path("current.json"), claim.to_json(), 0o600)

    def claim_queued(self, claim: Claim) -> None:
        """Take the one place in the queue, from another claim if there is one."""
        files.write_json(self._path("queued.json"), claim.to_json(), 0o600)

    def leave_queue(self) -> None:
        """Free the place in the queue."""
        files.remove(self._path("queued.json"))

    def release(self, run: str, ended: float, *, cancelled: bool = False) -> None:
        """Put the end of a run into its claim, or free its place in the queue."""
        with self.locked():
            current, queued = self.current(), self.queue_claim()
            if current and current.run == run and current.ended is None:
                self.claim_current(current._replace(ended=ended, cancelled=cancelled))
            if queued and queued.run == run:
                self.leave_queue()

    # ---- paths

    @property
    def counts_path(self) -> str:
        """Return where the counts of runs are (root/counts.py)."""
        return os.path.join(self.state, "counts.json")

    @property
    def disabled_path(self) -> str:
        """Return where the path of Puppet's lock is kept, for the unit that runs after a boot."""
        return os.path.join(self.state, "disabled.json")

    @property
    def _begun_path(self) -> str:
        return os.path.join(self.state, "begun.json")

    def _path(self, name: str) -> str:
        return os.path.join(self.root, name)

    def _room_path(self, run: str) -> str:
        return os.path.join(self.directory, f"{run}.room")

    def _cancel_path(self, run: str) -> str:
        return os.path.join(self.directory, f"{run}.cancel")

    def _history_paths(self, run: str) -> tuple[str, ...]:
        return (self.history_path(run),) if self.history_is_ours else ()

    def _paths(self, run: str) -> tuple[str, ...]:
        """Return the files of a run in /run; version 1.0.0 left the last two."""
        log = os.path.join(self.directory, f"{run}.jsonl")
        return self.path(run), self._room_path(run), self._cancel_path(run), log, self.report_path(run)


def _make(directory: str, gid: Optional[int] = None) -> None:
    """Make a directory; with a group, for root to write and for that group to read."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o755 if gid is None else 0o750)
        if gid is None:
            os.chmod(directory, 0o755)  # noqa: S103  # whatever the umask
    if gid is not None:
        os.chown(directory, os.geteuid(), gid)
        os.chmod(directory, 0o750)  # noqa: S103  # whatever the umask; the group is the listener's


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


@contextlib.contextmanager
def _flock(path: str) -> Iterator[None]:
    # Read-only: a lock that exists can be held although its file system has become read-only.
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
