"""Decide what becomes of a request for a run: it starts, takes the one place in the queue, or is refused.

The decision is made under a short lock, so that of two requests in the same instant one becomes a run
and the other is answered `busy`. A run that we did not start is known by the agent's lock. Such a run
may begin right after we have looked; then the agent decides under its own lock.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING, NamedTuple, Optional

from twitch import durations
from twitch.errors import TwitchError
from twitch.messages import BUSY, COOLDOWN, DISABLED, FULL, QUEUED, STARTED, Answer, Run
from twitch.records import FINISHED, RUNNING, Record
from twitch.records import QUEUED as IN_QUEUE
from twitch.root import begun, unit
from twitch.root.claims import Claim
from twitch.root.node import Node
from twitch.root.process import start_time
from twitch.root.store import Store

if TYPE_CHECKING:
    from twitch.node_status import NodeStatus

QUEUE_TIMEOUT_S = 3600
# How often a run in the queue looks at the lock, which may pass to a process that we do not know yet. The
# end of a known process is reported at once, by pidfd.
QUEUE_LOOK_S = 5
# Conclude begins when Puppet has ended, and takes a fraction of a second. If a verdict takes longer than
# this, and the unit of the run has ended, conclude was killed. On a node that hangs for a while, the unit is
# still there. Then the wait goes on, because its conclude knows more of the run than a later one; but not as
# long as the listener waits for the answer (ANSWER_TIMEOUT_S in listener/root_client.py).
CONCLUDE_GRACE_S = 5
CONCLUDE_MOST_S = 20
CONCLUDE_LOOK_S = 0.1


class NotAttempted(TwitchError):
    """A run that waited in the queue will not begin; the text says why."""


class Unrecorded(TwitchError):
    """The verdict on a run that has ended cannot be written."""

    def __init__(self, run: str, error: OSError) -> None:
        super().__init__(f"the verdict on run {run} cannot be written: {error}")
        self.run = run


class Ahead(NamedTuple):
    """What has to end before a run may begin: a process, or a time."""

    pid: Optional[int] = None  # of the Puppet that is running
    run: Optional[str] = None  # its run, if it is one of ours
    since: Optional[float] = None  # when it began, in epoch seconds
    wait_s: int = 0  # the rest of the cooldown


def settle(store: Store) -> None:
    """Make sure that every run of ours that has ended has a verdict; may block for CONCLUDE_MOST_S.

    Raises `Unrecorded` if the verdict on a run cannot be written.

    Usually there is nothing to do. Between Puppet's end and the verdict the next run must wait, because
    it would overwrite the report. If conclude was killed as well (`systemctl kill -s KILL` kills both),
    nothing else would ever end the record of that run. The same is true after a power cut.
    """
    for claimed in (store.claims.current, store.claims.queue_claim):
        began = time.monotonic()
        claim = claimed()
        while claim and claim.ended is None and not claim.alive:
            record = store.read(claim.run)
            if record and record.state == FINISHED:
                # Conclude is about to release the claim, or was killed before it could, or had no room.
                with contextlib.suppress(OSError):
                    ended = record.ended or time.time()
                    store.claims.release(claim.run, ended, cancelled=record.cancelled is not None)
                break
            if record is None or _has_no_conclude(claim.run, time.monotonic() - began):
                from twitch.root import abandoned  # YAML and dates, which no run needs

                try:
                    abandoned.conclude(store, claim)
                except OSError as error:
                    raise Unrecorded(claim.run, error) from error
                break
            time.sleep(CONCLUDE_LOOK_S)
            claim = claimed()
    last = begun.read(store)
    if last and not last.alive and not store.recorded(last.record.run):
        from twitch.root import abandoned

        abandoned.conclude_lost(store)


def _has_no_conclude(run: str, waited_s: float) -> bool:
    """Return whether the conclude of a run that has ended will not come any more."""
    return waited_s > CONCLUDE_MOST_S or (waited_s > CONCLUDE_GRACE_S and not unit.has_unit(run))


def decide(node: Node, run: str, question: Run) -> Answer:
    """Return what becomes of a request, after settling earlier runs. If it becomes a run, it has a record."""
    store = node.store
    settle(store)
    with store.claims.locked():
        lock = node.disabling()
        if lock is not None:
            from twitch.node_status import DISABLED as NODE_DISABLED  # 1.4 ms, which no run needs
            from twitch.node_status import NodeStatus

            status = NodeStatus(NODE_DISABLED, disabled=lock.disabled)
            return Answer(DISABLED, reason=lock.message, status=status)
        ahead, waiting = _ahead(node, question), store.claims.queued()
        # A named caller takes the place of an anonymous one. Otherwise anonymous callers, who may queue again
        # and again, could keep named callers out.
        taken = waiting is not None and (waiting.named or not question.named)
        if ahead.pid is None and not taken:
            if ahead.wait_s:
                return Answer(COOLDOWN, retry_after_s=ahead.wait_s)
            # The claim first: if we are killed between the two writes, the run has no record, so nothing
            # waits for its verdict.
            store.claims.write_current(_claim(run, question))
            store.write(_record(node, run, question, RUNNING))
            return Answer(STARTED, run=run)
        if not question.queue:
            # If nothing runs, the run in the queue waits for its cooldown.
            in_the_way = waiting.run if waiting and ahead.pid is None else ahead.run
            return Answer(BUSY, run=in_the_way, status=_running(ahead))
        if waiting and waiting.options == question.options:
            return Answer(QUEUED, run=waiting.run)
        if waiting and taken:
            return Answer(FULL, run=waiting.run)
        store.claims.write_queued(_claim(run, question))
        store.write(_record(node, run, question, IN_QUEUE))
        return Answer(QUEUED, run=run)


def wait(node: Node, run: str, question: Run) -> None:
    """Return when it is this run's turn; raises `NotAttempted` if it will not begin, or `OSError`."""
    from twitch.root import abandoned  # noqa: F401  # now, because an upgrade may replace it before `settle`

    store = node.store
    record = store.read(run)
    expires = time.monotonic() + QUEUE_TIMEOUT_S
    while True:
        settle(store)
        with store.claims.locked():
            claim, cancelled = store.claims.queue_claim(), store.cancelled(run)
            if cancelled:  # and its place in the queue is free, or another's
                raise NotAttempted(cancelled.shown())
            if claim and claim.run != run:
                raise NotAttempted("a caller with a name took its place in the queue")
            ahead = _ahead(node, question)
            if ahead == Ahead():
                reason = node.disabled()
                if reason is None:
                    store.claims.write_current(_claim(run, question))
                    running = _record(node, run, question, RUNNING)
                    store.write(running._replace(asked=record.asked if record else running.asked))
                store.claims.leave_queue()
                if reason is None:
                    return
                raise NotAttempted(f"Puppet disabled: {reason or 'no reason given'}")
            if time.monotonic() > expires:
                store.claims.leave_queue()
                raise NotAttempted(f"Puppet was busy for {durations.shown(QUEUE_TIMEOUT_S)}")
        if ahead.pid is None:
            time.sleep(min(ahead.wait_s, QUEUE_LOOK_S))
        else:
            _await_end(ahead.pid)


