"""`/run/puppet-twitch/`: the record of runs. What a record is, reading and writing it.

    lock                held (flock) while current.json or queued.json are read and written
    concluding          held (flock) while a verdict is found and written
    current.json        the run that is under way, or was the last one of ours
    queued.json         the run that waits for its turn
    runs/ID.json        one run: its state, then its verdict
    runs/ID.jsonl       Puppet's own structured log of it

Root writes, by rename, so that a reader sees a whole file or the one before. The listener may read
`runs/` only. No file here outlives a reboot, and none needs to: what became of the last run is in
Puppet's own report.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

ROOT = "/run/puppet-twitch"

KEPT_RUNS = 50
# Puppet's log of a run with --debug in PUPPET_EXTRA_OPTS can be tens of megabytes, and /run is memory.
KEPT_LOG_BYTES = 64 * 1024 * 1024
STRAY_S = 86400

ID = re.compile(r"[0-9a-f]{32}")

Record = dict[str, Any]

# The states of a record, and the verdicts of one that is finished.
QUEUED, RUNNING, FINISHED = "queued", "running", "finished"
UNCHANGED, CHANGED, FAILED = "unchanged", "changed", "failed"
INTERRUPTED, NOT_ATTEMPTED, BUSY = "interrupted", "not attempted", "busy"
GOOD = (UNCHANGED, CHANGED)


class Claim(NamedTuple):
    """Who holds `current.json` or `queued.json`: a run, and the process that is or becomes Puppet.

    A pid alone can be recycled; with its start time (clock ticks since boot, field 22 of
    /proc/PID/stat) it names one process. Both survive execve().
    """

    run: str
    pid: int
    start: int
    options: dict[str, Any]
    ended: Optional[float] = None  # epoch seconds; None while nobody has concluded the run
    named: bool = True  # whoever asked has a line in [access]

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return start_time(self.pid) == self.start


def start_time(pid: int) -> Optional[int]:
    """Start of a process in clock ticks since boot; None if it is gone or only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # The name in parentheses may contain anything, so count from the last one (proc(5)).
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


class Store:
    """The files below one directory; tests use one of their own."""

    def __init__(self, root: str = ROOT) -> None:
        self.root = root
        self.directory = os.path.join(root, "runs")

    # ---- records: read by the listener

    def log_path(self, run: str) -> str:
        """Where Puppet writes its structured log of this run; the ending makes it JSON lines."""
        return os.path.join(self.directory, f"{run}.jsonl")

    def report_path(self, run: str) -> str:
        """Where `puppet apply` writes the report of this run (it knows no job id)."""
        return os.path.join(self.directory, f"{run}.yaml")

    def read(self, run: str) -> Optional[Record]:
        """Return the record of a run, or None if there is none (any more)."""
        if not ID.fullmatch(run):
            return None
        record = _read(self._record_path(run))
        return record if record and record.get("run") == run and "state" in record else None

    def newest(self) -> list[Record]:
        """Return all records, the run asked for last first."""
        records = (self.read(run) for run in self._ids())
        known = [record for record in records if record is not None]
        return sorted(known, key=_asked, reverse=True)

    # ---- records: written by root

    def prepare(self, gid: int) -> None:
        """Make `runs/`, for root to write and for the group of the listener to read."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.directory, 0o750)
        os.chown(self.directory, 0, gid)
        os.chmod(self.directory, 0o750)  # noqa: S103  # whatever the umask; the group is the listener's

    def write(self, record: Record) -> None:
        """Write the record of a run, whole or not at all."""
        _write(self._record_path(record["run"]), record, mode=0o644)  # runs/ decides who may look

    def prune(self) -> None:
        """Keep the last runs; drop the logs of the older ones when they are large, and old strays."""
        newest = [record["run"] for record in self.newest()]
        for run in newest[KEPT_RUNS:]:
            for path in self._paths(run):
                _remove(path)
        room = KEPT_LOG_BYTES
        for run in newest[:KEPT_RUNS]:
            with contextlib.suppress(OSError):
                room -= os.path.getsize(self.log_path(run))
                if room < 0 and run != newest[0]:
                    _remove(self.log_path(run))
        self._prune_strays({path for run in newest for path in self._paths(run)})

    def _prune_strays(self, known: set[str]) -> None:
        """Of a record that was spoilt, or of a writer that was killed. A young one may be somebody's yet."""
        old = time.time() - STRAY_S
        for name in os.listdir(self.directory):
            path = os.path.join(self.directory, name)
            with contextlib.suppress(OSError):
                if path not in known and os.stat(path).st_mtime < old:
                    os.unlink(path)

    # ---- who runs, who waits

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock on current.json and queued.json: for moments, never across an exec."""
        return _flock(self._path("lock"))

    def concluding(self) -> contextlib.AbstractContextManager[None]:
        """Hold the right to write verdicts, so that a run has one, however slow its own conclude is."""
        return _flock(self._path("concluding"))

    def current(self) -> Optional[Claim]:
        """Return the run that is under way, or was the last of ours."""
        return _claim(self._path("current.json"))

    def queued(self) -> Optional[Claim]:
        """Return the run that waits, if the process that waits for it lives."""
        claim = self.queue_claim()
        return claim if claim and claim.alive else None

    def queue_claim(self) -> Optional[Claim]:
        """Return who has taken the waiting slot, alive or not."""
        return _claim(self._path("queued.json"))

    def claim_current(self, claim: Claim) -> None:
        """Say which run is under way, or that it has ended."""
        _write(self._path("current.json"), claim._asdict(), mode=0o600)

    def claim_queued(self, claim: Claim) -> None:
        """Take the one waiting slot."""
        _write(self._path("queued.json"), claim._asdict(), mode=0o600)

    def leave_queue(self) -> None:
        """Free the waiting slot."""
        _remove(self._path("queued.json"))

    # ---- paths

    def _path(self, name: str) -> str:
        return os.path.join(self.root, name)

    def _paths(self, run: str) -> tuple[str, ...]:
        return self._record_path(run), self.log_path(run), self.report_path(run)

    def _record_path(self, run: str) -> str:
        return os.path.join(self.directory, f"{run}.json")

    def _ids(self) -> list[str]:
        try:
            names = os.listdir(self.directory)
        except OSError:
            return []
        return [stem for stem, ending in map(os.path.splitext, names) if ending == ".json"]


def _asked(record: Record) -> float:
    asked = record.get("asked")
    return asked if isinstance(asked, (int, float)) else 0


@contextlib.contextmanager
def _flock(path: str) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _claim(path: str) -> Optional[Claim]:
    fields = _read(path)
    try:
        return Claim(**fields) if fields else None
    except TypeError:
        return None  # of another version; whoever wrote it, its lock is Puppet's own


def _read(path: str) -> Optional[Record]:
    try:
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
    except (OSError, ValueError):
        return None
    return fields if isinstance(fields, dict) else None


def _write(path: str, fields: Record, *, mode: int) -> None:
    """Write by rename. No fsync: /run is memory, and a crash that loses it loses the run too."""
    temporary = f"{path}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(fields, file)
        os.rename(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
