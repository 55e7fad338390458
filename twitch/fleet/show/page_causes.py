"""The sections of the page that name nodes: why they are not good, and every node by its outcome."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from twitch import durations
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show import digest
from twitch.fleet.show.causes import Cause
from twitch.fleet.show.digest import Section, number_of
from twitch.fleet.show.page_style import COLOURS
from twitch.fleet.show.page_text import as_text, node_names
from twitch.fleet.show.results import NodeResult, Results

# Nodes of a cause that have a row each, with run and error; of more nodes, the names. Beyond so many rows,
# names only: the page has to stay small enough for a mail.
MAX_NODE_ROWS, MAX_PAGE_ROWS = 100, 500


def causes(results: Results, *, urgent: bool) -> str:
    """Return the sections of nodes that are not good, by cause: those for an operator, or the others."""
    rows_left = MAX_PAGE_ROWS
    html = []
    for section in digest.sections(results):
        if section.urgent is not urgent:
            continue
        articles = []
        for cause in section.causes:
            single = len(cause.nodes) <= min(MAX_NODE_ROWS, rows_left)
            rows_left -= len(cause.nodes) if single else 0
            articles.append(_cause(cause, section, results, single=single))
        html.append(
            f"<section><h2>{as_text(section.title)}<small>{number_of(section.number, 'node')}, "
            f"{number_of(len(section.causes), 'cause')}</small></h2>"
            f'<div class="card">{"".join(articles)}</div></section>'
        )
    return "".join(html)


def _cause(cause: Cause, section: Section, results: Results, *, single: bool) -> str:
    badge = (
        f' <span class="badge">{as_text(cause.outcome.value)}</span>' if section.group == "uncertain" else ""
    )
    resource = f"<code>{as_text(cause.resource)}</code>" if cause.resource else ""
    nodes = [results.nodes[name] for name in sorted(cause.nodes)]
    # Not if each row would say what stands above it.
    single = single and any(node.run or node.error != cause.message for node in nodes)
    return (
        f'<article class="cause tone-{COLOURS[cause.outcome]}"><b>{number_of(len(cause.nodes), "node")}</b>'
        f"{resource}{badge}<p>{as_text(cause.message)}</p>"
        f"{node_names(cause.nodes, more=_table(nodes) if single else '', printed=section.urgent)}</article>"
    )


def _table(nodes: Iterable[NodeResult]) -> str:
    rows = []
    for node in nodes:
        took = durations.shown(node.duration_s) if node.duration_s is not None else ""
        run = f"<br><code class=soft>run {as_text(node.run)}</code>" if node.run else ""
        rows.append(
            f"<tr><td><code>{as_text(node.name)}</code></td><td class=took>{took}</td>"
            f"<td>{as_text(node.error or '')}{run}</td></tr>"
        )
    head = "<thead><tr><th>Node</th><th>Took</th><th>Error</th></tr></thead>"
    return f"<table class=list>{head}<tbody>{''.join(rows)}</tbody></table>"


def all_nodes(results: Results) -> str:
    """Return the section with every node, by outcome."""
    by_outcome: dict[Optional[Outcome], list[str]] = {}
    for node in results.nodes.values():
        by_outcome.setdefault(node.outcome, []).append(node.name)
    rows = []
    for outcome in (*Outcome, None):
        if outcome in by_outcome:
            tone = COLOURS[outcome] if outcome else "uncertain"
            word = outcome.value if outcome else "no end"
            rows.append(
                f'<article class="cause tone-{tone}"><b>{len(by_outcome[outcome]):,} {as_text(word)}</b>'
                f"{node_names(by_outcome[outcome])}</article>"
            )
    return f'<section><h2>All nodes</h2><div class="card">{"".join(rows)}</div></section>'
