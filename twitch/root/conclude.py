"""Root's side after a run: judge what Puppet has left of it, and put the verdict on record.

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

from twitch.record_files import KEEP_BYTES, KEEP_RUNS
from twitch.records import FINISHED, INTERRUPTED, NOT_ATTEMPTED, QUEUED, Record, outcome, still_running
from twitch.root import counts, evidence, files, history, journal, memory, report_to_record, unit, verdict
from twitch.root.ownership import NotOurs
from twitch.root.report import MAX_REPORT_BYTES
from twitch.root.settings import SETTINGS, Settings
from twitch.root.store import Store


def main() -> None:
    """Conclude the run of this invocation, if it has no verdict yet."""
    memory.limit()
    store, run = Store(), os.environ.get("INVOCATION_ID", "")
    store.trust()
    begun = store.without_verdict(run)
    if not begun:
        return
    with locked(store):
        record = store.without_verdict(run)
        if record:
            try:
                conclude(store, record, os.environ.get("EXIT_CODE", ""), os.environ.get("EXIT_STATUS", ""))
            except OSError as error:
                print(f"<3>the verdict on run {run} cannot be written: {error}", file=sys.stderr)
    tidy(store, begun.keep_runs or KEEP_RUNS, begun.keep_bytes or KEEP_BYTES)


@contextlib.contextmanager
def locked(store: Store) -> Iterator[None]:
    """Hold the lock on verdicts, or go without one: a /run that is gone or full must not cost a verdict."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(store.concluding())
        yield


def tidy(store: Store, keep: int = KEEP_RUNS, size: int = KEEP_BYTES) -> None:
    """Move ended records to the disk, which nobody waits for, and keep `keep` records in `size` bytes."""
    try:
        history.move_ended(store)
    except (OSError, NotOurs) as error:
        print(f"<4>records of runs stay in /run, and are lost with a reboot: {error}", file=sys.stderr)
    with contextlib.suppress(OSError):
        history.prune(store, keep, size)


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
        found = evidence.gather(store, record, settings, exit_code, exit_status)
        found = found._replace(cancelled=cancelled.shown() if cancelled else None)
        judged = verdict.judge(found)
        finished, error = _with_report(finished, found), found.error
        gave_up = found.report is not None and not found.report.transaction_completed
        # Only the conclude that systemd starts at the end of this run is in the unit of the run.
        if exit_code and (judged.word == INTERRUPTED or gave_up):
            judged, finished = _with_left(judged, finished)
        if down is not None:
            duration_s = found.report.duration_s if found.report else None
            finished = finished._replace(ended=down, duration_s=duration_s)
            if not found.report:
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
        _hand_over(evidence.private_report(store, record), record.settings.get("lastrunreport", ""))
    counts.add(store, finished)  # before the claim is released, which root/watch.py waits for
    with contextlib.suppress(OSError):  # the record says that it has ended (turn.settle)
        store.claims.release(record.run, now, cancelled=cancelled is not None)
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


def _with_report(record: Record, found: verdict.Evidence) -> Record:
    """Return the record with the fields of Puppet's report, or of its summary if there is no report."""
    if found.report:
        return report_to_record.with_report(record, found.report)
    record = record._replace(noop=True if record.options.noop else None)
    return report_to_record.with_summary(record, found.summary) if found.summary else record


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
        files.move_foreign(private, usual, f"{usual}.puppet-twitch", MAX_REPORT_BYTES)


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
