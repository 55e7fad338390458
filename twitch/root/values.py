"""Values of JSON and YAML that may have been written by an attacker, or by another tool."""

from __future__ import annotations

import json
from typing import Any, Optional


def from_json(text: str) -> object:
    """Return a JSON document; None if it is not JSON. The caller bounds its size."""
    try:
        return json.loads(text, parse_int=whole_number)
    except (ValueError, RecursionError):
        return None


def whole_number(digits: str) -> Optional[int]:
    """Return a whole number; None for one that no time or count can have.

    Python before 3.11 needs hours for a number of 50 MB.
    """
    return int(digits) if len(digits) < 20 else None


def mapping(value: object) -> dict[Any, Any]:
    """Return a value that is a mapping, or an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[Any]:
    """Return a value that is a list, or an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> Optional[str]:
    """Return a value as text; None if it is empty, or no plain value."""
    if value is None or value == "" or isinstance(value, (dict, list)):
        return None
    return value if isinstance(value, str) else str(value)


def number(value: object) -> Optional[float]:
    """Return a value as a number, of YAML as well; None if it is no time or count that Puppet can have."""
    try:
        found = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None
    # Sums of these fit into records and packets, which have numbers up to 1e15 (twitch/fields.py).
    return found if found is not None and abs(found) < 1e12 else None
