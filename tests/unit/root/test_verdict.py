"""The verdict for each outcome that was seen with a real Puppet, and its reason."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch.records import BUSY, CHANGED, FAILED, INTERRUPTED, NOT_ATTEMPTED, UNCHANGED, VERDICTS
from twitch.root.report import CATALOG, COUNTS, FACTS, STATUSES, Report, Summary
from twitch.root.verdict import Evidence, Verdict, from_summary, judge


def all_counts(**counts: int) -> dict[str, int]:
    return {**dict.fromkeys(COUNTS, 0), **counts}


BY = "cancelled by token:deploy"

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
    counts=all_counts(total=12),
    failed_resources=(),
)
SUMMARY = Summary(
    last_run=1769072702.0, completed=True, environment=None, duration_s=2.0, counts=all_counts(total=12)
)


def reported(status: str = UNCHANGED, completed: bool = True, **more: Any) -> Report:
    return REPORT._replace(status=status, transaction_completed=completed, **more)


NO_CATALOG = all_counts()
TOLD_TO_STOP = "Puppet was told to stop before it was done"
GAVE_UP = "Puppet gave up before the end of its catalog"
TWO: dict[str, Any] = {"failed_resources": ("Exec[a]", "File[b]"), "counts": all_counts(total=12, failed=2)}
MANY: dict[str, Any] = {
    "failed_resources": tuple(f"Exec[{i}]" for i in range(20)),
    "counts": all_counts(total=99, failed=42),
}
NO_STAGING = "no catalog of environment staging was applied"
CAUSES = "the server cannot be reached, does not know it, cannot compile it, or assigns another one"

# Exit status and report, as Puppet 7 and 8 end with --detailed-exitcodes and --onetime.
WITH_REPORT: dict[str, tuple[str, Report, str, Optional[str]]] = {
    "nothing-to-do": ("0", reported(), UNCHANGED, None),
    "changes": ("2", reported(CHANGED), CHANGED, None),
    "failed-resources": ("4", reported(FAILED, **TWO), FAILED, "Exec[a], File[b]"),
    "failed-resources-and-changes": ("6", reported(FAILED, **TWO), FAILED, "Exec[a], File[b]"),
    "many-failed-resources": (
        "4",
        reported(FAILED, **MANY),
        FAILED,
        "Exec[0], Exec[1], Exec[2], Exec[3], Exec[4] and 37 more",
    ),
    "one-more-failed-resource": (
        "4",
        reported(FAILED, **{**MANY, "counts": all_counts(total=99, failed=6)}),
        FAILED,
        "Exec[0], Exec[1], Exec[2], Exec[3], Exec[4] and 1 more",
    ),
    "noop-with-pending-changes": ("0", reported(noop=True, noop_pending=True), UNCHANGED, None),
    "a-tag-that-matches-nothing": ("0", reported(), UNCHANGED, None),
    "compile-error": ("1", reported(FAILED, False, counts=NO_CATALOG), FAILED, "no catalog was applied"),
    "server-unreachable-and-cached-catalog": (
        "0",
        reported(cached_catalog_status="on_failure"),
        UNCHANGED,
        None,
    ),
    "sigterm-in-the-middle": ("0", reported(FAILED, False), INTERRUPTED, TOLD_TO_STOP),
    "runtimeout-in-the-middle": ("1", reported(FAILED, False), FAILED, GAVE_UP),
    "a-cycle": ("1", reported(FAILED, False, **TWO), FAILED, f"{GAVE_UP}: Exec[a], File[b]"),
    "sigterm-when-some-had-failed": ("0", reported(FAILED, False, **TWO), INTERRUPTED, TOLD_TO_STOP),
    "sigterm-before-the-catalog": (
        "0",
        reported(FAILED, False, counts=NO_CATALOG),
        INTERRUPTED,
        TOLD_TO_STOP,
    ),
    # A resource that could not generate others is counted nowhere, and the exit status knows nothing of it.
    "generation-failed": (
        "2",
        reported(FAILED, error_sources=("/Stage[main]/Main/Genfail[x]",)),
        FAILED,
        "error of /Stage[main]/Main/Genfail[x]",
    ),
    "generation-failed-and-nothing-changed": (
        "0",
        reported(FAILED, error_sources=tuple(f"/Stage[main]/Main/Genfail[{i}]" for i in range(7))),
        FAILED,
        "error of " + ", ".join(f"/Stage[main]/Main/Genfail[{i}]" for i in range(5)) + " and 2 more",
    ),
    "failed-for-no-known-reason": ("2", reported(FAILED), FAILED, "Puppet exited with 2"),
    "changed-but-not-to-the-end": ("0", reported(CHANGED, False), INTERRUPTED, TOLD_TO_STOP),
}


@pytest.mark.parametrize(("status", "report", "word", "reason"), WITH_REPORT.values(), ids=WITH_REPORT)
def test_verdict_with_a_report(status: str, report: Report, word: str, reason: Optional[str]) -> None:
    assert judge(evidence(status, report=report)) == Verdict(word, reason)


MASTERLESS: dict[str, tuple[str, Report, str, Optional[str]]] = {
    "sigterm-in-the-middle": ("1", reported(FAILED, False), INTERRUPTED, TOLD_TO_STOP),
    "a-cycle": ("1", reported(FAILED, False, **TWO), FAILED, f"{GAVE_UP}: Exec[a], File[b]"),
    "nothing-begun": ("1", reported(FAILED, False, counts=NO_CATALOG), FAILED, "no catalog was applied"),
}


@pytest.mark.parametrize(("status", "report", "word", "reason"), MASTERLESS.values(), ids=MASTERLESS)
def test_verdict_without_a_server(status: str, report: Report, word: str, reason: Optional[str]) -> None:
    masterless = evidence(status, report=report, masterless=True, requested_environment="production")
    assert judge(masterless) == Verdict(word, reason)


ENVIRONMENT: dict[str, tuple[str, Report, str, Optional[str]]] = {
    "as-asked": ("2", reported(CHANGED, environment="staging"), CHANGED, None),
    "assigned-by-the-server": ("2", reported(CHANGED), CHANGED, "the server assigns environment production"),
    "not-reported": ("2", reported(CHANGED, environment=None), CHANGED, None),
    "unknown": (
        "1",
        reported(FAILED, False, environment="staging", counts=NO_CATALOG),
        FAILED,
        NO_STAGING,
    ),
    "asked-for-and-not-given": (
        "1",
        reported(FAILED, False, environment="staging", counts=NO_CATALOG, stages=(FACTS,)),
        FAILED,
        f"{NO_STAGING}; {CAUSES}",
    ),
    # prerun_command, which runs when the catalog is there.
    "given-and-not-applied": (
        "1",
        reported(FAILED, False, environment="staging", counts=NO_CATALOG, stages=(FACTS, CATALOG)),
        FAILED,
        NO_STAGING,
    ),
    "cached-catalog-of-another-one": (
        "1",
        reported(
            FAILED,
            False,
            environment="staging",
            counts=NO_CATALOG,
            stages=(FACTS,),
            cached_catalog_status="explicitly_requested",
        ),
        FAILED,
        NO_STAGING,
    ),
    "assigned-and-failed": ("4", reported(FAILED), FAILED, "the server assigns environment production"),
    "assigned-and-resources-failed": ("4", reported(FAILED, **TWO), FAILED, "Exec[a], File[b]"),
}


@pytest.mark.parametrize(("status", "report", "word", "reason"), ENVIRONMENT.values(), ids=ENVIRONMENT)
def test_verdict_with_a_requested_environment(
    status: str, report: Report, word: str, reason: Optional[str]
) -> None:
    verdict = judge(evidence(status, report=report, requested_environment="staging"))
    assert verdict == Verdict(word, reason)


def killed(signal: str) -> dict[str, Any]:
    return {"exit_code": "killed", "exit_status": signal, "begun": True}


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
    "killed-and-nobody-knows-when": (
        {"exit_code": "killed", "exit_status": "KILL", "begun": None},
        INTERRUPTED,
        "Puppet was killed by SIGKILL",
    ),
    "no-signed-certificate": (
        {"exit_status": "1", "unsigned": "node.example.com"},
        NOT_ATTEMPTED,
        "this node has no signed certificate; sign it on the server: "
        "puppetserver ca sign --certname node.example.com",
    ),
    "no-signed-certificate-and-no-name": (
        {"exit_status": "1", "unsigned": ""},
        NOT_ATTEMPTED,
        "this node has no signed certificate; sign it on the server: puppetserver ca sign",
    ),
    "no-certificate-and-none-of-the-ca": (
        {"exit_status": "1", "unsigned": "node.example.com", "without_ca": True},
        NOT_ATTEMPTED,
        "this node has no certificate, and has not fetched the CA's from the puppetserver; without a"
        " puppetserver, set [puppet] command = apply",
    ),
    "no-signed-certificate-and-disabled": (
        {"exit_status": "1", "unsigned": "node", "disabled": ""},
        NOT_ATTEMPTED,
        "Puppet disabled: no reason given",
    ),
    "invalid-option": (
        {"exit_status": "1"},
        NOT_ATTEMPTED,
        "Puppet exited with 1 before its run began",
    ),
    # As with `server` alone, where Puppet writes a report.
    "no-server-of-the-server-list": (
        {"exit_status": "1", "locked": True, "error_logged": True},
        FAILED,
        "no catalog was applied",
    ),
    "no-server-of-the-server-list-for-an-environment": (
        {"exit_status": "1", "locked": True, "error_logged": True, "requested_environment": "staging"},
        FAILED,
        "no catalog of environment staging was applied",
    ),
    "masterless-and-does-not-compile": (
        {"exit_status": "1", "masterless": True, "error_logged": True},
        FAILED,
        "no catalog was applied",
    ),
    "lock-and-no-error": (
        {"exit_status": "1", "locked": True},
        NOT_ATTEMPTED,
        "Puppet exited with 1 before its run began",
    ),
    "error-before-the-lock": (
        {"exit_status": "1", "error_logged": True},
        NOT_ATTEMPTED,
        "Puppet exited with 1 before its run began",
    ),
    "masterless-and-a-changed-directory": (
        {"exit_status": "1", "masterless": True, "locked": True},
        NOT_ATTEMPTED,
        "Puppet exited with 1 before its run began",
    ),
    "daemonized-beside-the-service": (
        {"exit_status": "0"},
        NOT_ATTEMPTED,
        "Puppet exited with 0 before its run began",
    ),
    "sigkill": (killed("KILL"), INTERRUPTED, "Puppet was killed by SIGKILL"),
    "sigkill-and-another-run": (
        {**killed("KILL"), "other_run": True},
        INTERRUPTED,
        "Puppet was killed by SIGKILL",
    ),
    "core-dump": ({**killed("SEGV"), "exit_code": "dumped"}, INTERRUPTED, "Puppet was killed by SIGSEGV"),
    "killed-before-puppet": (
        {"exit_code": "killed", "exit_status": "TERM", "begun": False},
        NOT_ATTEMPTED,
        "killed by SIGTERM before Puppet began",
    ),
    "not-known": (
        {"exit_code": "", "exit_status": "", "begun": True},
        INTERRUPTED,
        "how Puppet ended is not known",
    ),
}


@pytest.mark.parametrize(("fields", "word", "reason"), WITHOUT_REPORT.values(), ids=WITHOUT_REPORT)
def test_verdict_without_a_report(fields: dict[str, Any], word: str, reason: str) -> None:
    assert judge(evidence(**fields)) == Verdict(word, reason)


SPOILT: dict[str, tuple[str, str]] = {
    "stopped-or-unchanged": ("0", INTERRUPTED),
    "changed": ("2", CHANGED),
    "failed": ("4", FAILED),
    "failed-and-changed": ("6", FAILED),
    "no-catalog": ("1", FAILED),
}


@pytest.mark.parametrize(("status", "word"), SPOILT.values(), ids=SPOILT)
def test_verdict_with_a_report_that_is_not_whole(status: str, word: str) -> None:
    reason = "its report is missing or not whole"
    assert judge(evidence(status, spoilt_report=True)) == Verdict(word, reason, unreported=True)


STOPPED = SUMMARY._replace(completed=False)
UNREPORTED: dict[str, tuple[str, Summary, str, Optional[str]]] = {
    "unchanged": ("0", SUMMARY, UNCHANGED, None),
    "changed": ("2", SUMMARY, CHANGED, None),
    "failed": ("4", SUMMARY, FAILED, "resources failed"),
    "failed-and-changed": ("6", SUMMARY, FAILED, "resources failed"),
    "no-catalog": ("1", STOPPED, FAILED, "no catalog was applied"),
    "a-cycle": ("1", STOPPED._replace(counts=all_counts(total=2, failed=2)), FAILED, "resources failed"),
    "stopped": ("0", STOPPED, INTERRUPTED, TOLD_TO_STOP),
}
SOURCES = ("/Stage[main]/Main/Genfail[x]",)


@pytest.mark.parametrize("status", ["0", "2"])
@pytest.mark.parametrize("summary", [SUMMARY, None])
def test_run_without_a_report_is_not_complete_if_a_resource_has_logged_an_error(
    status: str, summary: Optional[Summary]
) -> None:
    verdict = judge(evidence(status, summary=summary, error_logged=True, error_sources=SOURCES))
    if status == "0" and summary is None:
        assert verdict.word == NOT_ATTEMPTED
    else:
        assert verdict == Verdict(FAILED, "error of /Stage[main]/Main/Genfail[x]", unreported=True)


def test_errors_of_facter_and_of_changes_do_not_fail_a_run_without_a_report() -> None:
    # `loglevel => err` in a manifest, a custom fact that raises, a report that cannot be sent.
    assert judge(evidence("2", summary=SUMMARY, error_logged=True)) == Verdict(CHANGED, None, unreported=True)


def test_environment_that_was_asked_for_is_told_by_the_summary() -> None:
    stopped = STOPPED._replace(stages=(FACTS,))
    verdict = judge(evidence("1", summary=stopped, requested_environment="staging"))
    assert verdict == Verdict(FAILED, f"{NO_STAGING}; {CAUSES}", unreported=True)


@pytest.mark.parametrize(("status", "summary", "word", "reason"), UNREPORTED.values(), ids=UNREPORTED)
def test_verdict_by_the_summary(status: str, summary: Summary, word: str, reason: Optional[str]) -> None:
    assert judge(evidence(status, summary=summary)) == Verdict(word, reason, unreported=True)


@pytest.mark.parametrize(
    ("summary", "word"),
    [
        pytest.param(SUMMARY, UNCHANGED, id="unchanged"),
        pytest.param(SUMMARY._replace(counts=all_counts(total=9, changed=1)), CHANGED, id="changed"),
        pytest.param(SUMMARY._replace(counts=all_counts(total=9, changed=1, failed=1)), FAILED, id="failed"),
        pytest.param(STOPPED, FAILED, id="not-to-its-end"),
    ],
)
def test_verdict_by_the_summary_alone(summary: Summary, word: str) -> None:
    assert from_summary(summary) == word


@given(
    known=st.builds(
        Evidence,
        exit_code=st.sampled_from(["exited", "killed", "dumped", ""]),
        exit_status=st.sampled_from(["0", "1", "2", "4", "6", "255", "TERM", ""]),
        report=st.none() | st.builds(reported, st.sampled_from(STATUSES), st.booleans()),
        summary=st.none() | st.sampled_from([SUMMARY, STOPPED]),
        begun=st.none() | st.booleans(),
        other_run=st.booleans(),
        disabled=st.sampled_from([None, "", "x"]),
        requested_environment=st.sampled_from([None, "production", "staging"]),
        spoilt_report=st.booleans(),
        masterless=st.booleans(),
        unsigned=st.sampled_from([None, "", "node"]),
        without_ca=st.booleans(),
        locked=st.booleans(),
        error_logged=st.booleans(),
        error_sources=st.sampled_from([(), ("/Stage[main]/Main/Genfail[x]",)]),
        cancelled=st.sampled_from([None, BY]),
    )
)
def test_good_verdict_needs_a_report_a_summary_or_an_exit_status(known: Evidence) -> None:
    word = judge(known).word
    assert word in VERDICTS
    if word in (UNCHANGED, CHANGED):
        by_report = known.report is not None and known.report.transaction_completed
        by_summary = known.summary is not None and known.exit_status in ("0", "2")
        # With --detailed-exitcodes Puppet exits 2 only after a run that has changed something.
        by_status = known.exit_status == "2" and word == CHANGED
        assert known.report is not None or not known.error_sources
        assert by_report or (known.report is None and (by_summary or by_status))


def evidence(exit_status: str = "0", **fields: Any) -> Evidence:
    defaults = {
        "exit_code": "exited",
        "report": None,
        "summary": None,
        "begun": None,
        "other_run": False,
        "disabled": None,
    }
    return Evidence(**{**defaults, "exit_status": exit_status, **fields})  # ---- runs that were cancelled


INCOMPLETE = reported(FAILED, completed=False)

CANCELLED: dict[str, tuple[dict[str, Any], str, Optional[str]]] = {
    "stopped": ({"report": INCOMPLETE}, INTERRUPTED, BY),
    # Without a cancel, Puppet gave up.
    "stopped-with-status-1": ({"report": INCOMPLETE, "exit_status": "1"}, INTERRUPTED, BY),
    "killed-after-its-time": ({"exit_code": "killed", "exit_status": "KILL", "begun": True}, INTERRUPTED, BY),
    "killed-before-it-began": (
        {"exit_code": "killed", "exit_status": "TERM", "begun": False},
        NOT_ATTEMPTED,
        BY,
    ),
    # Ruby has made an error of the signal.
    "ruby-loads-code": ({"exit_status": "1", "error_logged": True}, NOT_ATTEMPTED, BY),
    "ruby-loads-code-under-the-lock": (
        {"exit_status": "1", "error_logged": True, "locked": True},
        INTERRUPTED,
        BY,
    ),
    "puppet-apply-loads-code": (
        {"exit_status": "1", "error_logged": True, "masterless": True},
        INTERRUPTED,
        BY,
    ),
    "end-not-seen": ({"exit_code": "", "exit_status": ""}, INTERRUPTED, BY),
    "no-reports-kept": ({"summary": STOPPED, "exit_status": "1"}, INTERRUPTED, BY),
    "no-reports-kept-and-an-error": (
        {"summary": STOPPED, "exit_status": "0", "error_sources": ("Exec[a]",)},
        INTERRUPTED,
        BY,
    ),
    "report-cut-short": ({"spoilt_report": True, "exit_status": "1"}, INTERRUPTED, BY),
    # It was complete before the signal arrived.
    "complete": ({"report": reported(CHANGED), "exit_status": "2"}, CHANGED, None),
    "complete-and-failed": (
        {"report": reported(FAILED, failed_resources=("Exec[a]",)), "exit_status": "4"},
        FAILED,
        "Exec[a]",
    ),
    # It would not have begun all the same.
    "disabled": ({"exit_status": "1", "disabled": "x"}, NOT_ATTEMPTED, "Puppet disabled: x"),
    "another-was-faster": ({"exit_status": "1", "other_run": True}, BUSY, "another Puppet run was faster"),
}


@pytest.mark.parametrize(("fields", "word", "reason"), CANCELLED.values(), ids=CANCELLED)
def test_verdict_on_a_cancelled_run(fields: dict[str, Any], word: str, reason: Optional[str]) -> None:
    judged = judge(evidence(**{"cancelled": BY, **fields}))
    assert (judged.word, judged.reason) == (word, reason)
