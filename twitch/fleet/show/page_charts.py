"""The runs over time as SVG: a lane for each of a few runs, and for many how many were under way.

A chart of many runs has a fixed number of columns, so its size does not grow with the number of nodes. Its
texts are HTML beside the SVG, because a drawing that is scaled down for a phone would scale its texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from twitch import durations
from twitch.fleet.outcomes import GOOD, Outcome
from twitch.fleet.show.digest import number_of
from twitch.fleet.show.page_style import COLOURS
from twitch.fleet.show.page_text import as_text
from twitch.fleet.show.results import NodeResult, Results

# Up to so many runs have a lane each.
MAX_LANES = 40
COLUMNS = 120
HEIGHT = 100

# From the bottom of a column to its top: what is wrong stands on the ground, where it is seen.
ORDER = ("failed", "uncertain", "unreachable", "changed", "pending", "idle", "unchanged")

# If the rest of the runs takes this many times as long as most of them, the chart ends before.
MOST, LONG_TAIL = 0.99, 1.5

NOT_BAD = GOOD | {Outcome.DISABLED}

# Steps of the time axis, so that it has at most MAX_TICKS.
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
MAX_TICKS = 6


class Bar(NamedTuple):
    """One run in seconds since the beginning."""

    node: NodeResult
    start_s: float
    end_s: float
    colour: str


def figure(results: Results) -> str:
    """Return the chart as HTML; an empty text if no run has begun."""
    total_s = (results.latest or 0) - (results.began or 0)
    bars = list(_bars(results, total_s))
    if not bars or total_s <= 0:
        return ""
    if len(bars) <= MAX_LANES:
        return _lanes(bars, total_s)
    return _columns(results, bars, total_s)


def _bars(results: Results, total_s: float) -> Iterable[Bar]:
    began = results.began or 0.0
    for node in results.nodes.values():
        if node.started is None:
            continue
        end_s = total_s if node.ended is None else node.ended - began
        colour = COLOURS[node.outcome] if node.outcome else "uncertain"
        yield Bar(node, max(0.0, node.started - began), min(total_s, max(0.0, end_s)), colour)


# ---- few runs: a lane each


def _lanes(bars: list[Bar], total_s: float) -> str:
    lanes = []
    for bar in sorted(bars, key=lambda bar: bar.start_s):
        x, width = 1000 * bar.start_s / total_s, 1000 * (bar.end_s - bar.start_s) / total_s
        word = bar.node.outcome.value if bar.node.outcome else "no end"
        took = durations.shown(bar.end_s - bar.start_s)
        lanes.append(
            f'<div class="lane"><span class="mono">{as_text(bar.node.name)}</span>'
            '<svg viewBox="0 0 1000 10" preserveAspectRatio="none" role="img">'
            f"<title>{as_text(word)} after {took}</title>"
            f'<rect class="fill-{bar.colour}" x="{x:.1f}" width="{max(width, 4):.1f}" height="10"/></svg>'
            f'<span class="soft">{as_text(word)}, {took}</span></div>'
        )
    return f'<figure class="card">{"".join(lanes)}</figure>'


# ---- many runs: how many were under way, by what became of them


def _columns(results: Results, bars: list[Bar], total_s: float) -> str:
    ends = _ends(results, bars)
    shown_s = _shown(ends, total_s)
    step_s = shown_s / COLUMNS
    running = _under_way(bars, step_s)
    peak = max(sum(heights) for heights in zip(*running.values()))
    bad = _bad_ends(results, shown_s)
    worst = max((sum(heights) for heights in zip(*bad.values())), default=0)
    colours = [colour for colour in ORDER if colour in running or colour in bad]
    legend = "".join(
        f'<li><i class="fill-{colour}"></i>{as_text(", ".join(_words(results, colour)))}</li>'
        for colour in colours
    )
    parts = [
        "<figcaption>Runs under way at once, by what became of them</figcaption>",
        _plot(running, peak, f"up to {peak:.0f} runs at once", ""),
    ]
    if worst:
        parts += [
            "<figcaption>When nodes failed, were out of reach or uncertain</figcaption>",
            _plot(bad, worst, f"at most {worst:.0f} nodes in {durations.shown(step_s)}", " low"),
        ]
    later = sum(end_s > shown_s for end_s in ends)
    if later:
        nodes, last = number_of(later, "node"), durations.shown(total_s)
        legend += f"<li>{nodes} ended beyond this chart, up to {last} after the beginning.</li>"
    return f'<figure class="card">{"".join(parts)}{_axis(shown_s)}<ul class="legend">{legend}</ul></figure>'


def _ends(results: Results, bars: list[Bar]) -> list[float]:
    """Return when each node ended, also without a run, in seconds since the beginning, in order."""
    without = (node.ended for node in results.nodes.values() if node.started is None)
    return sorted(
        [
            *(bar.end_s for bar in bars),
            *(max(0.0, ended - (results.began or 0)) for ended in without if ended is not None),
        ]
    )


def _shown(ends: list[float], total_s: float) -> float:
    """Return the seconds that the chart shows: not the hour in which the last runs of all were waited for."""
    most_s = 1.05 * ends[int(len(ends) * MOST)]
    return total_s if total_s < LONG_TAIL * most_s else most_s


def _words(results: Results, colour: str) -> list[str]:
    return [
        outcome.value for outcome in Outcome if COLOURS[outcome] == colour and results.outcomes[outcome]
    ] or ["no end"]


def _under_way(bars: list[Bar], step_s: float) -> dict[str, list[float]]:
    """Return for each colour the mean number of runs in each column."""
    columns: dict[str, list[float]] = {}
    for bar in bars:
        column = columns.setdefault(bar.colour, [0.0] * COLUMNS)
        first, last = bar.start_s / step_s, min(bar.end_s / step_s, COLUMNS)
        for at in range(int(first), min(COLUMNS, math.ceil(last))):
            column[at] += min(last, at + 1) - max(first, at)
    return columns


def _bad_ends(results: Results, shown_s: float) -> dict[str, list[float]]:
    """Return for each colour the number of nodes in each column that ended badly."""
    columns: dict[str, list[float]] = {}
    for node in results.nodes.values():
        if node.outcome is None or node.ended is None or node.outcome in NOT_BAD:
            continue
        end_s = max(0.0, node.ended - (results.began or 0))
        if end_s <= shown_s:
            column = columns.setdefault(COLOURS[node.outcome], [0.0] * COLUMNS)
            column[min(COLUMNS - 1, int(end_s / shown_s * COLUMNS))] += 1
    return columns


def _plot(columns: dict[str, list[float]], peak: float, title: str, kind: str) -> str:
    """Return stacked columns, one path for each colour."""
    ground = [0.0] * COLUMNS
    width = 7 if kind else 8  # single ends are apart, runs are an area
    paths = []
    for colour in ORDER:
        if colour not in columns:
            continue
        path = []
        for at, value in enumerate(columns[colour]):
            if value <= 0:
                continue
            # A single node of thousands still has to be seen.
            height = max(
                HEIGHT * value / peak, 1.5 if colour in ("failed", "uncertain", "unreachable") else 0
            )
            bottom = HEIGHT - ground[at]
            path.append(f"M{at * 8} {bottom:.1f}h{width}v-{height:.1f}h-{width}z")
            ground[at] += height
        paths.append(f'<path class="fill-{colour}" d="{"".join(path)}"/>')
    return (
        f'<div class="plot{kind}"><span class="top">{math.ceil(peak):,}</span><span class="bottom">0</span>'
        f'<svg viewBox="0 0 {COLUMNS * 8} {HEIGHT}" preserveAspectRatio="none" role="img">'
        f"<title>{as_text(title)}</title>{''.join(paths)}</svg></div>"
    )


def _axis(total_s: float) -> str:
    step_s = next((step_s for step_s in STEPS_S if total_s / step_s <= MAX_TICKS), STEPS_S[-1])
    ticks = [at * step_s for at in range(int(total_s / step_s) + 1) if at * step_s <= total_s * 0.97]
    spans = (f'<span style="left:{100 * at / total_s:.1f}%">{durations.shown(at)}</span>' for at in ticks)
    return f'<div class="axis">{"".join(spans)}</div>'
