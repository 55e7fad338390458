"""Judge what became of a run: the rules, applied to what root/evidence.py has gathered.

Puppet's exit status is ambiguous: 0 also after SIGTERM in the middle of a catalog, 1 for anything from a
compile error to a lock that another Puppet holds. So the report decides, if there is one that is known
to be this run's. Beside a report the exit status matters in two places: it distinguishes a run that was
stopped from one that Puppet gave up, and it shows that a postrun_command failed. Without a report the
exit status decides, with the summary if there is one; and with the errors in the journal, because neither of
them counts a resource that could not generate others.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from twitch.records import BUSY, CHANGED, FAILED, INTERRUPTED, NOT_ATTEMPTED, UNCHANGED
from twitch.root.report import CATALOG, FACTS, Report, Summary

# --detailed-exitcodes
BY_EXIT_STATUS = {"0": UNCHANGED, "2": CHANGED, "4": FAILED, "6": FAILED}
SPOILT = "its report is missing or not whole"
STOPPED = "Puppet was told to stop before it was done"
# Puppet's texts about a server that cannot be reached are translated, so the log has the cause.
NO_CA = (
    "this node has no certificate, and has not fetched the CA's from the puppetserver;"
    " without a puppetserver, set [puppet] command = apply"
)


class Evidence(NamedTuple):
    """What Puppet has left of a run that has ended."""

    exit_code: str  # $EXIT_CODE of systemd.exec(5): exited, killed, dumped; '' if it is not known
    exit_status: str  # $EXIT_STATUS: a number, or the name of a signal
    report: Optional[Report]  # only if it is this run's
    summary: Optional[Summary]  # only if it was written since this run began
    begun: Optional[bool]  # Puppet has taken its run lock, and left it; None if that cannot be known
    other_run: bool  # another Puppet holds the lock, or has written a report since this run began
    disabled: Optional[str]  # why the agent is disabled, '' if no reason was given
    requested_environment: Optional[str] = None
    spoilt_report: bool = False  # a report has been written since this run began, and is not whole
    masterless: bool = False  # `puppet apply`
    unsigned: Optional[str] = None  # the name of this node, if it has no signed certificate
    without_ca: bool = False  # it has not fetched the CA's certificate either, which an agent does first
    locked: bool = False  # the directory of the run lock has changed since this run began
    error: Optional[str] = None  # Puppet's text; only for the record
    error_logged: bool = False  # the journal has an error of this run; not looked for if there is a report
    error_sources: tuple[str, ...] = ()  # of errors that belong to no change of a resource
    cancelled: Optional[str] = None  # `cancelled by NAME`, if it was


class Verdict(NamedTuple):
    """One word of records.VERDICTS, and a reason where the word is not enough.

    The reason is in our words, or names resources. It has none of Puppet's error texts, which only a caller
    with the grant `logs` may read.
    """

    word: str
    reason: Optional[str] = None
    unreported: bool = False


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict on a run."""
    if evidence.report:
        return _by_report(evidence, evidence.report)
    if not evidence.exit_code:
        return Verdict(INTERRUPTED, evidence.cancelled or "how Puppet ended is not known")
    if evidence.exit_code != "exited":
        if evidence.begun is False:
            killed = f"killed by SIG{evidence.exit_status} before Puppet began"
            return Verdict(NOT_ATTEMPTED, evidence.cancelled or killed)
        return Verdict(INTERRUPTED, evidence.cancelled or f"Puppet was killed by SIG{evidence.exit_status}")
    if evidence.summary:
        return _by_summary(evidence, evidence.summary)
    if evidence.exit_status in BY_EXIT_STATUS and evidence.exit_status != "0":
        # Puppet exits 2, 4 or 6 only after a run.
        if evidence.error_sources:
            return Verdict(FAILED, _errors(evidence.error_sources), unreported=True)
        return Verdict(BY_EXIT_STATUS[evidence.exit_status], SPOILT, unreported=True)
    if evidence.spoilt_report and evidence.cancelled:
        return Verdict(INTERRUPTED, evidence.cancelled, unreported=True)
    if evidence.spoilt_report:
        return Verdict(INTERRUPTED if evidence.exit_status == "0" else FAILED, SPOILT, unreported=True)
    if evidence.other_run:
        return Verdict(BUSY, "another Puppet run was faster")
    if evidence.disabled is not None:
        return Verdict(NOT_ATTEMPTED, f"Puppet disabled: {evidence.disabled or 'no reason given'}")
    if evidence.without_ca:
        return Verdict(NOT_ATTEMPTED, NO_CA)
    if evidence.unsigned is not None:
        name = f" --certname {evidence.unsigned}" if evidence.unsigned else ""
        return Verdict(
            NOT_ATTEMPTED,
            f"this node has no signed certificate; sign it on the server: puppetserver ca sign{name}",
        )
    # An agent without a server (`server_list`), and a manifest that does not compile, end without a report
    # and without a summary. An agent has taken its lock then; `puppet apply` takes none.
    taken = evidence.locked or evidence.masterless
    if evidence.cancelled:
        # Ruby makes an ordinary error of a SIGTERM that arrives while it loads code: exit status 1, and texts
        # such as `Could not autoload …: SIGTERM` (seen with 7.23, 8.10 and OpenVox 9.0 rc1).
        return Verdict(INTERRUPTED if taken else NOT_ATTEMPTED, evidence.cancelled)
    if evidence.exit_status == "1" and evidence.error_logged and taken:
        return Verdict(FAILED, _no_catalog(evidence))
    return Verdict(NOT_ATTEMPTED, f"Puppet exited with {evidence.exit_status} before its run began")


