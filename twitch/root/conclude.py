"""Root's side after a run: gather the facts that Puppet left, judge them, and put the verdict on record.

It is a part of ExecStopPost= of the run's unit (root/after.py), so it also runs after a crash, a timeout and
a failed start. It needs neither Puppet nor the configuration, because the run may have removed both.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import Optional

from twitch.records import (
    FINISHED,
    INTERRUPTED,
    KEEP_BYTES,
    KEEP_RUNS,
    NOT_ATTEMPTED,
    QUEUED,
    Record,
    outcome,
    still_running,
)
from twitch.root import (
    counts,
    details,
    failures,
    files,
    journal,
    journal_reader,
    memory,
    puppet_locks,
    unit,
    verdict,
)
from twitch.root import report as reports
from twitch.root.claims import Claim
from twitch.root.process import boot_id
from twitch.root.report import Report
from twitch.root.settings import SETTINGS, Settings
from twitch.root.store import Store
from twitch.root.trust import NotOurs


def main() -> None:
    """Conclude the run of this invocation, if it has no verdict yet."""
    memory.limit()
    store, run = Store(), os.environ.get("INVOCATION_ID", "")
    store.trust()
    begun = store.without_verdict(run)
    if not begun:
        return
    with _concluding(store):
        record = store.without_verdict(run)
        if record:
            try:
                conclude(store, record, os.environ.get("EXIT_CODE", ""), os.environ.get("EXIT_STATUS", ""))
            except OSError as error:
                print(f"<3>the verdict on run {run} cannot be written: {error}", file=sys.stderr)
    tidy(store, begun.keep_runs or KEEP_RUNS, begun.keep_bytes or KEEP_BYTES)


@contextlib.contextmanager
def _concluding(store: Store) -> Iterator[None]:
    """Hold the lock on verdicts, or go without one: a /run that is gone or full must not cost a verdict."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(store.concluding())
        yield


def tidy(store: Store, keep: int = KEEP_RUNS, size: int = KEEP_BYTES) -> None:
    """Move ended records to the disk, which nobody waits for, and keep `keep` records in `size` bytes."""
    try:
        store.move_ended()
    except (OSError, NotOurs) as error:
        print(f"<4>records of runs stay in /run, and are lost with a reboot: {error}", file=sys.stderr)
    with contextlib.suppress(OSError):
        store.prune(keep, size)


def lost(store: Store) -> None:
    """Conclude the run that became Puppet last, if a power cut or anything else took its record.

    The report that carries its id says what became of it. Without one it was interrupted.
    """
    with _concluding(store):
        begun = store.begun()
        if begun is None or begun.alive or store.recorded(begun.record.run):
            return
        down = None
        if begun.boot != boot_id():
            down = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        with contextlib.suppress(OSError):  # it is history, for which no answer waits
            _conclude_unseen(store, begun.record, down)


def abandoned(store: Store, claim: Claim) -> None:
    """Conclude a run whose own conclude was killed, so that the end of its process is not known.

    Raises `OSError` if the verdict cannot be written: then the run is concluded later.
    """
    with _concluding(store):
        record = store.read(claim.run)
        if record is None:
            # No caller knows of a run without a record. An invalid record has to come to an end, too.
            if store.recorded(claim.run):
                _interrupted(store, claim.run, "how it ended is not known: its record is invalid")
        elif record.state != FINISHED:
            _conclude_unseen(store, record)
        with contextlib.suppress(OSError):  # the record says that it has ended (turn.settle)
            store.release(claim.run, time.time())


def _conclude_unseen(store: Store, record: Record, down: Optional[float] = None) -> None:
    """Conclude a run of which nobody has seen the end, whatever happens. Raises `OSError`."""
    try:
        conclude(store, record, "", "", down=down)
    except OSError:
        raise
    except Exception:
        # The handler comes here before every answer, so neither a bug of ours nor the content of a report
        # may stop it.
        import traceback  # 3 ms

        traceback.print_exc()
        written = store.read(record.run)
        if written is None or written.state != FINISHED:  # it may have failed after the verdict
            _interrupted(store, record.run, "how it ended cannot be read; the journal says why")


def _interrupted(store: Store, run: str, reason: str) -> None:
    now = time.time()
    record = Record(run, FINISHED, asked=now, ended=now, verdict=INTERRUPTED, reason=reason)
    store.write(record)
    counts.add(store, record)


