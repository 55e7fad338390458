"""A finding of `puppet-twitch check`: one sentence about the node, and how to fix what is wrong."""

from __future__ import annotations

from typing import NamedTuple

# A fault keeps a caller from being served, or allows more than the files say. A note is something that
# an operator should know, with no effect on the exit status.
GOOD, NOTE, FAULT = LEVELS = ("good", "note", "fault")


class Finding(NamedTuple):
    """One sentence, its level, and for a note or a fault the fix.

    The fix is a command for root's shell that cures as it stands (tests/e2e/test_access_check.py runs each),
    or, with `by_hand`, says in words what to edit.
    """

    level: str
    text: str
    fix: str = ""
    by_hand: bool = False
