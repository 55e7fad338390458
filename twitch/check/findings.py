"""A finding of `puppet-twitch check`: one sentence about the node, and how to fix what is wrong."""

from __future__ import annotations

from typing import NamedTuple

# A fault keeps a caller from being served, or allows more than the files say. A note is something that
# an operator should know, with no effect on the exit status.
GOOD, NOTE, FAULT = "good", "note", "fault"


class Finding(NamedTuple):
    """One sentence, its level, and for a note or a fault the fix: a command or an edit."""

    level: str
    text: str
    fix: str = ""
