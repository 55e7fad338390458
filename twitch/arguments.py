"""The options of a command that a person types; an invalid one is an error of one line and exit status 64."""

from __future__ import annotations

import argparse
from typing import NoReturn

from twitch.errors import UsageError
from twitch.texts import one_line


class Parser(argparse.ArgumentParser):
    """The parser of one command. An abbreviated option is an error: a later one could change its meaning."""

    program = "puppet-twitch"

    def __init__(self, command: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"{self.program} {command}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with the text and where to find help."""
        raise UsageError(one_line(f"{message}; see {self.prog} --help"))
