"""Read a report in YAML, in pieces.

It has a Ruby tag at its top, which no safe loader accepts, and with 1,500 resources it is 2 MB: 4.4 s with
PyYAML. Every key stands at a known column, so the report is cut at the entries of its blocks, and of those
only the few that matter are parsed: 50 MB take 1 s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Optional

from twitch.root import plain_yaml, values
from twitch.root.failures import LEVELS, MAX_FAILED_NAMED, Errors, name, outside_of_changes
from twitch.root.report_content import Content

# A key of the report itself: at column 0, before its value or an indented block.
TOP_LEVEL = re.compile(rb"([a-z_]+):(?: (.*))?$", re.MULTILINE)
# Where the next entry begins: in `logs` with a dash, elsewhere with a key at column 2. Of a key of several
# lines (`  ? `) the value begins with `  : `.
LOGS, STATUSES = b"logs", b"resource_statuses"
LOGS_KEY = b"logs:"
ENTRY = re.compile(rb"^(?:[^ \n-]|  [^ \n:])", re.MULTILINE)
LOG_ENTRY = re.compile(rb"^[^ \n]", re.MULTILINE)
# An entry of `metrics` has a triple for each value: its name, its label, and the value.
METRIC = re.compile(rb"  ([a-z_]+):$", re.MULTILINE)
TRIPLE = re.compile(rb"^    - - (.+)\n      - .*\n      - (.+)$", re.MULTILINE)
# Keys of an entry of `resource_statuses`, each at column 4 with its lines.
KEY = re.compile(rb"\n(?=    [^ \n-])")
RESOURCE, EVENTS = b"    resource: ", b"    events:\n"
FAILED = (b"    failed: true", b"    failed_to_restart: true")
# The beginning of an entry of `logs` that is an error, and its source.
ERRORS = tuple(f"- level: {level}\n".encode() for level in LEVELS)
SOURCE = re.compile(rb"^  source: (.*(?:\n   .*)*)", re.MULTILINE)

PIECE_BYTES = 256 * 1024
# A resource with its events, or a message, that is larger than this is left out.
MAX_ENTRY_BYTES = 1024 * 1024


def read(file: BinaryIO, max_bytes: int) -> Optional[Content]:
    """Return the content of a report; None if its last line is not whole, or it is too large."""
    content, logs = Content(), _Logs()
    section = b""
    for entry in _entries(file, max_bytes):
        if entry is None:
            return None
        if not entry.startswith((b" ", b"-", b"\n")):
            key = TOP_LEVEL.match(entry)
            section = key[1] if key else b""
            if key:
                content.top[section.decode()] = _text(key[2] or b"").strip().strip("'\"")
        elif section == STATUSES:
            _add_status(content, entry)
        elif section == LOGS:
            logs.add(content, entry)
        elif section == b"metrics":
            _add_metric(content, entry)
    content.errors = logs.messages
    return content


def _entries(file: BinaryIO, max_bytes: int) -> Iterator[Optional[bytes]]:
    """Yield each key of the report, and each entry of its blocks, with all its lines; None at a wrong end."""
    buffer, at, begin, left_out = b"", 0, ENTRY, False
    while piece := file.read(min(PIECE_BYTES, max_bytes)):
        max_bytes -= len(piece)
        buffer, at = buffer[at:] + piece, 0
        whole = buffer.rfind(b"\n") + 1
        while found := begin.search(buffer, at + 1, whole):
            if not left_out:
                yield buffer[at : found.start()]
            at, left_out = found.start(), False
            if not buffer.startswith((b" ", b"-"), at):
                begin = LOG_ENTRY if buffer.startswith(LOGS_KEY, at) else ENTRY
        if len(buffer) - at > MAX_ENTRY_BYTES:
            at, left_out = len(buffer) - 1, True
    if not buffer.endswith(b"\n") or max_bytes <= 0:
        yield None
    elif not left_out:
        yield buffer[at:]


def _add_metric(content: Content, entry: bytes) -> None:
    metric = METRIC.match(entry)
    if metric:
        for key, value in TRIPLE.findall(entry):
            content.metric(metric[1].decode(), _text(key), _text(value))


def _add_status(content: Content, entry: bytes) -> None:
    """Add a resource if it failed. Its key can be a title of many lines, which look like any other lines."""
    if not any(line in entry for line in FAILED) or len(content.failed) == MAX_FAILED_NAMED:
        return
    if entry.startswith(b"  ? "):
        entry = entry.partition(b"\n  : ")[2]
    keys = KEY.split(entry)  # a text between two keys, each key with its lines
    if not any(line in keys for line in FAILED):
        return
    resource = next((_text(key) for key in keys if key.startswith(RESOURCE)), "")
    content.failed.append(_name(resource))
    if content.failure is None:
        events = next((_text(key) for key in keys if key.startswith(EVENTS)), "")
        content.add_events(values.mapping(plain_yaml.load(events)).get("events"))


class _LogEntry(NamedTuple):
    """An error as it stands in the report; only the one that matters is parsed."""

    text: str

    def field(self, name: str) -> Optional[str]:
        entries = plain_yaml.load(self.text)
        return values.text(values.mapping(entries[0]).get(name)) if isinstance(entries, list) else None


class _Logs:
    """The errors among the entries of `logs`."""

    def __init__(self) -> None:
        self._errors: Errors[_LogEntry] = Errors()

    def add(self, content: Content, entry: bytes) -> None:
        if not entry.startswith(ERRORS):
            return
        error = _LogEntry(_text(entry))
        # Without the marks of YAML around it, which is enough to compare it.
        written = SOURCE.search(entry)
        source = _text(written[1]).lstrip("|>-+0123456789\"' \n").rstrip("\"' \n") if written else ""
        self._errors.add(source, error)
        if outside_of_changes(source) and len(content.sources) < MAX_FAILED_NAMED:
            content.add_source(error.field("source") or source)

    @property
    def messages(self) -> tuple[Optional[str], ...]:
        return tuple(error.field("message") for error in self._errors.best)


def _name(lines: str) -> str:
    """Return the name of a resource, however Puppet has written its title."""
    found = values.text(values.mapping(plain_yaml.load(lines)).get("resource"))
    return name(found or lines.partition(":")[2])


def _text(written: bytes) -> str:
    return written.decode("utf-8", "replace")