def _ahead(node: Node, question: Run) -> Ahead:
    ours, holder = node.store.claims.running(), node.lock_holder()
    if ours:
        record = node.store.read(ours.run)
        return Ahead(pid=ours.pid, run=ours.run, since=record.started if record else None)
    if holder:
        return Ahead(pid=holder.pid, since=time.time() - holder.age_s)
    return Ahead(wait_s=_cooldown_s(node, question))


def _running(ahead: Ahead) -> Optional[NodeStatus]:
    """Return what an answer says of the Puppet that is running; None if only the queue is taken."""
    if ahead.pid is None:
        return None
    from twitch.node_status import RUNNING, NodeStatus  # 1.4 ms, which no run needs

    return NodeStatus(RUNNING, run=ahead.run, since=ahead.since, pid=ahead.pid)


def _cooldown_s(node: Node, question: Run) -> int:
    """Return the whole seconds until this caller may have the next run; 0 for a named caller.

    A run that was cancelled has no cooldown, because a caller with the grant for it wanted it gone.
    """
    last = node.store.claims.current()
    if question.named or not last or last.ended is None or last.cancelled:
        return 0
    since_s = time.time() - last.ended
    if since_s < 0:
        return 0  # the clock was set back, which is no reason to refuse a run
    return max(0, int(node.config.cooldown_s - since_s + 0.999))


def _await_end(pid: int) -> None:
    """Return when a process has ended, or after QUEUE_LOOK_S."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError:
        time.sleep(QUEUE_LOOK_S)  # a kernel before 5.3, or a filter of system calls
        return
    try:
        select.select([descriptor], [], [], QUEUE_LOOK_S)
    finally:
        os.close(descriptor)


def _claim(run: str, question: Run) -> Claim:
    start = start_time(os.getpid())
    assert start is not None  # this process is running
    return Claim(run, os.getpid(), start, question.options, named=question.named)


def _reported(node: Node) -> Optional[float]:
    """Return when Puppet wrote its last report or summary (epoch seconds); None if there is neither."""
    times = []
    for path in (node.settings.lastrunreport, node.settings.lastrunfile):
        with contextlib.suppress(OSError):
            times.append(os.stat(path).st_mtime)
    return max(times, default=None)


def _record(node: Node, run: str, question: Run, state: str) -> Record:
    now = time.time()
    return Record(
        run=run,
        state=state,
        asked=now,
        started=now if state == RUNNING else None,
        pid=os.getpid(),
        reported_before=_reported(node) if state == RUNNING else None,
        caller=question.caller,
        client=question.client,
        options=question.options,
        label=question.label,
        # For conclude, which cannot ask Puppet or the configuration: the run may have removed both.
        command=node.config.command,
        settings=node.settings._asdict(),
        report=node.report_path(run) if node.config.command == "apply" else None,
        keep_runs=node.config.keep_runs,
        keep_bytes=node.config.keep_bytes,
    )
