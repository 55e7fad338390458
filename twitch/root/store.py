"""The files of root, and the records of runs that have not ended.

In `/run/puppet-twitch/`, which is memory and empty after a boot:

    lock                held (flock) while root decides about a request, and while current.json, queued.json,
                        counts.json and begun.json are written (root/claims.py)
    concluding          held (flock) while a verdict is worked out and written
    disabling           held (flock) while Puppet's lock that disables the agent is read and written
    ending              held (flock) while a run that is not ours is ended
    current.json        the claim of the run that is under way, or was the last one of ours
    queued.json         the claim of the run that waits in the queue
    runs/ID.json        the record of a run that has not ended, or whose record cannot be moved yet
    runs/ID.room        the room for the verdict of the run, taken when it was asked for
    runs/ID.cancel      who has cancelled the run: beside its record, which conclude may be writing

In `/var/lib/puppet-twitch/`, which lasts:

    runs/ID.json        the record of a run that has ended (root/history.py)
    counts.json         how many runs ended with which verdict (root/counts.py)
    begun.json          the record of the run under way, in case the one in /run is lost (root/begun.py)
    disabled.json       where that lock is, as long as a hold in it has an end (root/expiry_timer.py)

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
import json
import os
from typing import Optional

from twitch.fields import Fields
from twitch.record_files import ROOT, Records
from twitch.records import FINISHED, Cancelled, Record, cancelled_from_json
from twitch.root import begun, files, ownership, record_writer
from twitch.root.claims import Claims
from twitch.root.ownership import NotOurs

# The files below ROOT that root reads or writes by name.
OWN_FILES = (
    *("", "runs", "lock", "concluding", "disabling", "ending"),
    *("current.json", "queued.json", "settings.json"),
)


class Store(Records):
    """Records, for reading and writing; `claims` has the claims."""

    def __init__(self, root: str = ROOT, history: Optional[str] = None) -> None:
        super().__init__(root, history)
        self.root = root
        self.claims = Claims(root)
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
            fault = ownership.fault(path)
            if fault:
                # Not chown: the links in the directory would stay.
                restart = "systemctl restart puppet-twitch-run.socket puppet-twitch-log.socket"
                fix = f"rm -rf {self.root}; {restart}"
                raise NotOurs(f"{path} {fault}, so no run can start", fix)

    def trust_history(self) -> None:
        """Raise `NotOurs` unless only root can change what root writes in /var/lib/puppet-twitch."""
        ours = (self.begun_path, self.counts_path, self.disabled_path)
        for path in (self.state, self.history, *ours):
            fault = ownership.fault(path)
            if fault:
                raise NotOurs(f"{path} {fault}, so no history of runs is kept", f"rm -rf {self.state}")

    def prepare(self, gid: int) -> None:
        """Make `runs/`, for root to write and for the group of the listener to read, and the history."""
        _make(self.directory, gid)
        with contextlib.suppress(OSError, NotOurs):  # the disk costs history, never a run
            self.prepare_history(gid)

    def prepare_state(self) -> None:
        """Make the directory of what lasts; raises `OSError` or `NotOurs`."""
        self.trust_history()
        _make(self.state)

    def prepare_history(self, gid: int) -> None:
        """Make the directory of the history, for the group of the listener to read; raises as well."""
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
            taken = record_writer.take_room(self._room_path(record.run))
            try:
                record_writer.write(self.path(record.run), record)
            except BaseException:
                if taken:  # if not, it is the room of the same run, which waited
                    files.remove(self._room_path(record.run))
                raise
            return
        try:
            self._write_in_room(record)
        except OSError as error:
            try:
                from twitch.root import history  # which no run needs before its end

                history.write(self, record)
            except (OSError, NotOurs):
                for shorter in record_writer.shortened(record):
                    with contextlib.suppress(OSError):
                        return self._write_in_room(shorter)
                raise error from None

    def _write_in_room(self, record: Record) -> None:
        record_writer.write_in_room(self.path(record.run), self._room_path(record.run), record)

    def note(self, run: str, reason: str) -> None:
        """Add to the record of a run why it will not begin; conclude makes that the verdict's reason."""
        record = self.read(run)
        if record:
            noted = record._replace(reason=reason)
            try:
                record_writer.write(self.path(run), noted)
            except OSError:
                self._write_in_room(noted)

    def without_verdict(self, run: str) -> Optional[Record]:
        """Return the record of a run without a verdict; from the copy on the disk if the record vanished."""
        record = self.read(run)
        if record:
            return record if record.state != FINISHED else None
        last = begun.read(self)
        return last.record if last and last.record.run == run and not self.recorded(run) else None

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
        return any(map(os.path.lexists, (self.path(run), *self.history_paths(run))))

    def report_path(self, run: str) -> str:
        """Return where `puppet apply` wrote the report of a run that version 1.0.0 has begun."""
        return os.path.join(self.directory, f"{run}.yaml")

    # ---- locks

    def concluding(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock on verdicts, so that a run gets one verdict, however slow its own conclude is."""
        return files.locked(self._path("concluding"))

    def disabling(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock on what disables Puppet; a process that holds that on the claims may take it."""
        return files.locked(self._path("disabling"))

    def take_ending(self) -> Optional[int]:
        """Take the lock on the end of a run that is not ours, without waiting.

        Return its descriptor, or None if another process ends such a run. Raises `OSError`.
        """
        return files.try_lock(self._path("ending"))

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
    def begun_path(self) -> str:
        """Return where the copy of the record of the run under way is (root/begun.py)."""
        return os.path.join(self.state, "begun.json")

    def _path(self, name: str) -> str:
        return os.path.join(self.root, name)

    def _room_path(self, run: str) -> str:
        return os.path.join(self.directory, f"{run}.room")

    def _cancel_path(self, run: str) -> str:
        return os.path.join(self.directory, f"{run}.cancel")

    def history_paths(self, run: str) -> tuple[str, ...]:
        """Return the file of a run in the history; none if another user could have written it."""
        return (self.history_path(run),) if self.history_is_ours else ()

    def own_paths(self, run: str) -> tuple[str, ...]:
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
        # puppet-twitch-watch.path sees this, too: it tells of a run of `puppet apply`, which takes no lock.
        os.chown(directory, os.geteuid(), gid)
        os.chmod(directory, 0o750)  # noqa: S103  # whatever the umask; the group is the listener's
