"""What a command prints: without control characters, and with colours on a terminal only."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from twitch import records
from twitch.node_status import DISABLED, STUCK
from twitch.texts import escape

RED, GREEN, YELLOW, DIM = "31", "32", "33", "2"

# The words that have a colour. Any other verdict or state has none.
COLOURS = {
    **{records.CHANGED: GREEN, records.UNCHANGED: GREEN, records.FAILED: RED, DISABLED: RED, STUCK: RED},
    **{records.INTERRUPTED: YELLOW, records.NOT_ATTEMPTED: YELLOW, records.BUSY: YELLOW},
}


LEVELS = {**dict.fromkeys(("emerg", "alert", "crit", "err"), RED), "warning": YELLOW}


def prepare() -> None:
    """Let the output end as that of other tools does: without a traceback, whatever reads it.

    A reader that has ended (`| head`) ends this process by SIGPIPE. A character that the locale does not have
    is printed as an escape.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # not if a test has replaced it
        if reconfigure:
            reconfigure(errors="backslashreplace")


def say(text: str, *words: Optional[str]) -> None:
    """Print a text, in which the states and verdicts `words` have their colours where they first occur."""
    text = escape(text)
    for word in words:
        text = _coloured(text, word)
    print(text)


def say_json(fields: Mapping[str, Any]) -> None:
    """Print an object on one line, as the API does."""
    print(json.dumps(fields))


def say_table(lines: Iterable[str], words: Iterable[Optional[str]]) -> None:
    """Print the lines of a table, each with the word that has a colour; on a terminal, cut to its width."""
    width = _width()
    for line, word in zip(lines, words):
        text = escape(line)
        if width and len(text) > width:
            text = text[: width - 1] + "…"
        print(_coloured(text, word))


def say_line(text: str, level: str) -> None:
    """Print a line of a log, which has no control characters; the level of an error has a colour."""
    colour = LEVELS.get(level)
    print(f"\033[{colour}m{text}\033[0m" if colour and _colours() else text, flush=True)


def hint(text: str) -> None:
    """Print a line that only a person needs, and no program."""
    if sys.stdout.isatty():
        text = escape(text)
        print(f"\033[{DIM}m{text}\033[0m" if _colours() else text)


def _coloured(text: str, word: Optional[str]) -> str:
    colour = COLOURS.get(word or "")
    if not word or not colour or not _colours():
        return text
    # A whole word: `changed` is a part of `unchanged`.
    return re.sub(rf"\b{re.escape(word)}\b", f"\033[{colour}m{word}\033[0m", text, count=1)


def _colours() -> bool:
    """Return whether the output is a terminal with colours, and nobody has asked for none (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _width() -> int:
    """Return the columns of the terminal; 0 if the output is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    except (OSError, ValueError):
        return 0
