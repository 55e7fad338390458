"""Where the lines of a run go: the result files, what is known of every node, and the screen."""

from __future__ import annotations

import sys
from typing import Callable, Optional

from twitch.fleet.events import NodeEvent, Plan, Summary
from twitch.fleet.show import recent
from twitch.fleet.show.result_file import ResultError, ResultWriter
from twitch.fleet.show.result_lines import Line
from twitch.fleet.show.results import Results
from twitch.fleet.show.screen import Screen, open_screen


class Outputs:
    """Writes each line to all result files, and shows it."""

    def __init__(self, json: Optional[str], *, quiet: bool) -> None:
        """Write to a file of the state directory, and to `json` (--json) if it is there.

        Raises `ResultError` if `json` cannot be written.
        """
        self.results = Results()
        self.broken: Callable[[str], None] = lambda why: None  # called when a line cannot be written
        self._quiet = quiet
        self._writers = [ResultWriter(json)] if json else []
        self.file: Optional[str] = json if json != "-" else None  # to go on with
        self._screen: Optional[Screen] = None
        self._open_default_file()

    def _open_default_file(self) -> None:
        try:
            writer = ResultWriter(recent.new_path(), private=True)
        except (OSError, ResultError) as error:
            self.note(f"There is no result file but that of --json: {error}")
            return
        self._writers.append(writer)
        self.file = self.file or writer.path

    def plan(self, plan: Plan) -> None:
        """Write the first line, and begin to show progress."""
        self._write(plan)
        self.show()
        assert self._screen is not None, "shown"
        self._screen.plan(plan)

    def event(self, event: NodeEvent) -> None:
        """Write and show a step of a node."""
        self._write(event)
        if self._screen is not None:
            self._screen.event(event)

    def summary(self, summary: Summary) -> None:
        """Write the last line, and end the display."""
        self._write(summary)
        self.hide()
        for writer in self._writers:
            writer.close()

    def note(self, text: str) -> None:
        """Show a line that the operator should read."""
        if self._screen is not None:
            self._screen.note(text)
        else:
            print(text, file=sys.stderr)

    def window(self, limit: int, at_once: int, reason: Optional[str]) -> None:
        """Show how many may run at once now."""
        if self._screen is not None:
            self._screen.window(limit, at_once, reason)

    def show(self) -> None:
        """Begin to show progress, or go on."""
        self._screen = open_screen(self.results, quiet=self._quiet)

    def hide(self) -> None:
        """End the display, so that a question can be asked."""
        if self._screen is not None:
            self._screen.close(self.results)
            self._screen = None

    def _write(self, line: Line) -> None:
        self.results.add(line)
        for writer in tuple(self._writers):
            try:
                writer.write(line)
            except ResultError as error:
                # What cannot be taken down must not be started: it could not be resumed.
                self._writers.remove(writer)
                self.note(str(error))
                self.broken(str(error))
