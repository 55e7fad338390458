"""Progress as plain lines, for logs of CI, cron and terminals that cannot move their cursor."""

from __future__ import annotations

import time
from typing import Optional, TextIO

from twitch import durations
from twitch.fleet.events import ENDED, PROVEN, NodeEvent, Plan
from twitch.fleet.outcomes import GOOD, Outcome
from twitch.fleet.show import digest
from twitch.fleet.show.brief import MAX_NOTE, brief
from twitch.fleet.show.causes import line_of
from twitch.fleet.show.paint import paint_for
from twitch.fleet.show.results import NodeResult, Results
from twitch.texts import one_line

# How often the numbers are printed while nothing else is.
PROGRESS_S = 10

# Ends without a line of their own: of a run that is stopped early, thousands are not started.
QUIET = frozenset({None, Outcome.UNCHANGED, Outcome.NOT_STARTED})


class Lines:
    """Prints a line for each run that is not unchanged, and every few seconds how far the whole is."""

    def __init__(self, results: Results, stream: TextIO, *, quiet: bool = False) -> None:
        self._results = results
        self._stream = stream
        self._paint = paint_for(stream)
        self._quiet = quiet
        self._progress = time.monotonic()
        self._reason: Optional[str] = None

    def plan(self, plan: Plan) -> None:
        """Print what is asked of how many nodes."""
        label = f"{plan.ask.label}: " if plan.ask.label else ""
        nodes = digest.number_of(len(plan.nodes), "node")
        self._print(f"{label}{digest.asked(self._results)} on {nodes}, {plan.at_once:,} at once")

    def event(self, event: NodeEvent) -> None:
        """Print the end of a run that is not unchanged, and the numbers every few seconds."""
        node = self._results.nodes.get(event.node)
        unproven = event.event == PROVEN and event.outcome is Outcome.UNPROVEN
        if (event.event == ENDED or unproven) and event.outcome not in QUIET and node:
            self._ended(node)
        if time.monotonic() - self._progress >= PROGRESS_S:
            self._progress = time.monotonic()
            results = self._results
            self._print(
                f"{results.finished:,} of {len(results.nodes):,} done, {len(results.running):,} running, "
                f"{digest.elapsed(results)}"
            )

    def note(self, text: str) -> None:
        """Print a note, also with --quiet."""
        print(brief(text, MAX_NOTE), file=self._stream, flush=True)

    def window(self, limit: int, at_once: int, reason: Optional[str]) -> None:
        """Print why fewer or more runs are started at once, when the reason changes."""
        if reason != self._reason:
            self._print(
                f"{limit:,} of {at_once:,} at once: {reason}" if reason else f"{limit:,} at once again"
            )
        self._reason = reason

    def close(self, results: Results) -> None:
        """Print nothing more."""

    def _ended(self, node: NodeResult) -> None:
        outcome = node.outcome or Outcome.UNCHANGED
        new = {True: " (new)", False: " (as before)", None: ""}[node.new]
        took = f" in {durations.shown(node.duration_s)}" if node.duration_s is not None else ""
        why = f": {line_of(node)}" if node.error and outcome not in GOOD else ""
        word = self._paint.outcome(outcome, outcome.value)
        if not self._quiet:
            print(
                f"{one_line(node.name)} {word}{one_line(f'{new}{took}{why}')}", file=self._stream, flush=True
            )

    def _print(self, text: str) -> None:
        if not self._quiet:
            print(one_line(text), file=self._stream, flush=True)
