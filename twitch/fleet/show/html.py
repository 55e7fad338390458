"""The page for a ticket or a mail: one file, without scripts, fonts or pictures from elsewhere.

Every text that is not ours passes `as_text` of page_text.py. In case a text gets past that, a
Content-Security-Policy forbids to fetch or run anything.
"""

from __future__ import annotations

import time
from typing import Optional

import twitch
from twitch.fleet.show import digest, ticket
from twitch.fleet.show.changes import Row, rows_of
from twitch.fleet.show.digest import number_of
from twitch.fleet.show.folding import fold
from twitch.fleet.show.page_causes import all_nodes, causes
from twitch.fleet.show.page_charts import figure
from twitch.fleet.show.page_style import COLOURS, STYLE
from twitch.fleet.show.page_text import as_text, node_names, number_cell
from twitch.fleet.show.results import Results

# Rows of the table of changes; `show RESULT changes` has all.
MAX_CHANGES = 200

POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page_of(results: Results, *, path: Optional[str] = None) -> str:
    """Return the page; if the result is in a file, with the commands that continue from it."""
    headline = digest.headline(results)
    title = f"{digest.asked(results)} on {number_of(len(results.nodes), 'node')}: {headline}"
    return "\n".join(
        (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{as_text(title)}</title><style>{STYLE}</style></head><body>",
            _header(results, headline),
            "<main>",
            _numbers(results),
            causes(results, urgent=True),
            _runs(results),
            _changes(results),
            _versions(results),
            causes(results, urgent=False),
            all_nodes(results),
            _ticket(results, path),
            "</main>",
            _footer(),
            "</body></html>\n",
        )
    )


# ---- what was asked, and what is wrong


def _header(results: Results, headline: str) -> str:
    plan = results.plan
    label = f'<p class="label">{as_text(plan.ask.label)}</p>' if plan and plan.ask.label else ""
    kind = "bad" if digest.wrong(results) else "good"
    more = "".join(f"<p>{as_text(line)}</p>" for line in digest.ending(results))
    facts = "".join(f"<dt>{as_text(name)}</dt><dd>{value}</dd>" for name, value in _facts(results))
    return (
        f"<header>{label}<h1>{as_text(digest.asked(results))} on {number_of(len(results.nodes), 'node')}</h1>"
        f'<div class="verdict {kind}"><strong>{as_text(_capital(headline))}</strong>{more}</div>'
        f"<dl>{facts}</dl></header>"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _facts(results: Results) -> list[tuple[str, str]]:
    """Return what was asked as pairs of a name and HTML."""
    facts = [("When", as_text(f"{ticket.period(results)}, {digest.elapsed(results)}"))]
    plan = results.plan
    if plan is None:
        return facts
    limit = "any number" if plan.max_unreachable is None else f"{plan.max_unreachable:,}"
    allowed = f"{number_of(plan.max_failures, 'failure')} and {limit} of nodes out of reach"
    canary = f", {number_of(plan.canary, 'canary', 'canaries')} first" if plan.canary else ""
    facts += [
        ("Nodes", f"<code>{as_text(plan.who)}</code>"),
        ("At once", f"{plan.at_once:,}{canary}"),
        ("Allowed", as_text(allowed)),
        ("PuppetDB", as_text(plan.puppetdb or "none: runs are not proven")),
    ]
    if plan.puppetservers:
        facts.append(("Puppetserver", as_text(", ".join(plan.puppetservers))))
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
        word = f"<span>{as_text(counted.word)}</span>"
        note = f"<em>{as_text(counted.note)}</em>" if counted.note else ""
        tiles.append(f'<li class="tone-{tone}"><b>{counted.number:,}</b>{word}{note}</li>')
        if counted.outcome:
            percent = 100 * counted.number / total
            title = f"{counted.number:,} {counted.word}, {percent:.1f} %"
            share.append(
                f'<i class="fill-{tone}" style="flex:{counted.number} 0 0" title="{as_text(title)}"></i>'
            )
    return (
        f'<section><h2>Outcomes</h2><div class="share" aria-hidden="true">{"".join(share)}</div>'
        f'<ul class="tiles">{"".join(tiles)}</ul></section>'
    )


def _runs(results: Results) -> str:
    chart = figure(results)
    return f"<section><h2>Runs over time</h2>{chart}</section>" if chart else ""


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
    place = f'<br><code class="soft">{as_text(row.place)}</code>' if row.place else ""
    missing = f'<p class="soft">all but <code>{as_text(fold(row.missing))}</code></p>' if row.missing else ""
    outcome = "applied although noop" if row.applied else row.outcome
    tone = (
        "failed" if row.urgent else {"changed": "changed", "would change": "pending"}.get(row.outcome, "idle")
    )
    return (
        f"<tr{' class=red' if row.urgent else ''}>{number_cell(row.nodes)}"
        f"<td><code>{as_text(row.resource)}</code>{place}{missing}{node_names(row.nodes)}</td>"
        f'<td>{as_text(", ".join(row.properties))}</td><td class="tone-{tone}">'
        f'<span class="badge">{as_text(outcome)}</span></td></tr>'
    )


def _versions(results: Results) -> str:
    versions = digest.versions(results)
    if not versions:
        return ""
    rows = "".join(
        f"<tr>{number_cell(nodes)}<td><code>{as_text(version)}</code>{node_names(nodes)}</td></tr>"
        for version, nodes in versions
    )
    head = '<thead><tr><th class="number">Nodes</th><th>Version</th></tr></thead>'
    return (
        f"<section><h2>{len(versions):,} versions of the code</h2>"
        f'<div class="card"><table>{head}<tbody>{rows}</tbody></table></div></section>'
    )


# ---- what to paste


def _ticket(results: Results, path: Optional[str]) -> str:
    query = ticket.query(results)
    found = (
        f'<h3>Its reports in PuppetDB</h3><p class="paste mono">{as_text(query)}</p>'
        if query is not None
        else ""
    )
    commands = "".join(
        f'<h3>{as_text(_capital(what))}</h3><p class="paste mono">{as_text(command)}</p>'
        for command, what in digest.next_commands(results, path)
    )
    return (
        '<section><h2>To paste</h2><div class="card"><h3>For the ticket</h3>'
        f'<p class="paste">{as_text(ticket.paragraph(results))}</p>{found}{commands}</div></section>'
    )


def _footer() -> str:
    written = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return f"<footer>Written by puppet-twitch-fleet {as_text(twitch.__version__)}, {written}.</footer>"
