"""The figures of the node, for its metrics: what Puppet is doing, its last run, its last success."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Optional

from twitch.metrics import Figures, Last
from twitch.node_status import DISABLED, IDLE, LastRun, NodeStatus
from twitch.records import FINISHED, GOOD, Record
from twitch.root import counts, report, status
from twitch.root.node import Node
from twitch.root.report import Summary


def look(node: Node) -> Figures:
    """Return the figures of this node, and keep the end of its last success on the disk."""
    found = status.look(node)
    ended = [record for record in node.store.newest() if record.state == FINISHED]
    kept = counts.read(node.store)
    last_success = counts.latest((kept.last_success, *_successes(found, ended)))
    counts.note_success(node.store, last_success)
    disabled = found.disabled
    return Figures(
        state=found.state,
        enabled=disabled is None,
        disabled_since=disabled.since if disabled else None,
        disabled_until=disabled.until if disabled else None,
        run_started=found.since,
        last=_last(found.last, report.read_summary(node.settings.lastrunfile)),
        last_success=last_success,
        runs=kept.runs,
    )


def sources(node: Node) -> tuple[str, ...]:
    """Return the directories and files of which one changes whenever the figures of a steady node do."""
    settings = node.settings
    files = (
        settings.agent_catalog_run_lockfile,
        settings.agent_disabled_lockfile,
        settings.lastrunfile,
        settings.lastrunreport,
        node.store.counts_path,
    )
    directories = (os.path.dirname(path) for path in files)
    own = (node.store.root, node.store.directory, node.store.history)
    return tuple(dict.fromkeys((*directories, *own, settings.config, node.puppet)))


def is_steady(node: Node, found: Figures) -> bool:
    """Return whether the figures hold until a file changes: no process and no time changes them."""
    locked = os.path.lexists(node.settings.agent_catalog_run_lockfile)
    return found.state in (IDLE, DISABLED) and found.run_started is None and not locked


def _successes(found: NodeStatus, ended: Iterable[Record]) -> Iterable[Optional[float]]:
    """Yield the ends of all good runs that are known."""
    partial = {record.ended for record in ended if record.options.partial}
    yield from (counts.success(record) for record in ended)
    for run in (found.last, found.last_whole):
        if run and run.verdict in GOOD and run.ended not in partial:
            yield run.ended


def _last(run: Optional[LastRun], summary: Optional[Summary]) -> Optional[Last]:
    """Return the last run, with what only its summary says."""
    if run is None:
        return None
    last = Last(
        verdict=run.verdict,
        ended=run.ended,
        duration_s=run.duration_s,
        noop=run.noop,
        cached_catalog=run.cached_catalog_status not in (None, "not_used"),
        environment=run.environment,
        resources=run.counts,
    )
    if summary is None:
        return last
    last = last._replace(puppet_version=summary.puppet_version)
    # A run that did not begin has left the summary of the run before.
    if abs((summary.last_run or 0) - (run.ended or 0)) > status.REPORT_SLACK_S:
        return last
    return last._replace(events=summary.events, phases_s=summary.phases_s)
