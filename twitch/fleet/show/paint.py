"""Colours and width of a text for people: both only where the output is a terminal."""

from __future__ import annotations

import os
import shutil
from typing import NamedTuple, Optional, TextIO

from twitch.fleet.outcomes import FAILURES, UNCERTAIN, Outcome

RED, GREEN, YELLOW, DIM, BOLD = "31", "32", "33", "2", "1"

# The width of a text that is not for a terminal: a mail or the log of a CI job.
PLAIN_WIDTH = 120
MIN_WIDTH = 40


class Paint(NamedTuple):
    """How a text is made for one output."""

    colours: bool = False
    width: int = PLAIN_WIDTH

    def red(self, text: str) -> str:
        """Return the text for what needs an operator."""
        return self._coloured(text, RED)

    def yellow(self, text: str) -> str:
        """Return the text for what may need an operator."""
        return self._coloured(text, YELLOW)

    def green(self, text: str) -> str:
        """Return the text for what is good."""
        return self._coloured(text, GREEN)

    def dim(self, text: str) -> str:
        """Return the text for what can be skipped."""
        return self._coloured(text, DIM)

    def bold(self, text: str) -> str:
        """Return the text for a heading."""
        return self._coloured(text, BOLD)

    def outcome(self, outcome: Outcome, text: str) -> str:
        """Return the text in the colour of an outcome."""
        return self._coloured(text, colour_of(outcome))

    def cut(self, text: str, room: int) -> str:
        """Return the text with at most so many characters."""
        return text if len(text) <= room else text[: max(1, room - 1)] + "…"

    def _coloured(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self.colours and text and colour else text


def colour_of(outcome: Outcome) -> str:
    """Return the colour of an outcome; an empty text for none."""
    if outcome in FAILURES:
        return RED
    if outcome in UNCERTAIN or outcome in (Outcome.UNREACHABLE, Outcome.NOT_STARTED):
        return YELLOW
    if outcome is Outcome.DISABLED:
        return DIM
    return "" if outcome is Outcome.UNCHANGED else GREEN


def paint_for(stream: TextIO) -> Paint:
    """Return the colours and width for a stream: plain unless it is a terminal (no-color.org, TERM=dumb)."""
    if not stream.isatty():
        return Paint()
    colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Paint(bool(colours), max(MIN_WIDTH, columns(stream) or PLAIN_WIDTH))


def columns(stream: TextIO) -> Optional[int]:
    """Return the columns of a terminal; None if the stream is none."""
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return None
    return width or shutil.get_terminal_size().columns
