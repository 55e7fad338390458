"""Read a report in YAML, in pieces.

It has a Ruby tag at its top, which no safe loader accepts, and with 1,500 resources it is 2 MB: 4.4 s with
PyYAML. Every key stands at a known column, so the report is cut at the entries of its blocks, and of those
only the few that matter are parsed: 50 MB take 1 s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Optional

from twitch.resources import SKIPPED, Event
from twitch.root import plain_yaml, report_content, values
from twitch.root.error_text import LEVELS, MAX_FAILED_NAMED, Errors, outside_of_changes
from twitch.root.report_content import EVENT, FLAGS, MAX_EVENTS_READ, WARNING, Content
from twitch.root.yaml_lines import Scalars

# A key of the report itself: at column 0, before its value or an indented block.
TOP_LEVEL = re.compile(rb"([a-z_]+):(?: (.*))?$", re.MULTILINE)
# Where the next entry begins: in `logs` with a dash, elsewhere with a key at column 2. A key of several lines
# begins with `  ? `, and its value with `  : `.
LOGS, STATUSES, VERSION = b"logs", b"resource_statuses", b"configuration_version"
LOGS_KEY = b"logs:"
ENTRY = re.compile(rb"^(?:[^ \n-]|  [^ \n:])", re.MULTILINE)
LOG_ENTRY = re.compile(rb"^[^ \n]", re.MULTILINE)
# An entry of `metrics` has a triple for each value: its name, its label, and the value.
METRIC = re.compile(rb"  ([a-z_]+):$", re.MULTILINE)
TRIPLE = re.compile(rb"^    - - (.+)\n      - .*\n      - (.+)$", re.MULTILINE)
# The flags of an entry of `resource_statuses`, and its keys: each at column 4 with its lines; those of its
# events stand at column 6. A list below a key begins in the column of the key.
FLAG = re.compile(rb"^    (%s): true$" % "|".join(FLAGS).encode(), re.MULTILINE)
KEY = re.compile(rb"\n(?=    [^ \n-])")
EVENT_ENTRY, EVENT_KEY = "\n    - ", re.compile(r"\n(?=      [^ \n-])")
ITEM = re.compile(r"^    - (.*(?:\n      .*)*)", re.MULTILINE)
# The beginning of an entry of `logs` that is an error or a warning, and its source.
ERRORS = tuple(f"- level: {level}\n".encode() for level in LEVELS)
WARNED = f"- level: {WARNING}\n".encode()
SOURCE = re.compile(rb"^  source: (.*(?:\n   .*)*)", re.MULTILINE)

PIECE_BYTES = 256 * 1024
MAX_VERSION_BYTES = 4096
# A resource with its events, or a message, that is larger than this is left out.
MAX_ENTRY_BYTES = 1024 * 1024


def read(file: BinaryIO, max_bytes: int) -> Optional[Content]:
    """Return the content of a report; None if its last line is not whole, or it is too large."""
    content, logs, scalars = Content(), _Logs(), Scalars()
    section = version = b""
    for entry in _entries(file, max_bytes):
        if entry is None:
            return None
        if not entry.startswith((b" ", b"-", b"\n")):
            key = TOP_LEVEL.match(entry)
            section = key[1] if key else b""
            if key:
                content.top[section.decode()] = _text(key[2] or b"").strip().strip("'\"")
        elif section == STATUSES:
            _add_status(content, scalars, entry)
        elif section == LOGS:
            logs.add(content, scalars, entry)
        elif section == b"metrics":
            _add_metric(content, entry)
        if section == VERSION and len(version) + len(entry) < MAX_VERSION_BYTES:
            version += entry
    # A site's own script prints it, on any number of lines.
    content.top[VERSION.decode()] = scalars.read(_text(version.partition(b":")[2])) or ""
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


def _add_status(content: Content, scalars: Scalars, entry: bytes) -> None:
    """Add a resource if it is not as it should be. Its key can be a title of many lines, like any others."""
    if not FLAG.search(entry):
        return
    if entry.startswith(b"  ? "):
        entry = entry.partition(b"\n  : ")[2]
    flags = {found.decode() for found in FLAG.findall(entry)}
    outcome = report_content.outcome(flags)
    if outcome is None or (outcome == SKIPPED and not content.warned):
        return
    if outcome != SKIPPED and not content.wants(outcome):
        return
    keys = dict(_text(key).strip(" ").partition(":")[::2] for key in KEY.split(entry))
    if outcome == SKIPPED:
        path = [scalars.read(item) or "" for item in ITEM.findall(keys.get("containment_path", ""))]
        if not content.is_skipped(path) or not content.wants(outcome):
            return
    content.add(
        report_content.resource(
            scalars.read(keys.get("resource", "")),
            outcome,
            corrective=keys.get("corrective_change", "").strip() == "true",
            file=scalars.read(keys.get("file", "")),
            line=keys.get("line", "").strip(),
            events=_events(scalars, keys.get("events", "")),
        )
    )


def _events(scalars: Scalars, written: str) -> list[Event]:
    """Return the events of a resource. The values of its properties are not looked at."""
    found = []
    for text in written.split(EVENT_ENTRY)[1 : MAX_EVENTS_READ + 1]:
        keys = dict(key.strip(" ").partition(":")[::2] for key in EVENT_KEY.split(text))
        found.append(report_content.event(*(scalars.read(keys.get(name, "")) for name in EVENT)))
    return found


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

    def add(self, content: Content, scalars: Scalars, entry: bytes) -> None:
        if entry.startswith(WARNED):
            warned = SOURCE.search(entry)
            content.add_warned(scalars.read(_text(warned[1])) or "" if warned else "")
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


def _text(written: bytes) -> str:
    return written.decode("utf-8", "replace")
