"""Root, after the run: gather what Puppet left, judge it, and put the verdict on record.

ExecStopPost= of the run's unit, so it comes also after a crash, a timeout and a failed start. It
needs neither Puppet nor the configuration: the run may have removed both.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import traceback
from typing import Any, Optional

from twitch import runs
from twitch.root import journal, locks, verdict
from twitch.root import report as reports
from twitch.root.report import Report
from twitch.root.settings import SETTINGS, Settings


def main() -> None:
    """Conclude the run of this invocation; without one (a status, a refusal) there is nothing to do."""
    store, run = runs.Store(), os.environ.get("INVOCATION_ID", "")
    if not store.read(run):
        return
    with store.concluding():
        record = store.read(run)
        if record and record["state"] != runs.FINISHED:
            conclude(store, record, os.environ.get("EXIT_CODE", ""), os.environ.get("EXIT_STATUS", ""))


def abandoned(store: runs.Store, claim: runs.Claim) -> None:
    """Conclude a run whose own conclude was killed: how its process ended is not known any more."""
    with store.concluding():
        record = store.read(claim.run)
        try:
            if record and record["state"] != runs.FINISHED:
                conclude(store, record, "", "")
        except OSError:
            raise  # a full disk, say: the verdict is kept for later
        except Exception:
            # This stands before every answer of the handler, so nothing that an older version has
            # written, or somebody has spoilt, may keep it from coming to an end.
            traceback.print_exc()
            reason = "how it ended cannot be read; the journal says why"
            end = {
                "state": runs.FINISHED,
                "ended": time.time(),
                "verdict": runs.INTERRUPTED,
                "reason": reason,
            }
            store.write({"run": claim.run, "asked": time.time(), **end})
        _let_go(store, claim.run, time.time())


def conclude(store: runs.Store, record: runs.Record, exit_code: str, exit_status: str) -> None:
    """Write the verdict into the record, the end into current.json, one event into the journal."""
    run = record["run"]
    now = time.time()
    facts = None
    if record["state"] == runs.QUEUED:
        judged = verdict.Verdict(runs.NOT_ATTEMPTED, record.get("reason") or "stopped while it waited")
    else:
        told = record["settings"]  # by the version that began the run
        settings = Settings(**{name: told.get(name, "") for name in SETTINGS})
        facts = _facts(store, record, settings, exit_code, exit_status)
        judged = verdict.judge(facts)
        if record["command"] == "apply":
            _hand_over(store.report_path(run), settings.lastrunreport)
    good = judged.word in runs.GOOD
    finished = {
        **{key: value for key, value in record.items() if key not in ("settings", "command")},
        "state": runs.FINISHED,
        "ended": now,
        # The clock may have been set back meanwhile.
        "duration_s": max(0.0, round(now - record["started"], 1)) if record["started"] else None,
        "exit_status": exit_status,
        "verdict": judged.word,
        "reason": record.get("reason") or judged.reason,
        "error": None if good else reports.first_error(store.log_path(run)),
        "unreported": judged.unreported,
        **(_told(record, facts) if facts else {}),
    }
    store.write(finished)
    _let_go(store, run, now)
    _log(finished)
    store.prune()


def _let_go(store: runs.Store, run: str, ended: float) -> None:
    with store.locked():
        current, queued = store.current(), store.queue_claim()
        if current and current.run == run and current.ended is None:
            store.claim_current(current._replace(ended=ended))
        if queued and queued.run == run:
            store.leave_queue()


def _facts(
    store: runs.Store,
    record: runs.Record,
    settings: Settings,
    exit_code: str,
    exit_status: str,
) -> verdict.Facts:
    run, started = record["run"], record["started"]
    report = _report_of(store, record, settings)
    summary = reports.read_summary(settings.lastrunfile)
    # It has whole seconds only: alone it could be of the run before, that ended in the same one.
    fresh = summary and summary.last_run is not None and summary.last_run >= int(started)
    fresh = fresh and reports.written_since(settings.lastrunfile, started)
    left = not report and reports.written_since(settings.lastrunreport, started)
    other_report = left and reports.read(settings.lastrunreport) is not None
    return verdict.Facts(
        exit_code=exit_code,
        exit_status=exit_status,
        report=report,
        summary=summary if fresh and not other_report else None,
        log_begun=os.path.exists(store.log_path(run)),
        spoilt_report=left and not other_report,
        other_run=other_report or bool(locks.run_lock_holder(settings.agent_catalog_run_lockfile)),
        disabled=locks.disabled_reason(settings.agent_disabled_lockfile),
        requested_environment=record["options"]["environment"],
        masterless=record["command"] == "apply",
    )


def _report_of(store: runs.Store, record: runs.Record, settings: Settings) -> Optional[Report]:
    """The report that is known to be this run's: by the job id, or by a path that only it was told."""
    if record["command"] == "apply":
        return reports.read(store.report_path(record["run"]))
    report = reports.read(settings.lastrunreport)
    return report if report and report.job_id == record["run"] else None


def _hand_over(private: str, usual: str) -> None:
    """Put the report where the site's tools look for it, as Puppet would have (0640, by rename)."""
    temporary = f"{usual}.puppet-twitch"
    try:
        with open(private, "rb") as source, open(_create(temporary), "wb") as target:
            shutil.copyfileobj(source, target)
        os.rename(temporary, usual)
        os.unlink(private)
    except OSError:
        # Puppet wrote none, or the run has removed Puppet's directories, or the disk is full: the
        # verdict must not depend on it.
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _create(path: str) -> int:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640)


def _told(record: runs.Record, facts: verdict.Facts) -> dict[str, Any]:
    """What Puppet says about the run, in its report, or in its summary where a site keeps no reports."""
    report, summary = facts.report, facts.summary
    if not report:
        noop = {"noop": True} if record["options"]["noop"] else {}
        counted = {"counts": summary.counts, "environment": summary.environment} if summary else {}
        return {**noop, **counted}
    return {
        "noop": report.noop,
        "noop_pending": report.noop_pending,
        "environment": report.environment,
        "cached_catalog_status": report.cached_catalog_status,
        "counts": report.counts,
        "failed_resources": list(report.failed_resources),
    }


def _log(record: runs.Record) -> None:
    counts, reason = record.get("counts", {}), record["reason"]
    journal.event(
        journal.ENDED,
        f"run {record['run']} of {record['caller']}: {record['verdict']}{f': {reason}' if reason else ''}",
        priority=journal.NOTICE if record["verdict"] in runs.GOOD else journal.WARNING,
        run=record["run"],
        caller=record["caller"],
        client=record["client"],
        verdict=record["verdict"],
        reason=reason,
        exit_status=record["exit_status"],
        changed=counts.get("changed"),
        failed=counts.get("failed"),
        duration_s=record["duration_s"],
    )
