"""A text of a node on one line of a screen: a node can answer 256 KiB, and the result file has all of it."""

from __future__ import annotations

from twitch.texts import one_line

# Puppet can quote a whole template in a message.
MAX_TEXT = 400
# A note can have a query of the operator in it, and what matters after that.
MAX_NOTE = 2000


def brief(text: str, room: int = MAX_TEXT) -> str:
    """Return the text on one line, with at most so many characters."""
    line = one_line(text[: room + 1])  # escaped texts are longer, never shorter
    return line if len(line) <= room else line[: max(1, room - 1)] + "…"