def _by_report(evidence: Evidence, report: Report) -> Verdict:
    if not report.transaction_completed:
        return _incomplete(evidence, report)
    if report.status == FAILED:
        reason = failed_resources(report) or _errors(report.error_sources) or _environment(evidence, report)
        return Verdict(FAILED, reason or f"Puppet exited with {evidence.exit_status or 'an unknown status'}")
    if evidence.exit_code == "exited" and evidence.exit_status not in ("0", "2"):
        # A postrun_command that failed is in no report (configurer.rb, run_internal), only in this status.
        return Verdict(FAILED, f"Puppet exited with {evidence.exit_status} after its catalog was applied")
    return Verdict(report.status, _environment(evidence, report))


def _incomplete(evidence: Evidence, report: Report) -> Verdict:
    """Return the verdict on a run whose report is not completed: it was stopped, or Puppet gave up.

    Puppet gives up without a catalog, with a cycle in it, or after `runtimeout`. An agent that is told to
    stop exits 0 or dies of the signal; an agent that gives up exits 1. `puppet apply` exits 1 for both, but
    when it gives up, resources have failed (after a cycle: all that are in it).
    """
    failed, begun = failed_resources(report), report.counts.get("total", 0) > 0
    stopped = evidence.exit_code != "exited" or evidence.exit_status == "0"
    if stopped or evidence.cancelled or (evidence.masterless and begun and not failed):
        return Verdict(INTERRUPTED, evidence.cancelled or STOPPED)
    if failed or begun:
        return Verdict(
            FAILED, f"Puppet gave up before the end of its catalog{f': {failed}' if failed else ''}"
        )
    # With a cached catalog the server was not asked for one.
    stages = report.stages if report.cached_catalog_status in (None, "not_used") else ()
    return Verdict(FAILED, _environment(evidence, report) or _no_catalog(evidence, stages))


def _by_summary(evidence: Evidence, summary: Summary) -> Verdict:
    """Return the verdict where a site keeps no reports (`report = false`).

    The exit status decides, because the summary shows that the run has begun and ended.
    """
    if evidence.cancelled and not summary.completed:
        return Verdict(INTERRUPTED, evidence.cancelled, unreported=True)
    word = BY_EXIT_STATUS.get(evidence.exit_status, FAILED)
    if word != FAILED and evidence.error_sources:
        return Verdict(FAILED, _errors(evidence.error_sources), unreported=True)
    if word == UNCHANGED and not summary.completed:
        return Verdict(INTERRUPTED, STOPPED, unreported=True)
    if word == FAILED:
        failed = summary.completed or summary.counts.get("failed")
        reason = "resources failed" if failed else _no_catalog(evidence, summary.stages)
        return Verdict(FAILED, reason, unreported=True)
    return Verdict(word, unreported=True)


def from_report(report: Report) -> tuple[str, Optional[str]]:
    """Return the verdict on a run of which there is only the report, and its reason if it has failed."""
    if report.transaction_completed and report.status != FAILED:
        return report.status, None
    reason = failed_resources(report) or _errors(report.error_sources)
    if report.transaction_completed:
        return FAILED, reason
    begun = report.counts.get("total", 0) > 0
    incomplete = "Puppet ended before the end of its catalog" if begun else "no catalog was applied"
    return FAILED, f"{incomplete}{f': {reason}' if reason else ''}"


def from_summary(summary: Summary) -> str:
    """Return the verdict on a run of which there is only the summary, without an exit status."""
    if summary.counts.get("failed") or not summary.completed:
        return FAILED
    return CHANGED if summary.counts.get("changed") else UNCHANGED


def failed_resources(report: Report) -> Optional[str]:
    """Return the names of the resources that have failed, the first five; None if there is none."""
    if not report.failed_resources:
        return None
    named = ", ".join(report.failed_resources[:5])
    more = report.counts.get("failed", 0) - len(report.failed_resources[:5])
    return f"{named} and {more} more" if more > 0 else named


def _errors(sources: tuple[str, ...]) -> Optional[str]:
    """Return the reason of a failure that is counted for no resource; None if no resource has an error."""
    if not sources:
        return None
    more = len(sources) - len(sources[:5])
    return f"error of {', '.join(sources[:5])}{f' and {more} more' if more else ''}"


def _no_catalog(evidence: Evidence, stages: tuple[str, ...] = ()) -> str:
    """Return that nothing was applied, and why if that can be seen.

    Only a text of Puppet says why, and texts are not parsed. But an agent that has gathered its facts and has
    no catalog has asked the server for one. `stages` are the stages that the run has gone through.

    With an environment that the server does not know, Puppet 7.23 and 8.10 end before they gather facts,
    because we set --strict_environment_mode. Puppet 7 before PUP-11440 (2022) still asks for the catalog.
    """
    if not evidence.requested_environment or evidence.masterless:
        return "no catalog was applied"
    text = f"no catalog of environment {evidence.requested_environment} was applied"
    if FACTS in stages and CATALOG not in stages:
        text += "; the server cannot be reached, does not know it, cannot compile it, or assigns another one"
    return text


def _environment(evidence: Evidence, report: Report) -> Optional[str]:
    if evidence.requested_environment and report.environment not in (None, evidence.requested_environment):
        return f"the server assigns environment {report.environment}"
    return None
