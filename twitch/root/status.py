"""Look at the node: what Puppet is doing, and what became of its last run, ours or not."""

from __future__ import annotations

import time
from typing import Optional

from twitch.node_status import DISABLED, IDLE, QUEUED, RUNNING, STUCK, LastRun, NodeStatus
from twitch.records import BUSY, FAILED, FINISHED, GOOD, Record
from twitch.root import progress, puppet_locks, report, unit
from twitch.root.node import Node
from twitch.root.turn import Unrecorded
from twitch.root.verdict import failed_resources, from_summary

# With the reason of a disabled agent (puppet_locks.MAX_REASON_CHARS) two of these fit into a packet, even if
# JSON needs twelve bytes for each character.
MAX_REASON_CHARS = 120
# The report of `puppet apply` is handed over after its record has ended.
REPORT_SLACK_S = 5


def look(node: Node, unrecorded: Optional[Unrecorded] = None) -> NodeStatus:
    """Return the status of this node; `unrecorded` is the error of a verdict that cannot be written."""
    ours, waiting = node.store.claims.running(), node.store.claims.queued()
    holder, lock = node.lock_holder(), node.disabling()
    record = node.store.read(ours.run) if ours else None
    started = record.started if record else None
    since = started if ours else time.time() - holder.age_s if holder else None
    # The age of a run is that of its lock; `puppet apply` takes no lock, so its record has to do.
    age_s = holder.age_s if holder else max(0, int(time.time() - since)) if since else None
    ended = [record for record in node.store.newest() if record.state == FINISHED and record.started]
    recorded = [record for record in ended if record.verdict != BUSY]
    last, last_whole = _last(node, recorded)
    stuck = age_s is not None and puppet_locks.is_stuck(age_s, node.settings.runtimeout_s)
    # The first that applies. A disabled node where Puppet still runs is `disabled`, because that is what the
    # next trigger would be answered.
    states = {
        DISABLED: lock,
        STUCK: stuck,
        QUEUED: waiting,
        RUNNING: ours or holder,
        IDLE: True,
    }
    return NodeStatus(
        state=next(state for state, applies in states.items() if applies),
        run=ours.run if ours else None,
        queued=waiting.run if waiting else None,
        since=since,
        reason=lock.message if lock else None,
        pid=ours.pid if ours else holder.pid if holder else None,
        unit=unit.name(ours.pid) if ours else None,
        age_s=age_s if stuck else None,
        last=last,
        last_whole=last_whole,
        failing_since=_failing_since(recorded) if _failing(last, last_whole) else None,
        unrecorded=unrecorded.run if unrecorded else None,
        unrecorded_why=str(unrecorded) if unrecorded else None,
        disabled=lock.disabled if lock else None,
        **progress.look(node, ours, holder, since, ended)._asdict(),
    )


def _failing(last: Optional[LastRun], last_whole: Optional[LastRun]) -> bool:
    """Return whether the last whole run, ours or not, has not succeeded."""
    whole = last_whole or last
    return whole is not None and whole.verdict not in GOOD


def _failing_since(ours: list[Record]) -> Optional[float]:
    """Return when the last whole run that succeeded has ended, if later ones did not; else None.

    Only runs with a record are known.
    """
    whole = [record for record in ours if not record.options.partial]
    if not whole or whole[0].good:
        return None
    return next((record.ended for record in whole if record.good), None)


def _last(node: Node, ours: list[Record]) -> tuple[Optional[LastRun], Optional[LastRun]]:
    """Return the last run, ours or not; and if it is a partial one of ours, our last whole run.

    A run of ours is shown by its record, which says more than Puppet's report.
    """
    by_puppet = _by_puppet(node)
    if not ours or (by_puppet and (by_puppet.ended or 0) > (ours[0].ended or 0)):
        return _shortened(by_puppet), None
    whole = _whole_before(ours)
    return _shortened(_by_record(ours[0])), _shortened(_by_record(whole) if whole else None)


def _whole_before(ours: list[Record]) -> Optional[Record]:
    """Return the last whole run of ours before the partial ones with which the list begins.

    None if the list does not begin with a partial run, or if Puppet has run by itself in between: the
    partial run has replaced the report of that run, but its record says when that report was written.
    """
    for later, record in zip(ours, ours[1:]):
        if not later.options.partial or (later.reported_before or 0) > (record.ended or 0) + REPORT_SLACK_S:
            return None
        if not record.options.partial:
            return record
    return None


def _shortened(last: Optional[LastRun]) -> Optional[LastRun]:
    if last is None or last.reason is None or len(last.reason) <= MAX_REASON_CHARS:
        return last
    return last._replace(reason=f"{last.reason[: MAX_REASON_CHARS - 1]}…")


def _by_record(record: Record) -> LastRun:
    return LastRun(
        verdict=record.verdict or FAILED,
        ended=record.ended,
        duration_s=record.duration_s,
        counts=record.counts or {},
        environment=record.environment,
        reason=record.reason,
        cached_catalog_status=record.cached_catalog_status,
        noop=record.noop,
        noop_pending=record.noop_pending,
        would_change=record.would_change,
        unreported=record.unreported,
    )


def _by_puppet(node: Node) -> Optional[LastRun]:
    """Return the last run from Puppet's report, or from its summary where a site keeps no reports."""
    last_report = report.read(node.settings.lastrunreport)
    summary = report.read_summary(node.settings.lastrunfile)
    reported = (last_report.ended or 0) if last_report else None
    if summary and summary.last_run and (reported is None or summary.last_run > reported + 1):
        return LastRun(
            verdict=from_summary(summary),
            ended=summary.last_run,
            duration_s=summary.duration_s,
            counts=summary.counts,
            environment=summary.environment,
            would_change=summary.would_change,
        )
    if last_report is None:
        return None
    return LastRun(
        verdict=last_report.status if last_report.transaction_completed else FAILED,
        ended=last_report.ended,
        duration_s=last_report.duration_s,
        counts=last_report.counts,
        environment=last_report.environment,
        reason=failed_resources(last_report) if last_report.status == FAILED else None,
        cached_catalog_status=last_report.cached_catalog_status,
        noop=last_report.noop,
        noop_pending=last_report.noop_pending,
        would_change=last_report.would_change,
    )
