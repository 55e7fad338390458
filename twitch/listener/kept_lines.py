"""The last lines of a log, in memory, for all its followers."""

from __future__ import annotations

from collections import deque

from twitch.log_lines import Line

# What is kept of a log in memory: the lines of most runs, all of them. It has to be more than a packet.
KEPT_LINES = 2000
KEPT_BYTES = 256 * 1024


class Shown:
    """A line of a log, and its text and its JSON, which are made once for all followers."""

    __slots__ = ("_json", "_text", "line")

    def __init__(self, line: Line) -> None:
        self.line = line
        self._text = b""
        self._json = b""

    def text(self) -> bytes:
        """Return the line as text."""
        self._text = self._text or (self.line.text() + "\n").encode("utf-8", "replace")
        return self._text

    def json(self) -> bytes:
        """Return the line as JSON."""
        self._json = self._json or (self.line.json() + "\n").encode("ascii")
        return self._json


class KeptLines:
    """The last lines that a source has read. `number` counts all of them: it is the position of the last one,
    but of a source that begins at the end of the log (`tail`)."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._lines: deque[Shown] = deque()
        self._bytes = 0

    @property
    def first(self) -> int:
        """The position before the first line in memory."""
        return self.number - len(self._lines)

    def after(self, number: int, at_most: int) -> list[Shown]:
        """Return lines in memory after this position, of so many bytes or one line more."""
        found, size = [], 0
        for index in range(number - self.first, len(self._lines)):
            shown = self._lines[index]
            found.append(shown)
            size += _size(shown)
            if size >= at_most:
                break
        return found

    def keep(self, shown: Shown) -> None:
        """Append a line, and forget the first ones beyond the limits."""
        self.number += 1
        self._lines.append(shown)
        self._bytes += _size(shown)
        while len(self._lines) > KEPT_LINES or self._bytes > KEPT_BYTES:
            self._bytes -= _size(self._lines.popleft())


def _size(shown: Shown) -> int:
    return len(shown.line.message) + len(shown.line.source)
