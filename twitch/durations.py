"""Durations: how people write them, in requests and files, and how they are shown."""

from __future__ import annotations

import re
from typing import Optional

UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}
FORM = "a time such as 90s, 30m, 2h or 7d"


def seconds(text: str) -> Optional[int]:
    """Return the seconds in a duration; a number without a unit is in seconds. None if it is not one."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    return int(found[1]) * UNITS_S[found[2] or "s"] if found else None


def shown(duration_s: float) -> str:
    """Return a duration with its two largest units, such as `1h 6m`; seconds are rounded."""
    rest, words = max(0, round(duration_s)), []
    for unit, unit_s in UNITS_S.items():
        number, rest = divmod(rest, unit_s)
        words += [f"{number}{unit}"] if number else []
    return " ".join(words[:2]) or "0s"
