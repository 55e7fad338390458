"""One paragraph of plain text for a ticket, and the query that finds these runs in PuppetDB again."""

from __future__ import annotations

import re
import textwrap
import time
from typing import Optional

from twitch.fleet.outcomes import Outcome
from twitch.fleet.show import digest
from twitch.fleet.show.folding import shorten
from twitch.fleet.show.results import Results
from twitch.texts import one_line

# Up to so many runs are named in the query; more of them by the time, and by what named the nodes.
MAX_IDS = 20
# PuppetDB's time of a report is that of the puppetserver, and a run's last report can come late.
MARGIN_S = 120
# What fits into a paragraph that is still read: causes, and characters of a message and of names.
MAX_CAUSES, MESSAGE_WIDTH, NODES_WIDTH = 3, 110, 60

# A query for certnames, which can be a part of another one.
CERTNAMES = re.compile(r"\s*[a-z_-]+\s*\[\s*certname\s*\]\s*\{.*\}\s*", re.DOTALL)


def paragraph(results: Results) -> str:
    """Return what was asked, when, of how many nodes, and what became of it."""
    plan = results.plan
    label = f"{plan.ask.label}: " if plan and plan.ask.label else ""
    who = f" ({plan.who})" if plan else ""
    counts = ", ".join(_counted(line) for line in digest.counted(results))
    sentences = [
        f"{label}{digest.asked(results)} on {digest.number_of(len(results.nodes), 'node')}{who}, "
        f"{period(results)}: {counts}.",
        *digest.ending(results),
    ]
    for section in digest.sections(results):
        if section.urgent:
            causes = "; ".join(
                f"{textwrap.shorten(cause.text, MESSAGE_WIDTH, placeholder=' …')} "
                f"({len(cause.nodes):,}: {shorten(cause.nodes, width=NODES_WIDTH)})"
                for cause in section.causes[:MAX_CAUSES]
            )
            more = len(section.causes) - MAX_CAUSES
            sentences.append(f"{section.title}: {causes}{f'; and {more} more causes' if more > 0 else ''}.")
    return one_line(" ".join(sentences))


def _counted(line: digest.Counted) -> str:
    note = f" ({line.note})" if line.outcome is Outcome.FAILED and line.note else ""
    return f"{line.number:,} {line.word}{note}"


def query(results: Results) -> Optional[str]:
    """Return the PQL for the reports of these runs; None if there was no PuppetDB, or no run."""
    plan = results.plan
    runs = [node.run for node in results.nodes.values() if node.run]
    if plan is None or plan.puppetdb is None or not runs:
        return None
    if len(runs) <= MAX_IDS:
        ids = ", ".join(f'"{run}"' for run in runs)
        return one_line(f"reports[certname, status, hash] {{ job_id in [{ids}] }}")
    conditions = [
        f'producer_timestamp >= "{_iso(results.began)}"',
        f'producer_timestamp <= "{_iso((results.latest or 0) + MARGIN_S)}"',
        'job_id ~ "^[0-9a-f]{32}$"',
        *(["noop = true"] if plan.ask.noop else []),
        *([f"certname in {plan.who.strip()}"] if CERTNAMES.fullmatch(plan.who) else []),
    ]
    return one_line(f"reports[certname, status, hash] {{ {' and '.join(conditions)} }}")


def period(results: Results) -> str:
    """Return from when to when: `2026-11-26 10:00 to 10:22 UTC`."""
    began, ended = time.gmtime(results.began), time.gmtime(results.latest)
    day = "" if began[:3] == ended[:3] else time.strftime("%Y-%m-%d ", ended)
    return f"{time.strftime('%Y-%m-%d %H:%M', began)} to {day}{time.strftime('%H:%M', ended)} UTC"


def _iso(when: Optional[float]) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
