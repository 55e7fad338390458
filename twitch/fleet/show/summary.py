"""The summary at the end of a run, as text: what is wrong, on how many nodes, and what to paste next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Optional

from twitch.fleet.show import digest, ticket
from twitch.fleet.show.causes import Cause
from twitch.fleet.show.changes import SKIPPED, Row, rows_of
from twitch.fleet.show.digest import Section, number_of
from twitch.fleet.show.folding import fold, shorten
from twitch.fleet.show.paint import Paint
from twitch.fleet.show.results import Results
from twitch.texts import one_line

# What fits on a screen; `show RESULT GROUP` has the rest.
MAX_CAUSES, MAX_CHANGES = 8, 15
# Lines of a message: Puppet's can be very long.
MAX_MESSAGE_LINES = 3

# The columns of the numbers, with two spaces before and after.
INDENT = " " * 10


def summary_text(results: Results, paint: Optional[Paint] = None, *, path: Optional[str] = None) -> str:
    """Return the summary of a result; with the commands to paste next if it is in a file."""
    paint = paint or Paint()
    blocks = [
        _headline(results, paint),
        _numbers(results, paint),
        *(_section(section, paint) for section in digest.sections(results)),
        _changes(results, paint),
        _versions(results, paint),
        [paint.yellow(line) for line in digest.ending(results)],
        _ticket(results, paint),
        _next(results, paint, path),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _headline(results: Results, paint: Paint) -> list[str]:
    text = digest.headline(results)
    words = paint.red(text) if digest.wrong(results) else paint.green(text)
    what = f"{digest.asked(results)} on {number_of(len(results.nodes), 'node')}, {digest.elapsed(results)}"
    return [f"{paint.bold(what)}: {words}"]


def _numbers(results: Results, paint: Paint) -> list[str]:
    lines = []
    for line in digest.counted(results):
        word = paint.outcome(line.outcome, line.word) if line.outcome else line.word
        padding = " " * (12 - len(line.word)) if line.note else ""
        lines.append(f"{line.number:>8,}  {word}{padding}{f'  {paint.dim(line.note)}' if line.note else ''}")
    return lines


def _section(section: Section, paint: Paint) -> list[str]:
    title = f"{section.title}: {number_of(section.number, 'node')}"
    lines = [paint.red(title) if section.urgent else paint.bold(title)]
    for cause in section.causes[:MAX_CAUSES]:
        lines += cause_lines(cause, paint)
    left = section.causes[MAX_CAUSES:]
    if left:
        nodes = number_of(sum(len(cause.nodes) for cause in left), "node")
        lines.append(
            f"{INDENT}and {number_of(len(left), 'more cause')}, {nodes}: show RESULT {section.group}"
        )
    return lines


def cause_lines(cause: Cause, paint: Paint) -> list[str]:
    """Return a cause with the number of its nodes, and below it the nodes, as many as fit on a line."""
    room = paint.width - len(INDENT)
    text = textwrap.wrap(cause.text, room, max_lines=MAX_MESSAGE_LINES, placeholder=" …") or [""]
    nodes = shorten(cause.nodes, width=room - len(" and 10,000 more"))
    return [
        f"{len(cause.nodes):>8,}  {text[0]}",
        *(f"{INDENT}{line}" for line in text[1:]),
        f"{INDENT}{paint.dim(one_line(nodes))}",
    ]


def _changes(results: Results, paint: Paint) -> list[str]:
    # What failed is above, by cause.
    rows = [row for row in rows_of(results) if row.applied or not row.urgent]
    if not rows:
        return []
    applied = sum(row.applied for row in rows)
    lines = [paint.bold("Changes, by the number of nodes")]
    if applied:
        lines.append(
            paint.red(f"  applied although noop: {number_of(applied, 'resource')} with noop => false")
        )
    lines += change_lines(rows[:MAX_CHANGES], paint)
    if len(rows) > MAX_CHANGES:
        more = number_of(len(rows) - MAX_CHANGES, "more row")
        lines.append(f"{INDENT}and {more}: show RESULT changes")
    return lines


def change_lines(rows: list[Row], paint: Paint) -> Iterator[str]:
    """Yield the rows of the table, aligned as far as they are not too long."""
    cells = [
        (row.resource, ", ".join(row.properties), _outcome(row), f"{row.place}{_named(row)}") for row in rows
    ]
    widths = [min(room, max(map(len, column))) for column, room in zip(zip(*cells), (40, 24, 22))]
    for row, texts in zip(rows, cells):
        aligned = "  ".join(text.ljust(width) for text, width in zip(texts, (*widths, 0)))
        line = paint.cut(f"{len(row.nodes):>8,}  {aligned}".rstrip(), paint.width)
        yield paint.red(line) if row.urgent else paint.dim(line) if row.outcome == SKIPPED else line


def _outcome(row: Row) -> str:
    return "applied, not noop" if row.applied else row.outcome


def _named(row: Row) -> str:
    """Return the odd ones out: the only nodes with a change, or the only ones without."""
    if len(row.nodes) <= 3:
        return f"  only {fold(row.nodes)}"
    return f"  all but {fold(row.missing)}" if row.missing else ""


def _versions(results: Results, paint: Paint) -> list[str]:
    versions = digest.versions(results)
    if not versions:
        return []
    lines = [paint.yellow(f"{len(versions)} versions of the code")]
    for version, nodes in versions[:MAX_CAUSES]:
        names = "" if nodes is versions[0][1] else f"  {shorten(nodes, width=60)}"
        lines.append(one_line(paint.cut(f"{len(nodes):>8,}  {version}{names}", paint.width)))
    return lines


def _ticket(results: Results, paint: Paint) -> list[str]:
    query = ticket.query(results)
    width = min(100, paint.width)
    text = textwrap.wrap(ticket.paragraph(results), width - 2, break_long_words=False, break_on_hyphens=False)
    lines = [paint.bold("For the ticket"), *(f"  {line}" for line in text)]
    return [*lines, *(["  Its reports in PuppetDB:", f"  {query}"] if query else [])]


def _next(results: Results, paint: Paint, path: Optional[str]) -> list[str]:
    commands = digest.next_commands(results, path)
    if not commands:
        return []
    lines = [paint.bold("Next")]
    for command, what in commands:
        lines += [f"  {command}", f"      {paint.dim(what)}"]
    return lines
