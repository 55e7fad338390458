"""Names of nodes as people write them: singly, in files, and with ranges such as web[001-480].example.com."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from twitch.errors import UsageError
from twitch.texts import one_line

# What Puppet allows in a certname, and DNS in a name. A certname is in lower case; DNS does not care.
NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,253}[a-z0-9_])?")
RANGE = re.compile(r"\[([0-9,-]+)\]")

MAX_NODES = 1_000_000  # of one range: an error in typing must not fill the memory

MAX_DIGITS = 64  # a label of DNS has 63 characters

STANDARD_INPUT = "-"


def expanded(words: Iterable[str]) -> list[str]:
    """Return the names that words stand for, in their order. Raise UsageError for what is not a name.

    A word can be several names with commas between, as `show` prints them.
    """
    return [name for word in words for part in _separate(word) for name in _names(part)]


def from_file(path: str) -> list[str]:
    """Return the names in a file, or in standard input for `-`: with spaces, commas or newlines between."""
    where = "standard input" if path == STANDARD_INPUT else path
    return expanded(_words(text(path), where))


def lines_of(path: str) -> list[str]:
    """Return the lines of a file, or of standard input for `-`, without empty ones."""
    return [line.strip() for line in text(path).splitlines() if line.strip()]


def text(path: str) -> str:
    """Return the text of a file, or of standard input for `-`."""
    try:
        content = sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: NUL in the path
        raise UsageError(f"{one_line(path)}: {getattr(error, 'strerror', error)}") from None
    # PowerShell 5 writes UTF-16 with `>`, and a mark before UTF-8 with Set-Content.
    utf_16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if utf_16 else "utf-8-sig", "replace")


def _words(content: str, where: str) -> Iterator[str]:
    for number, line in enumerate(content.splitlines(), 1):
        for word in _separate(line.partition("#")[0]):
            try:
                expanded([word])
            except UsageError as error:
                raise UsageError(f"{where}, line {number}: {error}") from None
            yield word


def _separate(text: str) -> list[str]:
    """Return what stands between spaces, and between commas outside of brackets."""
    return re.sub(r",(?![^\[]*\])", " ", text).split()


def _names(word: str) -> Iterator[str]:
    prefixes = [""]
    for index, part in enumerate(RANGE.split(word.lower())):
        values = list(_numbers(part, word)) if index % 2 else [part]
        if len(prefixes) * len(values) > MAX_NODES:
            raise UsageError(f"{one_line(word)}: more than {MAX_NODES:,} names")
        prefixes = [prefix + value for prefix in prefixes for value in values]
    for name in prefixes:
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{one_line(word)!r} is not the name of a node (its certname), such as web01.example.com"
            )
        yield name


def _numbers(part: str, word: str) -> Iterator[str]:
    """Yield the numbers of 001-480,500, with the leading zeros of the first of each range."""
    for item in part.split(","):
        first, dash, last = item.partition("-")
        if max(len(first), len(last)) > MAX_DIGITS:
            raise UsageError(f"{one_line(word[:80])}…: a number with more than {MAX_DIGITS} digits")
        if not first.isdigit() or (dash and (not last.isdigit() or int(last) < int(first))):
            raise UsageError(f"{one_line(word)}: a range is such as [001-480] or [1,3,5-8]")
        if dash and int(last) - int(first) >= MAX_NODES:
            raise UsageError(f"{one_line(word)}: more than {MAX_NODES:,} names")
        for number in range(int(first), int(last or first) + 1):
            yield str(number).zfill(len(first))
