"""Values in the rows of PuppetDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, Optional, TypeVar

from twitch.fleet.puppetdb.client import PuppetDBError, Row

T = TypeVar("T")


def required(row: Row, column: str) -> str:
    """Return the text in a column that every row has; raise PuppetDBError if this row has none."""
    value = row.get(column)
    if not isinstance(value, str):
        raise PuppetDBError(f"PuppetDB has sent a row without {column!r}, so its answer cannot be used")
    return value


def epoch(value: object) -> Optional[float]:
    """Return a timestamp of PuppetDB's, such as 2026-11-26T10:00:00.123Z, as epoch seconds."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def text(value: object) -> Optional[str]:
    """Return a text, or None for a value that is not one."""
    return value if isinstance(value, str) else None


def chunks(values: Sequence[T], size: int) -> Iterator[list[T]]:
    """Yield the values in lists of at most this size."""
    for first in range(0, len(values), size):
        yield list(values[first : first + size])


def one_of(column: str, values: Sequence[str]) -> list[Any]:
    """Return the condition that a column has one of these values."""
    return ["in", column, ["array", list(values)]]
