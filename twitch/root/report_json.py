"""Read a report in JSON, value by value.

A site has such reports with `report: {cache: json}` in routes.yaml, although the file is still called
last_run_report.yaml. One of 50 MB as Python's objects would be several hundred.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Optional

from twitch.resources import SKIPPED
from twitch.root import report_content, values
from twitch.root.error_text import LEVELS, MAX_FAILED_NAMED, Errors, outside_of_changes
from twitch.root.report_content import EVENT, FLAGS, MAX_EVENTS_READ, WARNING, Content

CHUNK_BYTES = 256 * 1024
# One resource with its events, or one message of the log. As Python's objects up to 120 MB: `[[],[],…`.
MAX_VALUE_BYTES = 2 * 1024 * 1024

BLANK = re.compile(r"[ \t\r\n]*")


def read(file: BinaryIO, max_bytes: int) -> Optional[Content]:
    """Return the content of a report; None if it is not whole."""
    document, content = _Document(file, max_bytes), Content()
    try:
        for key in document.members():
            if key == "resource_statuses":
                for _ in document.members():
                    _add_status(content, document.value())
            elif key == "logs":
                _add_logs(content, document)
            elif key == "metrics":
                _add_metrics(content, document.value())
            else:
                value = document.value()
                content.top[key] = str(value).lower() if isinstance(value, bool) else values.text(value) or ""
    except (ValueError, RecursionError):
        return None
    return content


class _Document:
    """A JSON document of which one value at a time is in memory. Its methods raise `ValueError`.

    Bytes are held as the characters 0 to 255 (Latin-1), because the end of what has been read can lie within
    a character of UTF-8; values are decoded on their way out.
    """

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file, self._left = file, max_bytes
        self._text, self._at = "", 0
        self._decoder = json.JSONDecoder(parse_int=values.whole_number)

    def members(self) -> Iterator[str]:
        """Yield the keys of an object; the caller takes the value after each."""
        for _ in self._items("{", "}"):
            key = self.value()
            if not isinstance(key, str) or self._next() != ":":
                raise ValueError("not a member of an object")
            self._at += 1
            yield key

    def elements(self) -> Iterator[object]:
        """Yield the elements of a list."""
        for _ in self._items("[", "]"):
            yield self.value()

    def _items(self, begin: str, end: str) -> Iterator[None]:
        if self._next() != begin:
            raise ValueError(f"no {begin}")
        self._at += 1
        if self._next() == end:
            self._at += 1
            return
        while True:
            yield
            mark = self._next()
            self._at += 1
            if mark == end:
                return
            if mark != ",":
                raise ValueError(f"neither , nor {end}")

    def value(self) -> object:
        """Return the next value."""
        self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            # A number goes on as long as there are digits.
            if end < len(self._text) or not self._more():
                break
        written, self._at = self._text[self._at : end], end
        if written.isascii():
            return value
        return self._decoder.decode(written.encode("latin-1").decode("utf-8", "replace"))

    def _next(self) -> str:
        """Return the next character that is not blank, without taking it; raises `ValueError` at the end."""
        while True:
            self._at = BLANK.match(self._text, self._at).end()  # type: ignore[union-attr]  # matches anything
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                raise ValueError("the end")

    def _more(self) -> bool:
        """Read on; return whether there was more."""
        rest = self._text[self._at :]
        room = MAX_VALUE_BYTES - len(rest)
        if room <= 0:
            raise ValueError("a value that is too large")
        # At least as much again as there is: a large value is tried a few times only.
        chunk = self._file.read(min(max(CHUNK_BYTES, len(rest)), room, self._left))
        self._left -= len(chunk)
        self._text, self._at = rest + chunk.decode("latin-1"), 0
        return bool(chunk)


def _add_status(content: Content, value: object) -> None:
    status = values.mapping(value)
    outcome = report_content.outcome([flag for flag in FLAGS if status.get(flag) is True])
    if outcome is None or (outcome == SKIPPED and not _is_skipped(content, status)):
        return
    if not content.wants(outcome):
        return
    events = map(values.mapping, values.sequence(status.get("events"))[:MAX_EVENTS_READ])
    content.add(
        report_content.resource(
            values.text(status.get("resource")),
            outcome,
            corrective=status.get("corrective_change") is True,
            file=values.text(status.get("file")),
            line=status.get("line"),
            # The values of its properties are not looked at.
            events=[
                report_content.event(*(values.text(fields.get(name)) for name in EVENT)) for fields in events
            ],
        )
    )


def _is_skipped(content: Content, status: Mapping[str, object]) -> bool:
    path = values.sequence(status.get("containment_path"))
    return content.is_skipped([values.text(part) or "" for part in path])


def _add_logs(content: Content, document: _Document) -> None:
    errors: Errors[str] = Errors()
    for element in document.elements():
        entry = values.mapping(element)
        source = values.text(entry.get("source")) or ""
        if entry.get("level") == WARNING:
            content.add_warned(source)
        if entry.get("level") in LEVELS:
            errors.add(source, values.text(entry.get("message")) or "")
            if outside_of_changes(source) and len(content.sources) < MAX_FAILED_NAMED:
                content.add_source(source)
    content.errors = errors.best


def _add_metrics(content: Content, value: object) -> None:
    for metric, fields in values.mapping(value).items():
        triples = values.mapping(fields).get("values")
        for triple in triples if isinstance(triples, list) else []:
            if isinstance(triple, list) and len(triple) == 3 and isinstance(triple[0], str):
                content.metric(metric, triple[0], triple[2])