def conclude(
    store: Store, record: Record, exit_code: str, exit_status: str, *, down: Optional[float] = None
) -> None:
    """Write the verdict into the record, the end into the claim, and one event into the journal.

    `down` is when the node booted, if that was after the run began: when the run ended is not known.
    """
    now = time.time()
    # The clock may have been set back meanwhile.
    duration_s = None if record.started is None else max(0.0, round(now - record.started, 1))
    finished = record._replace(
        state=FINISHED,
        ended=now,
        duration_s=duration_s,
        exit_status=exit_status,
        command=None,
        settings={},
        report=None,
        keep_runs=None,
        keep_bytes=None,
    )
    error, cancelled = None, store.cancelled(record.run)
    if record.state == QUEUED:
        stopped = cancelled.shown() if cancelled else "stopped while it waited in the queue"
        judged = verdict.Verdict(NOT_ATTEMPTED, stopped)
    else:
        # Another version of puppet-twitch may have begun the run, with fewer settings.
        settings = Settings(**{name: record.settings.get(name, "") for name in SETTINGS})
        facts = _facts(store, record, settings, exit_code, exit_status)
        facts = facts._replace(cancelled=cancelled.shown() if cancelled else None)
        judged = verdict.judge(facts)
        finished, error = _with_report(finished, facts), facts.error
        gave_up = facts.report is not None and not facts.report.transaction_completed
        # Only the conclude that systemd starts at the end of this run is in the unit of the run.
        if exit_code and (judged.word == INTERRUPTED or gave_up):
            judged, finished = _with_left(judged, finished)
        if down is not None:
            duration_s = facts.report.duration_s if facts.report else None
            finished = finished._replace(ended=down, duration_s=duration_s)
            if not facts.report:
                judged = verdict.Verdict(INTERRUPTED, "the node went down during the run")
    finished = finished._replace(
        verdict=judged.word,
        reason=record.reason or judged.reason,
        unreported=judged.unreported,
        cancelled=cancelled,
    )
    if not finished.good:
        finished = finished._replace(error=error)
    store.write(finished)
    # Not before the verdict is on record: if that fails, a later conclude needs the report where it is.
    if record.state != QUEUED and record.command == "apply":
        _hand_over(_private_report(store, record), record.settings.get("lastrunreport", ""))
    counts.add(store, finished)  # before the claim is released, which root/watch.py waits for
    with contextlib.suppress(OSError):  # the record says that it has ended (turn.settle)
        store.release(record.run, now, cancelled=cancelled is not None)
    if exit_code:  # this is the unit of the run
        _tell_listener()
    _log(finished)


def _tell_listener() -> None:
    """End the connection of the run, which the listener keeps for this event (listener/run_ends.py).

    systemd passes it to each process of the unit as standard input. Without this, the listener would hear of
    the verdict when this process and its unit have ended.
    """
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(0)) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def _facts(
    store: Store, record: Record, settings: Settings, exit_code: str, exit_status: str
) -> verdict.Facts:
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
    sources = (failures.name(entry.source) for entry in entries if failures.outside_of_changes(entry.source))
    has_ca = masterless or not settings.localcacert or os.path.exists(settings.localcacert)
    has_certificate = masterless or not settings.hostcert or os.path.exists(settings.hostcert)
    return verdict.Facts(
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
        error=report.error if report else failures.error(entries),
        error_logged=bool(entries),
        error_sources=tuple(dict.fromkeys(sources)),
    )


def _pid(store: Store, record: Record) -> Optional[int]:
    """Return the process that became Puppet for a run, if it is known."""
    claim = store.current()
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
        return reports.read(_private_report(store, record))
    report = reports.read(settings.lastrunreport)
    return report if report and report.job_id == record.run else None


def _private_report(store: Store, record: Record) -> str:
    """Return where `puppet apply` has written the report of a run."""
    return record.report or store.report_path(record.run)


def _with_report(record: Record, facts: verdict.Facts) -> Record:
    """Return the record with the fields of Puppet's report, or of its summary if there is no report."""
    if facts.report:
        return details.with_report(record, facts.report)
    record = record._replace(noop=True if record.options.noop else None)
    return details.with_summary(record, facts.summary) if facts.summary else record


def _with_left(judged: verdict.Verdict, record: Record) -> tuple[verdict.Verdict, Record]:
    """Return the verdict and the record of a run that was cut short, with what it has left running."""
    left = unit.left_running()
    if not left:
        return judged, record
    running = still_running(left)
    reason = f"{judged.reason}; {running}" if judged.reason else running
    return judged._replace(reason=reason), record._replace(left_running=left)


def _hand_over(private: str, usual: str) -> None:
    """Move the report to where the site's tools look for it, with the mode that Puppet gives it."""
    # Puppet wrote no report, or the run has removed Puppet's directories, or the disk is full: the verdict
    # must not depend on this. One name for the temporary file and not one for each process: nothing would
    # remove what a killed process leaves.
    with contextlib.suppress(OSError):
        files.move_foreign(private, usual, f"{usual}.puppet-twitch", reports.MAX_REPORT_BYTES)


def _log(record: Record) -> None:
    resources = record.counts or {}
    reason = f": {record.reason}" if record.reason else ""
    label = f" ({record.label})" if record.label else ""
    journal.event(
        journal.ENDED,
        f"run {record.run} of {record.caller}{label}: {outcome(record)}{reason}",
        priority=journal.NOTICE if record.good else journal.WARNING,
        run=record.run,
        caller=record.caller,
        client=record.client,
        label=record.label,
        verdict=record.verdict,
        reason=record.reason,
        exit_status=record.exit_status,
        changed=resources.get("changed"),
        failed=resources.get("failed"),
        would_change=record.would_change,
        duration_s=record.duration_s,
    )
