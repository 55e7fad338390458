"""What became of a run: every outcome that was seen with a real Puppet, and what is said of it."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch.root.report import COUNTS, STATUSES, Report, Summary
from twitch.root.verdict import Facts, Verdict, from_summary, judge
from twitch.runs import BUSY, CHANGED, FAILED, INTERRUPTED, NOT_ATTEMPTED, UNCHANGED


def counted(**counts: int) -> dict[str, int]:
    return {**dict.fromkeys(COUNTS, 0), **counts}


REPORT = Report(
    job_id="0123456789abcdef0123456789abcdef",
    status=UNCHANGED,
    transaction_completed=True,
    noop=False,
    noop_pending=False,
    environment="production",
    cached_catalog_status="not_used",
    began=1769072700.0,
    duration_s=2.0,
    counts=counted(total=12),
    failed_resources=(),
)
SUMMARY = Summary(
    last_run=1769072702.0, completed=True, environment=None, duration_s=2.0, counts=counted(total=12)
)


def report(status: str = UNCHANGED, completed: bool = True, **more: Any) -> Report:
    return REPORT._replace(status=status, transaction_completed=completed, **more)


NO_CATALOG = counted()
TOLD_TO_STOP = "Puppet was told to stop before it was done"
GAVE_UP = "Puppet gave up before the end of its catalog"
TWO: dict[str, Any] = {"failed_resources": ("Exec[a]", "File[b]"), "counts": counted(total=12, failed=2)}
MANY: dict[str, Any] = {
    "failed_resources": tuple(f"Exec[{i}]" for i in range(20)),
    "counts": counted(total=99, failed=42),
}
OTHER_NAMED = "no catalog of environment staging was applied; the server does not know it"

# exit status and report: how Puppet 7 and 8 end, with --detailed-exitcodes and --onetime
WITH_REPORT: dict[str, tuple[str, Report, str, Optional[str]]] = {
    "nothing-to-do": ("0", report(), UNCHANGED, None),
    "changes": ("2", report(CHANGED), CHANGED, None),
    "failed-resources": ("4", report(FAILED, **TWO), FAILED, "Exec[a], File[b]"),
    "failed-resources-and-changes": ("6", report(FAILED, **TWO), FAILED, "Exec[a], File[b]"),
    "many-failed-resources": (
        "4",
        report(FAILED, **MANY),
        FAILED,
        "Exec[0], Exec[1], Exec[2], Exec[3], Exec[4] and 37 more",
    ),
    "one-more-failed-resource": (
        "4",
        report(FAILED, **{**MANY, "counts": counted(total=99, failed=6)}),
        FAILED,
        "Exec[0], Exec[1], Exec[2], Exec[3], Exec[4] and 1 more",
    ),
    "noop-with-pending-changes": ("0", report(noop=True, noop_pending=True), UNCHANGED, None),
    "a-tag-that-matches-nothing": ("0", report(), UNCHANGED, None),
    "compile-error": ("1", report(FAILED, False, counts=NO_CATALOG), FAILED, "no catalog was applied"),
    "server-unreachable-and-cached-catalog": (
        "0",
        report(cached_catalog_status="on_failure"),
        UNCHANGED,
        None,
    ),
    "sigterm-in-the-middle": ("0", report(FAILED, False), INTERRUPTED, TOLD_TO_STOP),
    "runtimeout-in-the-middle": ("1", report(FAILED, False), FAILED, GAVE_UP),
    "a-cycle": ("1", report(FAILED, False, **TWO), FAILED, f"{GAVE_UP}: Exec[a], File[b]"),
    "sigterm-when-some-had-failed": ("0", report(FAILED, False, **TWO), INTERRUPTED, TOLD_TO_STOP),
    "sigterm-before-the-catalog": ("0", report(FAILED, False, counts=NO_CATALOG), INTERRUPTED, TOLD_TO_STOP),
    "changed-but-not-to-the-end": ("0", report(CHANGED, False), INTERRUPTED, TOLD_TO_STOP),
}


@pytest.mark.parametrize(("status", "told", "word", "reason"), WITH_REPORT.values(), ids=WITH_REPORT)
def test_with_a_report(status: str, told: Report, word: str, reason: Optional[str]) -> None:
    assert judge(facts(status, report=told)) == Verdict(word, reason)


MASTERLESS: dict[str, tuple[str, Report, str, Optional[str]]] = {
    "sigterm-in-the-middle": ("1", report(FAILED, False), INTERRUPTED, TOLD_TO_STOP),
    "a-cycle": ("1", report(FAILED, False, **TWO), FAILED, f"{GAVE_UP}: Exec[a], File[b]"),
    "nothing-begun": ("1", report(FAILED, False, counts=NO_CATALOG), FAILED, "no catalog was applied"),
}


@pytest.mark.parametrize(("status", "told", "word", "reason"), MASTERLESS.values(), ids=MASTERLESS)
def test_without_a_server(status: str, told: Report, word: str, reason: Optional[str]) -> None:
    known = facts(status, report=told, masterless=True, requested_environment="production")
    assert judge(known) == Verdict(word, reason)


ENVIRONMENT: dict[str, tuple[str, Report, str, Optional[str]]] = {
    "as-asked": ("2", report(CHANGED, environment="staging"), CHANGED, None),
    "assigned-by-the-server": ("2", report(CHANGED), CHANGED, "the server assigns environment production"),
    "not-told": ("2", report(CHANGED, environment=None), CHANGED, None),
    "unknown": ("1", report(FAILED, False, environment="staging", counts=NO_CATALOG), FAILED, OTHER_NAMED),
    "assigned-and-failed": ("4", report(FAILED), FAILED, "the server assigns environment production"),
    "assigned-and-resources-failed": ("4", report(FAILED, **TWO), FAILED, "Exec[a], File[b]"),
}


@pytest.mark.parametrize(("status", "told", "word", "reason"), ENVIRONMENT.values(), ids=ENVIRONMENT)
def test_with_an_environment_of_ones_own(status: str, told: Report, word: str, reason: Optional[str]) -> None:
    found = judge(facts(status, report=told, requested_environment="staging"))
    assert (found.word, (found.reason or "")[: len(reason or "")]) == (word, reason or "")


def killed(signal: str) -> dict[str, Any]:
    return {"exit_code": "killed", "exit_status": signal, "log_begun": True}


WITHOUT_REPORT: dict[str, tuple[dict[str, Any], str, str]] = {
    "lock-held": ({"exit_status": "1", "other_run": True}, BUSY, "another Puppet run was faster"),
    "disabled": (
        {"exit_status": "1", "disabled": "maintenance"},
        NOT_ATTEMPTED,
        "Puppet disabled: maintenance",
    ),
    "disabled-without-a-reason": (
        {"exit_status": "1", "disabled": ""},
        NOT_ATTEMPTED,
        "Puppet disabled: no reason given",
    ),
    "no-signed-certificate": (
        {"exit_status": "1"},
        NOT_ATTEMPTED,
        "Puppet exited with 1 before its run began",
    ),
    "daemonized-beside-the-service": (
        {"exit_status": "0"},
        NOT_ATTEMPTED,
        "Puppet exited with 0 before its run began",
    ),
    "sigkill": (killed("KILL"), INTERRUPTED, "Puppet was killed by SIGKILL"),
    "sigkill-and-somebody-elses-run": (
        {**killed("KILL"), "other_run": True},
        INTERRUPTED,
        "Puppet was killed by SIGKILL",
    ),
    "core-dump": ({**killed("SEGV"), "exit_code": "dumped"}, INTERRUPTED, "Puppet was killed by SIGSEGV"),
    "killed-before-puppet": (
        {"exit_code": "killed", "exit_status": "TERM"},
        NOT_ATTEMPTED,
        "killed by SIGTERM before Puppet began",
    ),
    "nobody-knows": (
        {"exit_code": "", "exit_status": "", "log_begun": True},
        INTERRUPTED,
        "how Puppet ended is not known",
    ),
}


@pytest.mark.parametrize(("known", "word", "reason"), WITHOUT_REPORT.values(), ids=WITHOUT_REPORT)
def test_without_a_report(known: dict[str, Any], word: str, reason: str) -> None:
    assert judge(facts(**known)) == Verdict(word, reason)


SPOILT: dict[str, tuple[str, str]] = {
    "stopped-or-unchanged": ("0", INTERRUPTED),
    "changed": ("2", CHANGED),
    "failed": ("4", FAILED),
    "failed-and-changed": ("6", FAILED),
    "no-catalog": ("1", FAILED),
}


@pytest.mark.parametrize(("status", "word"), SPOILT.values(), ids=SPOILT)
def test_with_a_report_that_is_not_whole(status: str, word: str) -> None:
    reason = "its report is missing or not whole"
    assert judge(facts(status, spoilt_report=True)) == Verdict(word, reason, unreported=True)


STOPPED = SUMMARY._replace(completed=False)
UNREPORTED: dict[str, tuple[str, Summary, str, Optional[str]]] = {
    "unchanged": ("0", SUMMARY, UNCHANGED, None),
    "changed": ("2", SUMMARY, CHANGED, None),
    "failed": ("4", SUMMARY, FAILED, "resources failed"),
    "failed-and-changed": ("6", SUMMARY, FAILED, "resources failed"),
    "no-catalog": ("1", STOPPED, FAILED, "no catalog was applied"),
    "a-cycle": ("1", STOPPED._replace(counts=counted(total=2, failed=2)), FAILED, "resources failed"),
    "stopped": ("0", STOPPED, INTERRUPTED, TOLD_TO_STOP),
}


@pytest.mark.parametrize(("status", "told", "word", "reason"), UNREPORTED.values(), ids=UNREPORTED)
def test_where_a_site_keeps_no_reports(status: str, told: Summary, word: str, reason: Optional[str]) -> None:
    assert judge(facts(status, summary=told)) == Verdict(word, reason, unreported=True)


@pytest.mark.parametrize(
    ("told", "word"),
    [
        pytest.param(SUMMARY, UNCHANGED, id="unchanged"),
        pytest.param(SUMMARY._replace(counts=counted(total=9, changed=1)), CHANGED, id="changed"),
        pytest.param(SUMMARY._replace(counts=counted(total=9, changed=1, failed=1)), FAILED, id="failed"),
        pytest.param(STOPPED, FAILED, id="not-to-its-end"),
    ],
)
def test_a_summary_alone_has_a_word(told: Summary, word: str) -> None:
    assert from_summary(told) == word


WORDS = (UNCHANGED, CHANGED, FAILED, INTERRUPTED, NOT_ATTEMPTED, BUSY)


@given(
    known=st.builds(
        Facts,
        exit_code=st.sampled_from(["exited", "killed", "dumped", ""]),
        exit_status=st.sampled_from(["0", "1", "2", "4", "6", "255", "TERM", ""]),
        report=st.none() | st.builds(report, st.sampled_from(STATUSES), st.booleans()),
        summary=st.none() | st.sampled_from([SUMMARY, STOPPED]),
        log_begun=st.booleans(),
        other_run=st.booleans(),
        disabled=st.sampled_from([None, "", "x"]),
        requested_environment=st.sampled_from([None, "production", "staging"]),
        spoilt_report=st.booleans(),
        masterless=st.booleans(),
    )
)
def test_nothing_is_called_good_that_nobody_has_said_was_done(known: Facts) -> None:
    word = judge(known).word
    assert word in WORDS
    if word in (UNCHANGED, CHANGED):
        by_report = known.report is not None and known.report.transaction_completed
        by_summary = known.summary is not None and known.exit_status in ("0", "2")
        # With --detailed-exitcodes nothing exits with 2 but a run that has changed something.
        by_status = known.exit_status == "2" and word == CHANGED
        assert by_report or (known.report is None and (by_summary or by_status))


def facts(exit_status: str = "0", **known: Any) -> Facts:
    defaults = {
        "exit_code": "exited",
        "report": None,
        "summary": None,
        "log_begun": False,
        "other_run": False,
        "disabled": None,
    }
    return Facts(**{**defaults, "exit_status": exit_status, **known})
