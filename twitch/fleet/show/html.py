"""The page for a ticket or a mail: one file, without scripts, fonts or pictures from elsewhere.

Every text that is not ours passes `_text`, and a Content-Security-Policy forbids whatever would be fetched
or run all the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape
from typing import Optional

import twitch
from twitch import durations
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show import digest, ticket
from twitch.fleet.show.causes import Cause
from twitch.fleet.show.changes import Row, rows_of
from twitch.fleet.show.digest import Section, number_of
from twitch.fleet.show.folding import fold, parts, shorten
from twitch.fleet.show.page_charts import figure
from twitch.fleet.show.page_style import COLOURS, STYLE
from twitch.fleet.show.results import NodeResult, Results
from twitch.texts import one_line

# Nodes of a cause that have a row each, with run and error; of more nodes, the names. Beyond so many rows,
# names only: the page has to stay small enough for a mail.
MAX_NODE_ROWS, MAX_PAGE_ROWS = 100, 500
# Characters of names in the line that opens all of them.
NAMES_WIDTH = 70
# Rows of the table of changes; `show RESULT changes` has all.
MAX_CHANGES = 200

POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page_of(results: Results, *, path: Optional[str] = None) -> str:
    """Return the page; with the commands to go on with if the result is in a file."""
    headline = digest.headline(results)
    title = f"{digest.asked(results)} on {number_of(len(results.nodes), 'node')}: {headline}"
    return "\n".join(
        (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>",
            _header(results, headline),
            "<main>",
            _numbers(results),
            _causes(results, urgent=True),
            _runs(results),
            _changes(results),
            _versions(results),
            _causes(results, urgent=False),
            _nodes(results),
            _ticket(results, path),
            "</main>",
            _footer(),
            "</body></html>\n",
        )
    )


def _text(text: str) -> str:
    """Return a text that is only a text: no markup, no control characters, one line."""
    return escape(one_line(text))


# ---- what was asked, and what is wrong


def _header(results: Results, headline: str) -> str:
    plan = results.plan
    label = f'<p class="label">{_text(plan.ask.label)}</p>' if plan and plan.ask.label else ""
    kind = "bad" if digest.wrong(results) else "good"
    more = "".join(f"<p>{_text(line)}</p>" for line in digest.ending(results))
    facts = "".join(f"<dt>{_text(name)}</dt><dd>{value}</dd>" for name, value in _facts(results))
    return (
        f"<header>{label}<h1>{_text(digest.asked(results))} on {number_of(len(results.nodes), 'node')}</h1>"
        f'<div class="verdict {kind}"><strong>{_text(_capital(headline))}</strong>{more}</div>'
        f"<dl>{facts}</dl></header>"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _facts(results: Results) -> list[tuple[str, str]]:
    """Return what was asked as pairs of a name and HTML."""
    facts = [("When", _text(f"{ticket.period(results)}, {digest.elapsed(results)}"))]
    plan = results.plan
    if plan is None:
        return facts
    limit = "any number" if plan.max_unreachable is None else f"{plan.max_unreachable:,}"
    allowed = f"{number_of(plan.max_failures, 'failure')} and {limit} of nodes out of reach"
    canary = f", {number_of(plan.canary, 'canary', 'canaries')} first" if plan.canary else ""
    facts += [
        ("Nodes", f"<code>{_text(plan.who)}</code>"),
        ("At once", f"{plan.at_once:,}{canary}"),
        ("Allowed", _text(allowed)),
        ("PuppetDB", _text(plan.puppetdb or "none: runs are not proven")),
    ]
    if plan.puppetservers:
        facts.append(("Puppetserver", _text(", ".join(plan.puppetservers))))
    return facts


def _numbers(results: Results) -> str:
    total = max(1, len(results.nodes))
    share, tiles = [], []
    for counted in digest.counted(results):
        tone = (
            COLOURS[counted.outcome]
            if counted.outcome
            else "fixed"
            if counted.word == "fixed"
            else "uncertain"
        )
        note = f"<em>{_text(counted.note)}</em>" if counted.note else ""
        tiles.append(
            f'<li class="tone-{tone}"><b>{counted.number:,}</b><span>{_text(counted.word)}</span>{note}</li>'
        )
        if counted.outcome:
            percent = 100 * counted.number / total
            title = f"{counted.number:,} {counted.word}, {percent:.1f} %"
            share.append(
                f'<i class="fill-{tone}" style="flex:{counted.number} 0 0" title="{_text(title)}"></i>'
            )
    return (
        f'<section><h2>Outcomes</h2><div class="share" aria-hidden="true">{"".join(share)}</div>'
        f'<ul class="tiles">{"".join(tiles)}</ul></section>'
    )


def _runs(results: Results) -> str:
    chart = figure(results)
    return f"<section><h2>Runs over time</h2>{chart}</section>" if chart else ""


# ---- why


def _causes(results: Results, *, urgent: bool) -> str:
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
            f"<section><h2>{_text(section.title)}<small>{number_of(section.number, 'node')}, "
            f"{number_of(len(section.causes), 'cause')}</small></h2>"
            f'<div class="card">{"".join(articles)}</div></section>'
        )
    return "".join(html)


def _cause(cause: Cause, section: Section, results: Results, *, single: bool) -> str:
    badge = (
        f' <span class="badge">{_text(cause.outcome.value)}</span>' if section.group == "uncertain" else ""
    )
    resource = f"<code>{_text(cause.resource)}</code>" if cause.resource else ""
    nodes = [results.nodes[name] for name in sorted(cause.nodes)]
    # Not if each row would say what stands above it.
    single = single and any(node.run or node.error != cause.message for node in nodes)
    return (
        f'<article class="cause tone-{COLOURS[cause.outcome]}"><b>{number_of(len(cause.nodes), "node")}</b>'
        f"{resource}{badge}<p>{_text(cause.message)}</p>"
        f"{_names(cause.nodes, more=_table(nodes) if single else '', printed=section.urgent)}</article>"
    )


def _names(names: Iterable[str], *, more: str = "", printed: bool = False) -> str:
    """Return the nodes behind a line with the first of them; the names can be pasted."""
    taken = list(names)
    folded = parts(taken)
    whole = ",<wbr>".join(map(_text, folded))
    if sum(map(len, folded)) <= NAMES_WIDTH:
        if not more:
            return f'<p class="mono">{whole}</p>'
        first, inside = whole, more
    else:
        first = _text(shorten(taken, width=NAMES_WIDTH)).replace(",", ",<wbr>")
        inside = f'<p class="nodes mono">{whole}</p>{more}'
    return f"<details{' class=print' if printed else ''}><summary>{first}</summary>{inside}</details>"


def _number(nodes: Sequence[str]) -> str:
    """Return the first cell of a row; its unit is shown where the table has no heading, on a phone."""
    number, unit = number_of(len(nodes), "node").split()
    return f'<td class="number">{number}<span class="unit"> {unit}</span></td>'


def _table(nodes: Iterable[NodeResult]) -> str:
    rows = []
    for node in nodes:
        took = durations.shown(node.duration_s) if node.duration_s is not None else ""
        run = f"<br><code class=soft>run {_text(node.run)}</code>" if node.run else ""
        rows.append(
            f"<tr><td><code>{_text(node.name)}</code></td><td class=took>{took}</td>"
            f"<td>{_text(node.error or '')}{run}</td></tr>"
        )
    head = "<thead><tr><th>Node</th><th>Took</th><th>Error</th></tr></thead>"
    return f"<table class=list>{head}<tbody>{''.join(rows)}</tbody></table>"


# ---- what changed


def _changes(results: Results) -> str:
    rows = [row for row in rows_of(results) if row.applied or not row.urgent]
    if not rows:
        return ""
    applied = sum(row.applied for row in rows)
    warning = (
        f'<div class="verdict bad"><strong>{number_of(applied, "resource")} applied although noop</strong>'
        "<p>They have <code>noop =&gt; false</code> of their own.</p></div>"
        if applied
        else ""
    )
    more = len(rows) - MAX_CHANGES
    left = f'<p class="soft">and {number_of(more, "more row")}</p>' if more > 0 else ""
    noop = results.plan is not None and results.plan.ask.noop
    head = '<tr><th class="number">Nodes</th><th>Resource</th><th>Properties</th><th>Outcome</th></tr>'
    return (
        f"<section><h2>{'What would change' if noop else 'What changed'}<small>"
        f"{number_of(len(rows), 'row')}</small></h2>{warning}"
        f'<div class="card"><table><thead>{head}</thead><tbody>'
        f"{''.join(map(_change, rows[:MAX_CHANGES]))}</tbody></table>{left}</div></section>"
    )


def _change(row: Row) -> str:
    place = f'<br><code class="soft">{_text(row.place)}</code>' if row.place else ""
    missing = f'<p class="soft">all but <code>{_text(fold(row.missing))}</code></p>' if row.missing else ""
    outcome = "applied although noop" if row.applied else row.outcome
    tone = (
        "failed" if row.urgent else {"changed": "changed", "would change": "pending"}.get(row.outcome, "idle")
    )
    return (
        f"<tr{' class=red' if row.urgent else ''}>{_number(row.nodes)}"
        f"<td><code>{_text(row.resource)}</code>{place}{missing}{_names(row.nodes)}</td>"
        f'<td>{_text(", ".join(row.properties))}</td><td class="tone-{tone}">'
        f'<span class="badge">{_text(outcome)}</span></td></tr>'
    )


def _versions(results: Results) -> str:
    versions = digest.versions(results)
    if not versions:
        return ""
    rows = "".join(
        f"<tr>{_number(nodes)}<td><code>{_text(version)}</code>{_names(nodes)}</td></tr>"
        for version, nodes in versions
    )
    head = '<thead><tr><th class="number">Nodes</th><th>Version</th></tr></thead>'
    return (
        f"<section><h2>{len(versions):,} versions of the code</h2>"
        f'<div class="card"><table>{head}<tbody>{rows}</tbody></table></div></section>'
    )


# ---- all nodes, and what to paste


def _nodes(results: Results) -> str:
    by_outcome: dict[Optional[Outcome], list[str]] = {}
    for node in results.nodes.values():
        by_outcome.setdefault(node.outcome, []).append(node.name)
    rows = []
    for outcome in (*Outcome, None):
        if outcome in by_outcome:
            tone = COLOURS[outcome] if outcome else "uncertain"
            word = outcome.value if outcome else "no end"
            rows.append(
                f'<article class="cause tone-{tone}"><b>{len(by_outcome[outcome]):,} {_text(word)}</b>'
                f"{_names(by_outcome[outcome])}</article>"
            )
    return f'<section><h2>All nodes</h2><div class="card">{"".join(rows)}</div></section>'


def _ticket(results: Results, path: Optional[str]) -> str:
    query = ticket.query(results)
    found = (
        f'<h3>Its reports in PuppetDB</h3><p class="paste mono">{_text(query)}</p>'
        if query is not None
        else ""
    )
    commands = "".join(
        f'<h3>{_text(_capital(what))}</h3><p class="paste mono">{_text(command)}</p>'
        for command, what in digest.next_commands(results, path)
    )
    return (
        '<section><h2>To paste</h2><div class="card"><h3>For the ticket</h3>'
        f'<p class="paste">{_text(ticket.paragraph(results))}</p>{found}{commands}</div></section>'
    )


def _footer() -> str:
    written = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return f"<footer>Written by puppet-twitch-fleet {_text(twitch.__version__)}, {written}.</footer>"
