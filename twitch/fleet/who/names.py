"""Names of nodes as people write them: one by one, in files, and with ranges such as web[001-480]."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from twitch.errors import UsageError
from twitch.fleet.show.folding import unfold
from twitch.texts import one_line

# What Puppet allows in a certname, and DNS in a name. A certname is in lower case; DNS does not care.
NAME = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,253}[a-z0-9_])?")

STANDARD_INPUT = "-"


def expanded(words: Iterable[str]) -> list[str]:
    """Return the names that words stand for, in their order. Raise UsageError for what is not a name."""
    names = [name for word in words for name in unfold(word.lower())]
    for name in names:
        if not NAME.fullmatch(name):
            raise UsageError(f"{one_line(name)!r} is not the certname of a node, such as web01.example.com")
    return names


def from_file(path: str) -> list[str]:
    """Return the names in a file, or in standard input for `-`: with spaces, commas or newlines between."""
    names: list[str] = []
    for number, line in enumerate(text(path).splitlines(), 1):
        try:
            names += expanded([line.partition("#")[0]])
        except UsageError as error:
            where = "standard input" if path == STANDARD_INPUT else path
            raise UsageError(f"{where}, line {number}: {error}") from None
    return names


def lines_of(path: str) -> list[str]:
    """Return the lines of a file, or of standard input for `-`, without empty ones."""
    return [line.strip() for line in text(path).splitlines() if line.strip()]


def text(path: str) -> str:
    """Return the text of a file, or of standard input for `-`."""
    try:
        content = sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    return content.decode("utf-8-sig", "replace")  # -sig: PowerShell 5 writes a mark before the text
