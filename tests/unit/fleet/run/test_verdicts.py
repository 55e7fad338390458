from __future__ import annotations

from typing import Optional

import pytest

from twitch.fleet.events import Change, Counts
from twitch.fleet.node.answers import Answer, RunRecord
from twitch.fleet.outcomes import Outcome
from twitch.fleet.puppetdb.reports import Report
from twitch.fleet.run import verdicts

RUN = "1" * 32


def answer(verdict: Optional[str], **record: object) -> Answer:
    known = RunRecord(RUN, "finished", verdict, **record)  # type: ignore[arg-type]
    return Answer(200, "Puppet run failed", RUN, verdict, record=known)


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        ("unchanged", Outcome.UNCHANGED),
        ("changed", Outcome.CHANGED),
        ("failed", Outcome.FAILED),
        ("interrupted", Outcome.INTERRUPTED),
        ("not attempted", Outcome.NOT_ATTEMPTED),
    ],
)
def test_the_verdict_of_the_node_is_the_outcome(verdict: str, outcome: Outcome) -> None:
    end = verdicts.of_answer(answer(verdict), noop=False)
    assert end is not None and end.outcome is outcome


@pytest.mark.parametrize("verdict", [None, "busy", "something new"])
def test_without_a_verdict_there_is_no_outcome(verdict: Optional[str]) -> None:
    assert verdicts.of_answer(answer(verdict), noop=False) is None


@pytest.mark.parametrize(
    ("noop_pending", "would_change", "noop", "outcome"),
    [
        (True, None, True, Outcome.PENDING),
        (None, 2, True, Outcome.PENDING),  # an anonymous caller sees the number alone
        (False, None, True, Outcome.UNCHANGED),
        (None, 0, True, Outcome.UNCHANGED),
        (None, 2, False, Outcome.UNCHANGED),  # resources with noop => true of their own
    ],
)
def test_a_dry_run_with_changes_is_pending(
    noop_pending: Optional[bool], would_change: Optional[int], noop: bool, outcome: Outcome
) -> None:
    said = answer("unchanged", noop_pending=noop_pending, counts=Counts(would_change=would_change))
    end = verdicts.of_answer(said, noop=noop)
    assert end is not None and end.outcome is outcome


def test_a_failure_has_the_first_text_that_the_caller_may_see() -> None:
    texts: tuple[dict[str, str], ...] = (
        {"error": "no space left", "reason": "File[/a]"},
        {"reason": "File[/a]"},
        {},
    )
    ends = [verdicts.of_answer(answer("failed", **text), noop=False) for text in texts]
    assert [end and end.error for end in ends] == ["no space left", "File[/a]", "Puppet run failed"]


@pytest.mark.parametrize(
    ("status", "pending", "outcome"),
    [
        ("changed", False, Outcome.CHANGED),
        ("unchanged", False, Outcome.UNCHANGED),
        ("unchanged", True, Outcome.PENDING),
        ("failed", True, Outcome.FAILED),
        (None, False, Outcome.FAILED),
    ],
)
def test_a_report_is_an_outcome_and_its_proof(status: Optional[str], pending: bool, outcome: Outcome) -> None:
    report = Report(RUN, "a", "hash", status, pending, pending, None, None, None, False)
    end = verdicts.of_report(report)
    assert (end.outcome, end.report) == (outcome, "hash")


def test_a_failure_in_puppetdb_has_the_message_of_its_first_resource() -> None:
    end = verdicts.of_report(Report(RUN, "a", "hash", "failed", False, False, None, None, None, False))
    changes = (Change("Package[a]", "changed"), Change("File[/a]", "failed", message="no space left"))
    assert verdicts.with_changes(end, changes).error == "no space left"
