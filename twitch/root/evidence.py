"""What Puppet has left of a run that has ended: report, summary, locks, certificates, errors in the journal.

The rules of the verdict (root/verdict.py) are applied to it.
"""

from __future__ import annotations

import os
from typing import Optional

from twitch.records import Record
from twitch.root import error_text, files, journal_reader, puppet_locks
from twitch.root import report as reports
from twitch.root.report import Report
from twitch.root.settings import Settings
from twitch.root.store import Store
from twitch.root.verdict import Evidence


def gather(store: Store, record: Record, settings: Settings, exit_code: str, exit_status: str) -> Evidence:
    """Return what Puppet has left of a run that has ended."""
    started = record.started or 0.0
    report = _report_of(store, record, settings)
    rewritten = not report and reports.written_since(settings.lastrunreport, started)
    other_report = rewritten and reports.read(settings.lastrunreport) is not None
    summary = None
    if not other_report and reports.written_since(settings.lastrunfile, started):
        summary = reports.read_summary(settings.lastrunfile)
    # last_run is in whole seconds: the previous run may have ended in the second in which this one began.
    if summary and (summary.last_run or 0) < int(started):
        summary = None
    pid, masterless = _pid(store, record), record.command == "apply"
    entries = [] if report else journal_reader.errors(record.run, pid)
    sources = (
        error_text.name(entry.source) for entry in entries if error_text.outside_of_changes(entry.source)
    )
    has_ca = masterless or not settings.localcacert or os.path.exists(settings.localcacert)
    has_certificate = masterless or not settings.hostcert or os.path.exists(settings.hostcert)
    return Evidence(
        exit_code=exit_code,
        exit_status=exit_status,
        report=report,
        summary=summary,
        begun=_begun(record, settings, pid),
        spoilt_report=rewritten and not other_report,
        other_run=other_report or bool(puppet_locks.run_lock_holder(settings.agent_catalog_run_lockfile)),
        disabled=puppet_locks.disabled_reason(settings.agent_disabled_lockfile),
        requested_environment=record.options.environment,
        masterless=masterless,
        unsigned=None if has_certificate else settings.certname,
        without_ca=not has_ca and not has_certificate,
        locked=reports.written_since(os.path.dirname(settings.agent_catalog_run_lockfile), started),
        error=report.error if report else error_text.error(entries),
        error_logged=bool(entries),
        error_sources=tuple(dict.fromkeys(sources)),
    )


def _pid(store: Store, record: Record) -> Optional[int]:
    """Return the process that became Puppet for a run, if it is known."""
    claim = store.claims.current()
    return claim.pid if claim and claim.run == record.run else None


def _begun(record: Record, settings: Settings, pid: Optional[int]) -> Optional[bool]:
    """Return whether Puppet had begun when it was killed; None if that cannot be known.

    An agent takes its run lock before it does anything to the node, and a killed one leaves it.
    `puppet apply` takes none, and another Puppet replaces it.
    """
    if record.command != "agent" or pid is None:
        return None
    try:
        holder = files.read_foreign(settings.agent_catalog_run_lockfile, puppet_locks.MAX_LOCK_BYTES).strip()
    except FileNotFoundError:
        return False
    except OSError:
        return None
    if holder == str(pid).encode():
        return True
    return None if puppet_locks.run_lock_holder(settings.agent_catalog_run_lockfile) else False


def _report_of(store: Store, record: Record, settings: Settings) -> Optional[Report]:
    """Return the report that is known to be this run's: by the job id, or by a path of its own."""
    if record.command == "apply":
        return reports.read(private_report(store, record))
    report = reports.read(settings.lastrunreport)
    return report if report and report.job_id == record.run else None


def private_report(store: Store, record: Record) -> str:
    """Return where `puppet apply` has written the report of a run."""
    return record.report or store.report_path(record.run)
