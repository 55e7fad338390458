"""Figures: rows with samples, a goal and a peer, as a table and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MISSED = "MISSED"
HEADINGS = ("what", "unit", "p50", "p95", "n", "goal", "", "{peer} p50", "p95", "n", "ratio")
PEER = "webhook"  # of `make bench`


@dataclass(frozen=True)
class Goal:
    """The limit of a figure: at most, or at least, for one of the statistics."""

    limit: float
    statistic: str = "p50"  # or p95
    at_least: bool = False

    def missed(self, samples: Sequence[float]) -> bool:
        reached = percentile(samples, 95 if self.statistic == "p95" else 50)
        return reached < self.limit if self.at_least else reached > self.limit

    def __str__(self) -> str:
        which = " (p95)" if self.statistic == "p95" else ""
        return f"{'≥' if self.at_least else '≤'} {_number(self.limit)}{which}"


@dataclass(frozen=True)
class Row:
    """One figure: our samples, and the peer's if it can do the same."""

    what: str
    unit: str
    ours: Sequence[float]
    goal: Goal | None = None
    peer: Sequence[float] = ()
    note: str = ""

    @property
    def missed(self) -> bool:
        return bool(self.goal and (not self.ours or self.goal.missed(self.ours)))

    @property
    def ratio(self) -> float | None:
        """Our median divided by the peer's."""
        theirs = percentile(self.peer, 50)
        return percentile(self.ours, 50) / theirs if self.ours and self.peer and theirs else None

    def cells(self) -> tuple[str, ...]:
        return (
            self.what,
            self.unit,
            *_statistics(self.ours),
            str(self.goal or ""),
            MISSED if self.missed else "",
            *_statistics(self.peer),
            "" if self.ratio is None else f"{self.ratio:.2f}",
        )

    def as_json(self, peer: str = PEER) -> dict[str, Any]:
        return {
            "what": self.what,
            "unit": self.unit,
            "ours": _summary(self.ours),
            peer: _summary(self.peer),
            "ratio": self.ratio,
            "goal": str(self.goal) if self.goal else None,
            "missed": self.missed,
            "note": self.note,
        }


def percentile(samples: Sequence[float], percent: int) -> float:
    """Return the nearest-rank percentile: always one of the samples; not a number if there is none."""
    if not samples:
        return math.nan
    return sorted(samples)[max(0, math.ceil(len(samples) * percent / 100) - 1)]


def table(rows: Sequence[Row], peer: str = PEER) -> str:
    """Return the rows as text, one line each, and their notes below."""
    lines = [tuple(heading.format(peer=peer) for heading in HEADINGS), *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    left = (0, 1, 5, 6)
    text = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    ]
    notes = [f"  {row.what}: {row.note}" for row in rows if row.note]
    return "\n".join([text[0], "-" * len(text[0]), *text[1:], "", *notes])


def write(path: Path, conditions: dict[str, Any], rows: Sequence[Row], peer: str = PEER) -> None:
    """Write everything, samples included, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"conditions": conditions, "rows": [row.as_json(peer) for row in rows]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _summary(samples: Sequence[float]) -> dict[str, Any] | None:
    if not samples:
        return None
    p50, p95 = percentile(samples, 50), percentile(samples, 95)
    return {"p50": p50, "p95": p95, "n": len(samples), "samples": [round(one, 4) for one in samples]}


def _statistics(samples: Sequence[float]) -> tuple[str, str, str]:
    if not samples:
        return "", "", ""
    p95 = _number(percentile(samples, 95)) if len(samples) > 1 else ""
    return _number(percentile(samples, 50)), p95, str(len(samples))


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
