"""What became of a run, by the node's answer or by PuppetDB's report: the verdict decides, and nothing else.

Neither an exit status of Puppet's nor the end of a request is a verdict (puppet_agent#741, choria#300:
success was reported for failed compilations).
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from twitch.fleet.events import Change, Counts
from twitch.fleet.node.answers import Answer, RunRecord
from twitch.fleet.outcomes import GOOD, Outcome
from twitch.fleet.puppetdb.reports import Report

BUSY = "busy"  # the verdict of a run that has not begun because another Puppet run did

OUTCOMES = {
    "unchanged": Outcome.UNCHANGED,
    "changed": Outcome.CHANGED,
    "failed": Outcome.FAILED,
    "interrupted": Outcome.INTERRUPTED,
    "not attempted": Outcome.NOT_ATTEMPTED,
}


class End(NamedTuple):
    """What became of one node."""

    outcome: Outcome
    error: Optional[str] = None  # one line: why the outcome is not a good one
    verdict: Optional[str] = None  # in the words of the node
    counts: Optional[Counts] = None
    duration_s: Optional[float] = None
    configuration_version: Optional[str] = None
    changes: tuple[Change, ...] = ()
    report: Optional[str] = None  # the hash of the report, if PuppetDB has named the outcome


def of_answer(answer: Answer, *, noop: bool) -> Optional[End]:
    """Return what became of the run that an answer is about; None if it has no verdict that is known."""
    record = answer.record
    verdict = answer.verdict or (record.verdict if record else None)
    outcome = OUTCOMES.get(verdict or "")
    if outcome is None:
        return None
    if record is None:
        return End(outcome, None if outcome in GOOD else answer.message, verdict)
    if noop and outcome is Outcome.UNCHANGED and _pending(record):
        outcome = Outcome.PENDING
    return End(
        outcome,
        None if outcome in GOOD else record.error or record.reason or answer.message,
        verdict,
        record.counts,
        record.duration_s,
        record.configuration_version,
        record.changes,
    )


def of_report(report: Report) -> End:
    """Return what became of the run of a report, which is proven by it."""
    # A noop run with pending changes has the status unchanged (PuppetDB 8.4.1).
    pending = report.noop and report.noop_pending and report.status == "unchanged"
    outcome = Outcome.PENDING if pending else OUTCOMES.get(report.status or "", Outcome.FAILED)
    return End(
        outcome,
        None if outcome in GOOD else "the report in PuppetDB says so",
        report.status,
        configuration_version=report.configuration_version,
        report=report.hash,
    )


def with_changes(end: End, changes: tuple[Change, ...]) -> End:
    """Return the end with what happened to the resources; a failure has the message of the first one."""
    failure = next((change for change in changes if change.outcome == "failed"), None)
    if end.outcome in GOOD or failure is None:
        return end._replace(changes=changes)
    return end._replace(changes=changes, error=failure.message or failure.resource)


def _pending(record: RunRecord) -> bool:
    if record.noop_pending is not None:
        return record.noop_pending
    return bool(record.counts.would_change)
