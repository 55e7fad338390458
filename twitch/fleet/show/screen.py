"""What a run over many nodes shows of itself while it goes on."""

from __future__ import annotations

import os
import sys
from typing import Optional, Protocol

from twitch.fleet.events import NodeEvent, Plan
from twitch.fleet.show.lines import Lines
from twitch.fleet.show.results import Results


class Screen(Protocol):
    """A place where progress is shown. Nothing here raises an error, and nothing waits.

    `Results` is kept by the caller, who adds each line to it before it is shown here.
    """

    def plan(self, plan: Plan) -> None:
        """Show what was asked for, before anything is started."""

    def event(self, event: NodeEvent) -> None:
        """Show a step of a node."""

    def note(self, text: str) -> None:
        """Show one line that the operator should read, such as that PuppetDB cannot be reached."""

    def window(self, limit: int, at_once: int, reason: Optional[str]) -> None:
        """Show how many may run at once now, and why they are fewer than `at_once`."""

    def close(self, results: Results) -> None:
        """End the display, so that other text can be printed. The summary is not printed here."""


def open_screen(results: Results, *, quiet: bool = False, plain: bool = False) -> Screen:
    """Return the screen for standard error: live on a terminal that can move its cursor, else plain lines.

    With `plain`, lines even on a terminal, as is needed if the result itself is printed there. With
    `quiet`, only notes.
    """
    if not (quiet or plain) and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        from twitch.fleet.show.live import Live

        return Live(results, Console(stderr=True, highlight=False, soft_wrap=False))
    return Lines(results, sys.stderr, quiet=quiet)
