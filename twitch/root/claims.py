"""The claims of two runs: of the one under way, and of the one in the queue.

Each says which process is or becomes the Puppet of its run.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, NamedTuple, Optional

from twitch.fields import FieldError, Fields
from twitch.records import RUN_ID, Options, options_from_json
from twitch.root import files
from twitch.root.process import start_time


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
    named: bool = True  # the caller has a line with grants in [access]
    cancelled: bool = False  # the run was cancelled, so the next one need not wait for the cooldown

    @property
    def alive(self) -> bool:
        """Return whether the process still runs; another process with its pid is not it."""
        return start_time(self.pid) == self.start

    def to_json(self) -> dict[str, Any]:
        """Return the claim as its file holds it."""
        return {**self._asdict(), "options": self.options.to_json()}


def read(path: str) -> Optional[Claim]:
    """Return the claim in a file; None if there is none, or it is invalid."""
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
            cancelled=fields.optional_flag("cancelled") is True,
        )
    except (OSError, ValueError, RecursionError):
        # Missing, invalid, or of another version: if that run is alive, Puppet's own lock shows it.
        return None


class Claims:
    """The files `current.json` and `queued.json`, and the lock on both."""

    def __init__(self, directory: str) -> None:
        self._lock, self._current, self._queued = (
            os.path.join(directory, name) for name in ("lock", "current.json", "queued.json")
        )

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock on both files: for moments, never across an exec."""
        return files.locked(self._lock)

    def current(self) -> Optional[Claim]:
        """Return the claim of the run that is under way, or was the last of ours."""
        return read(self._current)

    def running(self) -> Optional[Claim]:
        """Return the claim of the run that is under way, if it is one of ours."""
        claim = self.current()
        return claim if claim and claim.alive else None

    def queue_claim(self) -> Optional[Claim]:
        """Return the claim on the place in the queue, whether its process is alive or not."""
        return read(self._queued)

    def queued(self) -> Optional[Claim]:
        """Return the claim on the place in the queue, if its process is alive."""
        claim = self.queue_claim()
        return claim if claim and claim.alive else None

    def write_current(self, claim: Claim) -> None:
        """Write the claim of the run that is under way, or has ended."""
        files.write_json(self._current, claim.to_json(), 0o600)

    def write_queued(self, claim: Claim) -> None:
        """Take the one place in the queue, from another claim if there is one."""
        files.write_json(self._queued, claim.to_json(), 0o600)

    def leave_queue(self) -> None:
        """Free the place in the queue."""
        files.remove(self._queued)

    def release(self, run: str, ended: float, *, cancelled: bool = False) -> None:
        """Put the end of a run into its claim, or free its place in the queue."""
        with self.locked():
            current, queued = self.current(), self.queue_claim()
            if current and current.run == run and current.ended is None:
                self.write_current(current._replace(ended=ended, cancelled=cancelled))
            if queued and queued.run == run:
                self.leave_queue()
