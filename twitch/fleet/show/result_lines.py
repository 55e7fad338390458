"""A line of a result file as JSON, and back. The fields and their types are those of events.py.

A field that is None is left out, and so are `changes` and `canary` where there are none. A field that this
version does not know is ignored, because fields are added without a new version of the format.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from twitch.errors import TwitchError
from twitch.fleet.events import VERSION, NodeEvent, Plan, Summary

Line = Union[Plan, NodeEvent, Summary]
Json = Any  # a value of JSON, or of events.py

KINDS: dict[str, type[Any]] = {"plan": Plan, "node": NodeEvent, "summary": Summary}
NAMES = {kind: name for name, kind in KINDS.items()}

# Times in seconds and counts are smaller; NaN and infinities, which Python's JSON takes, are not.
MAX_NUMBER = 1e12

# Most nodes have no changes and are no canaries.
LEFT_OUT = {"changes": (), "canary": False}


class LineError(TwitchError):
    """A line that is not one of a result file; the text says what is wrong, but not in which file."""


def to_json(line: Line) -> str:
    """Return the line as JSON, in ASCII and without a newline."""
    return json.dumps({"line": NAMES[type(line)], **_fields(line)}, separators=(",", ":"))


def from_json(text: Union[str, bytes]) -> Line:
    """Return the plan, event or summary that a line holds; raises `LineError` if it holds none."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise LineError("it is not JSON") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("line"), str):
        raise LineError("it has no 'line' (plan, node or summary)")
    kind = KINDS.get(fields["line"])
    if kind is None:
        raise LineError(f"its 'line' is {fields['line'][:20]!r}, and neither plan, node nor summary")
    version = fields.get("version")
    if kind is Plan and version != VERSION:
        raise LineError(f"it has version {version!r} of the format, and this program reads version {VERSION}")
    line: Line = _READERS[kind](fields, kind.__name__)
    return line


def _fields(line: Json) -> dict[str, Any]:
    return {
        name: _plain(value)
        for name, value in zip(line._fields, line)
        if value is not None and value is not LEFT_OUT.get(name)
    }


def _plain(value: Json) -> Json:
    """Return a value as JSON knows it; times and durations are cut to milliseconds."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {_plain(key): _plain(content) for key, content in value.items()}
    if isinstance(value, tuple):
        return _fields(value) if hasattr(value, "_fields") else [_plain(content) for content in value]
    return value


# ---- reading: a function for each type of events.py, made once from its annotations

Reader = Callable[[Json, str], Json]


def _reader(kind: Json) -> Reader:
    """Return the function that checks a value of JSON and returns it as this type."""
    origin: Json = get_origin(kind)
    arguments = get_args(kind)
    if origin is Union:
        (content,) = (argument for argument in arguments if argument is not type(None))
        return _optional(_reader(content))
    if origin is tuple:
        return _list(_reader(arguments[0]))
    if origin is dict:
        return _mapping(_reader(arguments[0]), _reader(arguments[1]))
    if issubclass(kind, Enum):
        return _word(kind)
    if hasattr(kind, "_fields"):
        return _object(kind)
    return _scalar(kind)


def _optional(content: Reader) -> Reader:
    return lambda value, name: None if value is None else content(value, name)


def _list(content: Reader) -> Reader:
    def read(value: Json, name: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise LineError(f"its '{name}' is not a list")
        return tuple(content(one, name) for one in value)

    return read


def _mapping(key: Reader, content: Reader) -> Reader:
    def read(value: Json, name: str) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise LineError(f"its '{name}' is not an object")
        return {key(word, name): content(one, name) for word, one in value.items()}

    return read


def _word(kind: type[Enum]) -> Reader:
    words = {member.value: member for member in kind}

    def read(value: Json, name: str) -> Enum:
        member = words.get(value) if isinstance(value, str) else None
        if member is None:
            raise LineError(f"its '{name}' is none of {', '.join(words)}")
        return member

    return read


def _object(kind: Json) -> Reader:
    hints = get_type_hints(kind)
    readers = {name: _reader(hints[name]) for name in kind._fields}
    # A field that may be None is left out when it is, also if events.py has no default for it.
    optional = {name: None for name in kind._fields if type(None) in get_args(hints[name])}
    absent = {**optional, **kind._field_defaults}
    required = [name for name in kind._fields if name not in absent]

    def read(value: Json, name: str) -> Json:
        if not isinstance(value, dict):
            raise LineError(f"its '{name}' is not an object")
        for field in required:
            if field not in value:
                raise LineError(f"it has no '{field}'")
        known = ((field, content) for field, content in value.items() if field in readers)
        return kind(**{**absent, **{field: readers[field](content, field) for field, content in known}})

    return read


SCALARS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}


def _scalar(kind: type[Any]) -> Reader:
    def read(value: Json, name: str) -> Json:
        if type(value) in (int, float) and not abs(value) < MAX_NUMBER:
            raise LineError(f"its '{name}' is not a number that can be")
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise LineError(f"its '{name}' is not {SCALARS[kind]}")

    return read


_READERS: dict[type[Any], Reader] = {kind: _object(kind) for kind in KINDS.values()}
