"""Where the lines of a run go: the result files, what is known of every node, and the screen."""

from __future__ import annotations

import contextlib
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Callable, Optional

from twitch.fleet.events import NodeEvent, Plan, Summary
from twitch.fleet.show import recent
from twitch.fleet.show.brief import MAX_NOTE, brief
from twitch.fleet.show.result_file import STANDARD_STREAM, ResultError, ResultWriter, encode
from twitch.fleet.show.result_lines import Line
from twitch.fleet.show.results import Results
from twitch.fleet.show.screen import Screen, open_screen


class Outputs:
    """Writes each line to the result files, and shows it."""

    def __init__(self, options: Namespace) -> None:
        """Only notes are shown until `start`."""
        self.results = Results()
        self.broken: Callable[[str], None] = lambda why: None  # called when a line cannot be written
        self.file: Optional[str] = None  # to go on with
        self._options = options
        self._writers: list[ResultWriter] = []
        self._screen: Optional[Screen] = None

    def start(self, plan: Plan, note: Optional[str]) -> None:
        """Write the plan, also to a file in the state directory, and begin to show progress.

        Raises `ResultError` if the file of --json cannot be written, or if there would be none at all.
        """
        self.results.add(plan)
        if self._options.json is not None:
            self._begin(ResultWriter(self._options.json), plan)
        try:
            self._begin(ResultWriter(recent.new_path(), private=True), plan)
        except (OSError, ResultError) as error:
            if not self._writers:
                raise ResultError(f"{error}; name another place for the result with --json FILE") from None
            self.note(f"The result is in the file of --json only: {error}")
        plain = self._options.json == STANDARD_STREAM and sys.stdout.isatty()
        self._screen = open_screen(self.results, quiet=self._options.quiet, plain=plain)
        with _or_nobody_reads():
            self._screen.plan(plan)
        if note is not None:
            self.note(note)

    def event(self, event: NodeEvent) -> None:
        """Write and show a step of a node."""
        self._write(event)
        if self._screen is not None:
            with _or_nobody_reads():
                self._screen.event(event)

    def summary(self, summary: Summary) -> None:
        """Write the last line, and end the display."""
        self._write(summary)
        self.pause()
        self._screen = None
        for writer in self._writers:
            writer.close()

    def note(self, text: str) -> None:
        """Show a line that the operator should read. Raise OSError if that fails before the start."""
        if self.results.plan is None:
            print(brief(text, MAX_NOTE), file=sys.stderr)
            return
        with _or_nobody_reads():
            if self._screen is not None:
                self._screen.note(text)
            else:
                print(brief(text, MAX_NOTE), file=sys.stderr)

    def window(self, limit: int, at_once: int, reason: Optional[str]) -> None:
        """Show how many may run at once now."""
        if self._screen is not None:
            with _or_nobody_reads():
                self._screen.window(limit, at_once, reason)

    def pause(self) -> None:
        """Remove what is drawn, until the next line, so that a question can be asked."""
        if self._screen is not None:
            with _or_nobody_reads():
                self._screen.close(self.results)

    def _begin(self, writer: ResultWriter, plan: Plan) -> None:
        writer.write(plan)
        self._writers.append(writer)
        if self.file is None and writer.path != STANDARD_STREAM:
            self.file = writer.path

    def _write(self, line: Line) -> None:
        self.results.add(line)
        text = encode(line)
        for writer in tuple(self._writers):
            try:
                writer.append(text)
            except ResultError as error:
                # What cannot be taken down must not be started: nobody could go on with it.
                self._writers.remove(writer)
                self.note(str(error))
                self.broken(str(error))


@contextlib.contextmanager
def _or_nobody_reads() -> Iterator[None]:
    """Go on if standard error has lost its reader, as with `2>&1 | head`: runs have been started by now."""
    try:
        yield
    except OSError:
        # What is still in Python's buffer goes there, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
