"""The result file: one JSON line for the plan, each event, and the summary; written as they happen.

A file can hold several plans, one after the other, if a run was resumed into the same file.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
from pathlib import Path
from typing import Union

from twitch.errors import TwitchError
from twitch.fleet.events import Plan
from twitch.fleet.show.result_lines import Line, LineError, from_json, to_json
from twitch.fleet.show.results import Results

STANDARD_STREAM = "-"

# Errors of nodes can quote what only the operator may see.
PRIVATE = 0o600

# The part of an existing file in which the end of its last whole line is looked for; a plan of 100,000
# names of 250 characters fits.
MAX_LINE_BYTES = 32 * 1024 * 1024


class ResultError(TwitchError):
    """A result file that cannot be read or written."""


def encode(line: Line) -> bytes:
    """Return a line as the file has it."""
    return to_json(line).encode() + b"\n"


class ResultWriter:
    """Appends lines to a file; each line is in the file when `write` returns. `-` is standard output."""

    def __init__(self, path: Union[str, Path], *, private: bool = False) -> None:
        self.path = str(path)
        if self.path == STANDARD_STREAM:
            self._file, self._regular = sys.stdout.fileno(), False
            return
        mode = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        # Its name can be guessed, and a link with that name would be of somebody else. Windows has no flag.
        mode |= getattr(os, "O_NOFOLLOW", 0) if private else 0
        try:
            self._file = _open(self.path, mode | getattr(os, "O_BINARY", 0), PRIVATE if private else 0o666)
            self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)
            if self._regular:
                self._continue()
        except OSError as error:
            raise ResultError(f"{self.path} cannot be written: {error.strerror}") from None

    def write(self, line: Line) -> None:
        """Append a line; raises `ResultError` if it cannot be written, and then leaves no part of it."""
        self.append(encode(line))

    def append(self, text: bytes) -> None:
        """Append a line that is encoded already, because it goes to several files; else as `write`."""
        written = 0
        try:
            while written < len(text):
                written += os.write(self._file, text[written:])
        except OSError as error:
            if self._regular and written:
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise ResultError(f"{self.path} cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self.path != STANDARD_STREAM:
            os.close(self._file)

    def _continue(self) -> None:
        """Check that an existing file is a result, so that no other file is spoilt; remove a cut line."""
        size = os.fstat(self._file).st_size
        if not size:
            return
        try:
            cut = read(self.path).cut
        except ResultError:
            os.close(self._file)
            raise
        start = max(0, size - MAX_LINE_BYTES)
        os.lseek(self._file, start, os.SEEK_SET)
        end = _read_to_end(self._file)
        if cut:
            os.ftruncate(self._file, start + end.rfind(b"\n") + 1)
        elif not end.endswith(b"\n"):  # an editor has removed the newline
            os.write(self._file, b"\n")


def _open(path: str, flags: int, mode: int) -> int:
    try:
        return os.open(path, flags, mode)
    except OSError:
        # A pipe or a device such as /dev/stdout may allow writing only.
        return os.open(path, (flags & ~os.O_RDWR) | os.O_WRONLY, mode)


def _read_to_end(file: int) -> bytes:
    parts = []
    while part := os.read(file, 1024 * 1024):
        parts.append(part)
    return b"".join(parts)


def read(path: Union[str, Path]) -> Results:
    """Return what a result file says; raises `ResultError`. `-` is standard input.

    If the last line is cut, because the tool was killed or the disk was full, all lines before it are read,
    and `Results.cut` is true.
    """
    name = "standard input" if str(path) == STANDARD_STREAM else str(path)
    try:
        if str(path) == STANDARD_STREAM:
            lines = sys.stdin.buffer.readlines()
        else:
            with open(path, "rb") as file:
                lines = file.readlines()
    except OSError as error:
        raise ResultError(f"{name} cannot be read: {error.strerror}") from None
    return _results(lines, name)


class ResultFile:
    """A result file that is named on the command line. It is read once, so it can be standard input."""

    def __init__(self, path: str) -> None:
        self.path = path

    @functools.cached_property
    def results(self) -> Results:
        """What the file says; raises `ResultError`."""
        return read(self.path)


def _results(lines: list[bytes], name: str) -> Results:
    results = Results()
    if not lines:
        raise ResultError(f"{name} is empty: nothing was started with it")
    for number, text in enumerate(lines, 1):
        try:
            line = from_json(text)
            if number == 1 and not isinstance(line, Plan):
                raise LineError("it is not a plan")
        except LineError as error:
            if number > 1 and number == len(lines) and not text.endswith(b"\n"):
                results.cut = True
                break
            if number == 1:
                raise ResultError(
                    f"{name} is not a result of puppet-twitch-fleet (--json): line 1: {error}"
                ) from None
            raise ResultError(f"{name}: line {number} cannot be read: {error}") from None
        results.add(line)
    return results
