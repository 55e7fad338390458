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


def ago(age_s: float) -> str:
    """Return how long ago something was, in the largest whole unit; a future time is `in 2 h`."""
    seconds_s = abs(round(age_s))
    if seconds_s < 2:
        return "now"
    if age_s < 0:
        # An end that was two hours away a moment ago is `in 2 h`, and not `in 1 h`.
        seconds_s += min(5, seconds_s // 60)
    unit_s, unit = next(
        (unit_s, unit)
        for unit_s, unit in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s"))
        if seconds_s >= unit_s * (2 if unit == "days" else 1)
    )
    text = f"{seconds_s // unit_s} {unit}"
    return f"{text} ago" if age_s > 0 else f"in {text}"


def shown(duration_s: float) -> str:
    """Return a duration with its two largest units, such as `1h 6m`; seconds are rounded."""
    rest, words = max(0, round(duration_s)), []
    for unit, unit_s in UNITS_S.items():
        number, rest = divmod(rest, unit_s)
        words += [f"{number}{unit}"] if number else []
    return " ".join(words[:2]) or "0s"
