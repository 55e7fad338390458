"""What a command says beside its result: lines on standard error."""

from __future__ import annotations

import sys

from twitch.texts import escape


def say(text: str) -> None:
    """Print a line on standard error, after the name of the program."""
    print(f"puppet-twitch-fleet: {escape(text)}", file=sys.stderr)
