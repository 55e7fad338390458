"""Progress as plain lines, for logs of CI, cron and terminals that cannot move their cursor."""

from __future__ import annotations

import time
from typing import Optional, TextIO

from twitch.fleet.events import ENDED, NodeEvent, Plan
from twitch.fleet.outcomes import GOOD, Outcome
from twitch.fleet.show.results import Results
from twitch.texts import one_line

# How often the numbers are printed, if nothing else is.
PROGRESS_S = 10


class Lines:
    """Prints a line for each run that is not unchanged, and every few seconds how far the whole is."""

    def __init__(self, results: Results, stream: TextIO, *, quiet: bool = False) -> None:
        self._results = results
        self._stream = stream
        self._quiet = quiet
        self._printed = time.monotonic()
        self._window: Optional[str] = None

    def plan(self, plan: Plan) -> None:
        """Print how many nodes are asked for what."""
        if not self._quiet:
            self._print(f"{len(plan.nodes)} nodes, {plan.at_once} runs at once")

    def event(self, event: NodeEvent) -> None:
        """Print the end of a run that is not unchanged, and the numbers every few seconds."""
        if self._quiet:
            return
        if event.event == ENDED and event.outcome not in (None, Outcome.UNCHANGED):
            error = f": {event.error}" if event.error and event.outcome not in GOOD else ""
            self._print(f"{event.node} {event.outcome.value if event.outcome else ''}{error}")
        elif time.monotonic() - self._printed >= PROGRESS_S:
            results = self._results
            self._print(f"{results.finished} of {len(results.nodes)} done, {len(results.running)} running")

    def note(self, text: str) -> None:
        """Print a note, also with --quiet."""
        self._print(text)

    def window(self, limit: int, at_once: int, reason: Optional[str]) -> None:
        """Print why fewer runs are started at once, when the reason changes."""
        if reason != self._window and not self._quiet:
            self._print(f"{limit} of {at_once} at once: {reason}" if reason else f"{limit} at once again")
        self._window = reason

    def close(self, results: Results) -> None:
        """Print nothing more."""

    def _print(self, text: str) -> None:
        self._printed = time.monotonic()
        print(one_line(text), file=self._stream, flush=True)
