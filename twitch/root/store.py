"""The files of root in `/run/puppet-twitch/`: the records of runs, and the claims of two of them.

    lock                held (flock) while current.json or queued.json are read and written
    concluding          held (flock) while a verdict is worked out and written
    current.json        the claim of the run that is under way, or was the last one of ours
    queued.json         the claim of the run that waits in the queue
    runs/ID.json        the record of one run (records.py)
    runs/ID.jsonl       Puppet's own structured log of it

No file here survives a reboot, and none has to, because Puppet's report says what became of the last run.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

from twitch.fields import FieldError, Fields
from twitch.records import ROOT, RUN_ID, Options, Record, Records, options_from_json
from twitch.root import files

KEPT_RUNS = 50
# Puppet's log of a run with --debug in PUPPET_EXTRA_OPTS can be tens of megabytes, and /run is memory.
KEPT_LOG_BYTES = 64 * 1024 * 1024
STRAY_S = 86400  # the age from which a file that belongs to no run is removed


class Claim(NamedTuple):
    """The run that holds `current.json` or `queued.json`, and the process that is or becomes Puppet.

    A pid alone can be recycled; with its start time (clock ticks since boot, field 22 of
    /proc/PID/stat) it names one process. Both survive execve().
    """

    run: str
    pid: int
    start: int
    options: Options = Options()
    ended: Optional[float] = None  # epoch seconds; None until the run is concluded
    named: bool = True  # the caller has a line in [access]

    @property
    def alive(self) -> bool:
        """Return whether the process still runs; another process with its pid is not it."""
        return start_time(self.pid) == self.start

    def to_json(self) -> dict[str, Any]:
        """Return the claim as its file holds it."""
        return {**self._asdict(), "options": self.options.to_json()}


def start_time(pid: int) -> Optional[int]:
    """Return the start of a process in clock ticks since boot; None if it has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # The name in parentheses may contain anything, so count from the last one (proc(5)).
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


class Store(Records):
    """Records, for reading and writing, and claims."""

    def __init__(self, root: str = ROOT) -> None:
        super().__init__(root)
        self.root = root

    # ---- records

    def prepare(self, gid: int) -> None:
        """Make `runs/`, for root to write and for the group of the listener to read."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.directory, 0o750)
        os.chown(self.directory, 0, gid)
        os.chmod(self.directory, 0o750)  # noqa: S103  # whatever the umask; the group is the listener's

    def write(self, record: Record) -> None:
        """Write the record of a run, whole or not at all."""
        files.write_json(self.path(record.run), record.to_json(), 0o644)  # runs/ decides who may read it

    def note(self, run: str, reason: str) -> None:
        """Add to the record of a run why it will not begin; conclude makes that the verdict's reason."""
        record = self.read(run)
        if record:
            self.write(record._replace(reason=reason))

    def recorded(self, run: str) -> bool:
        """Return whether there is a record of a run, valid or not."""
        return os.path.exists(self.path(run))

    def log_path(self, run: str) -> str:
        """Return where Puppet writes its structured log of a run; the ending makes it JSON lines."""
        return os.path.join(self.directory, f"{run}.jsonl")

    def report_path(self, run: str) -> str:
        """Return where `puppet apply` writes the report of a run (it knows no job id)."""
        return os.path.join(self.directory, f"{run}.yaml")

    def prune(self) -> None:
        """Keep the last KEPT_RUNS runs, the logs of the newest within KEPT_LOG_BYTES, and no old strays."""
        newest = [record.run for record in self.newest()]
        for run in newest[KEPT_RUNS:]:
            for path in self._paths(run):
                files.remove(path)
        room = KEPT_LOG_BYTES
        for run in newest[:KEPT_RUNS]:
            with contextlib.suppress(OSError):
                room -= os.path.getsize(self.log_path(run))
                if room < 0 and run != newest[0]:
                    files.remove(self.log_path(run))
        self._prune_strays({path for run in newest for path in self._paths(run)})

    def _prune_strays(self, in_use: set[str]) -> None:
        """Delete files older than STRAY_S that belong to no run: of an invalid record, or left by a killed
        writer. Newer ones may be in use."""
        old = time.time() - STRAY_S
        for name in os.listdir(self.directory):
            path = os.path.join(self.directory, name)
            with contextlib.suppress(OSError):
                if path not in in_use and os.stat(path).st_mtime < old:
                    os.unlink(path)

    # ---- the run under way, and the one in the queue

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock on current.json and queued.json: for moments, never across an exec."""
        return _flock(self._path("lock"))

    def concluding(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock on verdicts, so that a run gets one verdict, however slow its own conclude is."""
        return _flock(self._path("concluding"))

    def current(self) -> Optional[Claim]:
        """Return the claim of the run that is under way, or was the last of ours."""
        return _claim(self._path("current.json"))

    def running(self) -> Optional[Claim]:
        """Return the claim of the run that is under way, if it is one of ours."""
        claim = self.current()
        return claim if claim and claim.alive else None

    def queue_claim(self) -> Optional[Claim]:
        """Return the claim on the place in the queue, whether its process is alive or not."""
        return _claim(self._path("queued.json"))

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

    # ---- paths

    def _path(self, name: str) -> str:
        return os.path.join(self.root, name)

    def _paths(self, run: str) -> tuple[str, ...]:
        return self.path(run), self.log_path(run), self.report_path(run)


@contextlib.contextmanager
def _flock(path: str) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _claim(path: str) -> Optional[Claim]:
    try:
        with open(path, encoding="utf-8") as file:
            fields = Fields(json.load(file))
        run = fields.text("run")
        if not RUN_ID.fullmatch(run):
            raise FieldError("'run' is not an id")
        return Claim(
            run=run,
            pid=fields.integer("pid"),
            start=fields.integer("start"),
            options=options_from_json(fields.fields("options")),
            ended=fields.optional_number("ended"),
            named=fields.optional_flag("named") is not False,
        )
    except (OSError, ValueError, RecursionError):
        # Missing, invalid, or of another version: if that run is alive, Puppet's own lock shows it.
        return None
