"""Progress on a terminal: a few lines that are drawn anew, below the failures, which stay.

Everything is drawn in the loop's own thread, because `Results` changes there. Texts of nodes are rich's
`Text`, which has no markup, without control characters.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import Optional

from rich.console import Console, Group
from rich.live import Live as Area
from rich.text import Text

from twitch import durations
from twitch.fleet.events import ENDED, PROVEN, NodeEvent, Plan
from twitch.fleet.outcomes import FAILURES, UNCERTAIN, Outcome
from twitch.fleet.show import digest
from twitch.fleet.show.causes import line_of
from twitch.fleet.show.results import Results
from twitch.texts import one_line

# Seconds between two updates: the limit is ten a second, and nobody reads faster than five.
UPDATE_S = 0.2
# Seconds between two updates if nothing happens: the clocks go on.
TICK_S = 1.0

# Lines of the area for the runs that take longest, and for the latest failures.
MAX_LONGEST, MAX_FAILURES = 4, 4
# Lines above the area; what more fails is in the summary. A terminal keeps about a thousand lines.
MAX_ABOVE = 200
# Below so many ends, an estimate is a guess.
MIN_FOR_ESTIMATE = 10

STYLES = {
    **dict.fromkeys(FAILURES, "red"),
    **dict.fromkeys(UNCERTAIN, "yellow"),
    Outcome.UNREACHABLE: "yellow",
    Outcome.NOT_STARTED: "yellow",
    Outcome.DISABLED: "dim",
    Outcome.CHANGED: "green",
    Outcome.PENDING: "cyan",
}


class Live:
    """Draws what is known, at most five times a second, and leaves the terminal clean."""

    def __init__(self, results: Results, console: Console) -> None:
        self._results = results
        self._console = console
        self._area: Optional[Area] = None
        self._drawn = 0.0
        self._tick: Optional[asyncio.TimerHandle] = None
        self._window: Optional[tuple[int, int, Optional[str]]] = None
        self._failures: deque[Text] = deque(maxlen=MAX_FAILURES)
        self._above = 0

    def plan(self, plan: Plan) -> None:
        """Begin to draw."""
        self._draw(now=True)

    def event(self, event: NodeEvent) -> None:
        """Draw anew, and put a failure above the area, where it stays."""
        node = self._results.nodes.get(event.node)
        if event.event in (ENDED, PROVEN) and event.outcome is not None and node is not None:
            bad = event.outcome in UNCERTAIN or event.outcome is Outcome.UNREACHABLE
            if (event.outcome in FAILURES and node.new is not False and event.event == ENDED) or bad:
                self._failed(event, event.outcome, line_of(node) if node.error else None)
        self._draw()

    def note(self, text: str) -> None:
        """Put a line above the area."""
        self._console.print(_line(text, "yellow"))

    def window(self, limit: int, at_once: int, reason: Optional[str]) -> None:
        """Remember how many may run at once, and why."""
        self._window = (limit, at_once, reason)
        self._draw()

    def close(self, results: Results) -> None:
        """Remove the area, so that other text can be printed."""
        if self._tick:
            self._tick.cancel()
            self._tick = None
        if self._area:
            self._area.stop()
            self._area = None

    def _failed(self, event: NodeEvent, outcome: Outcome, error: Optional[str]) -> None:
        text = _line(f"{event.node} {outcome.value}{f': {error}' if error else ''}", STYLES[outcome])
        self._failures.append(text)
        self._above += 1
        if self._above <= MAX_ABOVE:
            self._console.print(text)
        elif self._above == MAX_ABOVE + 1:
            self._console.print(_line("what more fails is in the summary at the end", "dim"))

    # ---- the area

    def _draw(self, *, now: bool = False) -> None:
        if not now and time.monotonic() - self._drawn < UPDATE_S:
            return
        self._drawn = time.monotonic()
        if self._area is None:
            self._area = Area(console=self._console, auto_refresh=False, transient=True)
            self._area.start()
        self._area.update(self.view(time.time()), refresh=True)
        if self._tick:
            self._tick.cancel()
        with contextlib.suppress(RuntimeError):  # no loop: a caller without asyncio draws with events only
            self._tick = asyncio.get_running_loop().call_later(TICK_S, self._draw)

    def view(self, now: float) -> Group:
        """Return the lines of the area, at most as many as the terminal has."""
        lines = [self._headline(), self._bar(now), self._counts(), self._running()]
        longest = [] if self._console.height < 12 else self._longest(now)
        lines += longest
        room = self._console.height - 2 - len(lines)
        if self._above > MAX_ABOVE and room > 1:  # those above have scrolled away
            lines += list(self._failures)[-(room - 1) :]
        return Group(*lines[: max(1, self._console.height - 1)])

    def _headline(self) -> Text:
        results = self._results
        label = f"{results.plan.ask.label}: " if results.plan and results.plan.ask.label else ""
        what = digest.asked(results)
        line = _line(f"{label}{what}, {results.finished:,} of {len(results.nodes):,} nodes", "bold")
        failed = results.failed_new if results.compared else results.failed
        if failed:
            line.append(f", {failed:,} {'newly failed' if results.compared else 'failed'}", style="bold red")
        return line

    def _bar(self, now: float) -> Text:
        results = self._results
        total = max(1, len(results.nodes))
        elapsed_s = 0.0 if results.began is None else max(0.0, now - results.began)
        times = durations.shown(elapsed_s)
        if MIN_FOR_ESTIMATE <= results.finished < total:
            left_s = elapsed_s / results.finished * (total - results.finished)
            times += f", about {durations.shown(left_s)} left"
        width = max(4, min(60, self._console.width - len(times) - 3))
        done = width * results.finished // total
        line = _line("")
        line.append("━" * done if self._unicode else "#" * done, style="green")
        line.append("━" * (width - done) if self._unicode else "-" * (width - done), style="bright_black")
        line.append(f"  {times}")
        return line

    @property
    def _unicode(self) -> bool:
        return self._console.encoding.lower().startswith("utf")

    def _counts(self) -> Text:
        line = _line("")
        for counted in digest.counted(self._results):
            if counted.outcome is None and counted.word != "fixed":
                continue  # nodes without an outcome are still to come
            if line.plain:
                line.append("  ")
            style = STYLES.get(counted.outcome, "") if counted.outcome else ""
            line.append(f"{counted.number:,} {counted.word}", style=style)
            if counted.outcome is Outcome.FAILED and counted.note:
                line.append(f" ({counted.note})")
        return line

    def _running(self) -> Text:
        line = _line(f"{len(self._results.running):,} running")
        if self._window:
            limit, at_once, reason = self._window
            if reason:
                arrow = "→" if self._unicode else "->"
                line.append(f", {at_once} {arrow} {limit} at once: {one_line(reason)}", style="yellow")
            else:
                line.append(f", {limit} at once")
        return line

    def _longest(self, now: float) -> list[Text]:
        lines: list[Text] = []
        for node in self._results.running.values():
            if len(lines) == MAX_LONGEST:
                break
            age = durations.shown(0.0 if node.started is None else max(0.0, now - node.started))
            lines.append(_line(f"  {age:>7}  {node.name}", "dim"))
        return lines


def _line(text: str, style: str = "") -> Text:
    """Return one line that is cut at the width of the terminal."""
    return Text(one_line(text), style=style, no_wrap=True, overflow="ellipsis")
