"""The claim of a run: which process is or becomes its Puppet."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Optional

from twitch.fields import FieldError, Fields
from twitch.records import RUN_ID, Options, options_from_json
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
    named: bool = True  # the caller has a line in [access]
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
