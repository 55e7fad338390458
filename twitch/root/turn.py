"""Whose turn is it? What becomes of a request for a run, and the one place to wait in.

Decided under a short lock, so that of two requests in the same instant one becomes a run and the
other hears of it. Runs that we did not start are known by the agent's lock; they may begin at any
moment after we have looked, and then the agent decides under its own lock.
"""

from __future__ import annotations

import os
import select
import time
from typing import Optional

from twitch import runs
from twitch.messages import Answer, Run
from twitch.root.node import Node

QUEUE_TIMEOUT_S = 3600
# While waiting: the end of a process that we know is told at once (pidfd); this is for a lock that
# passes to one that we do not know yet.
QUEUE_LOOK_S = 5
# Conclude begins when Puppet has ended and takes a fraction of a second; one that takes longer than
# this was killed.
CONCLUDE_GRACE_S = 5
CONCLUDE_LOOK_S = 0.1


def settle(store: runs.Store) -> None:
    """Return when no run of ours is dead and without a verdict.

    Ordinarily there is nothing to do. In the moment between Puppet's end and the verdict the next
    run must wait, because it would overwrite the report. And when conclude was killed as well
    (`systemctl kill -s KILL` kills both), nobody else will ever end that run's record.
    """
    for claimed in (store.current, store.queue_claim):
        until = time.monotonic() + CONCLUDE_GRACE_S
        claim = claimed()
        while claim and claim.ended is None and not claim.alive:
            if time.monotonic() > until or store.read(claim.run) is None:
                from twitch.root import conclude  # YAML and dates, which no run needs

                conclude.abandoned(store, claim)
                break
            time.sleep(CONCLUDE_LOOK_S)
            claim = claimed()


def decide(node: Node, run: str, question: Run) -> Answer:
    """Say what becomes of this request, and if it becomes a run, put that on record."""
    store = node.store
    settle(store)
    with store.locked():
        reason = node.disabled()
        if reason is not None:
            return Answer("disabled", reason=reason)
        current, queued = store.current(), store.queued()
        ours = current if current and current.alive else None
        # Strangers can wait again and again; that must not keep out those with a name.
        outranked = queued and question.named and not queued.named
        if ours or node.lock_holder() or (queued and not outranked):
            if not question.queue:
                return Answer("busy", run=ours.run if ours else None)
            if queued and queued.options == question.options():
                return Answer("queued", run=queued.run)
            if queued and not outranked:
                return Answer("busy", run=queued.run)
            store.claim_queued(_claim(run, question))
            store.write(_record(node, run, question, runs.QUEUED))
            return Answer("queued", run=run)
        wait_s = _cooldown_s(node, current, question)
        if wait_s > 0:
            return Answer("cooldown", retry_after_s=wait_s)
        # The claim first: killed between the two, a run has no record, and so no end to wait for.
        store.claim_current(_claim(run, question))
        store.write(_record(node, run, question, runs.RUNNING))
        return Answer("started", run=run)


def wait(node: Node, run: str, question: Run) -> Optional[str]:
    """Wait in the one slot until Puppet is free, and then take the turn.

    Returns None when it is this run's turn, or why it will never be.
    """
    from twitch.root import conclude  # noqa: F401  # for `settle`; in an hour it could be of another version

    store = node.store
    asked = (store.read(run) or {}).get("asked", time.time())
    expires = time.monotonic() + QUEUE_TIMEOUT_S
    while True:
        settle(store)
        with store.locked():
            slot = store.queue_claim()
            if slot and slot.run != run:
                return "a caller with a name took its place"
            current, holder = store.current(), node.lock_holder()
            ours = current if current and current.alive else None
            pid = ours.pid if ours else holder.pid if holder else None
            pause_s = _cooldown_s(node, current, question)
            if pid is None and not pause_s:
                reason = node.disabled()
                if reason is None:
                    store.claim_current(_claim(run, question))
                    store.write({**_record(node, run, question, runs.RUNNING), "asked": asked})
                store.leave_queue()
                return None if reason is None else f"Puppet disabled: {reason or 'no reason given'}"
            if time.monotonic() > expires:
                store.leave_queue()
                return f"Puppet was busy for {QUEUE_TIMEOUT_S} s"
        if pid is None:
            time.sleep(min(pause_s, QUEUE_LOOK_S))
        else:
            _await_end(pid)


def _await_end(pid: int) -> None:
    """Return when that process has ended, or after a while."""
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


def _cooldown_s(node: Node, last: Optional[runs.Claim], question: Run) -> int:
    """Whole seconds until a caller without a line in [access] may have the next run; 0 for now."""
    if question.named or not last or last.ended is None:
        return 0
    since = time.time() - last.ended
    if since < 0:
        return 0  # the clock was set back: no reason to refuse anybody
    return max(0, int(node.config.cooldown_s - since + 0.999))


def _claim(run: str, question: Run) -> runs.Claim:
    start = runs.start_time(os.getpid())
    assert start is not None  # it is our own
    return runs.Claim(run, os.getpid(), start, question.options(), named=question.named)


def _record(node: Node, run: str, question: Run, state: str) -> runs.Record:
    now = time.time()
    return {
        "run": run,
        "state": state,
        "asked": now,
        "started": now if state == runs.RUNNING else None,
        "caller": question.caller,
        "client": question.client,
        "options": question.options(),
        # For conclude, which must not need Puppet or a configuration: the run may have removed both.
        "command": node.config.command,
        "settings": node.settings._asdict(),
    }
