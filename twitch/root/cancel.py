"""Cancel a run: one that waits, one that is under way, or with `force` one that we have not started.

A run of ours is stopped by systemd, which sends SIGTERM, and SIGKILL after TimeoutStopSec=. A signal from
here would not be enough, because Ruby code can swallow it: a fact that waits for its command does (seen).
The unit's ExecStopPost= judges the run as usual, and finds in runs/ID.cancel who has cancelled it.

Processes that Puppet has started go on (KillMode=process), because a package manager must not be killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from typing import NamedTuple, Optional

from twitch.errors import TwitchError
from twitch.messages import CANCELLED, CURRENT, ENDED, FOREIGN, NO_RUN, Answer, Cancel
from twitch.node_status import RUNNING, NodeStatus
from twitch.records import FINISHED, Cancelled, Left, still_running
from twitch.root import files, journal, programs, progress, turn, unit
from twitch.root.claims import Claim
from twitch.root.node import Node
from twitch.root.process import start_time
from twitch.root.puppet_locks import Holder
from twitch.root.store import Store

# A run of a daemon or by hand that has not ended this long after SIGTERM is killed: Ruby code that rescues
# every exception swallows the signal (OpenVox#485). Meanwhile Puppet saves and sends its report.
TERM_S = 30
MAX_PROCESSES = 100

DAEMON = "the daemon itself applies the catalog, and is not ended; systemctl stop puppet ends it"
NOT_ROOTS = "its lock was not written by root and may name any process, so it is not ended"


class Foreign(NamedTuple):
    """A Puppet that puppet-twitch has not started, and that was told to stop."""

    pid: int
    descriptor: int  # a pidfd: the process cannot be mistaken for a later one with its pid
    lock: int  # held until its end (Store.take_ending)
    below: tuple[tuple[int, int], ...]  # start and pid of the processes that it has started


def cancel(store: Store, question: Cancel) -> tuple[Answer, Optional[Foreign]]:
    """Tell a run to stop; return the answer, and the process whose end has still to be seen to.

    Raises `TwitchError` or `OSError` if the run cannot be told.
    """
    # An earlier run whose verdict cannot be written is no reason to let this one go on.
    with contextlib.suppress(turn.Unrecorded):
        turn.settle(store)
    run = question.run
    if run == CURRENT:
        claim = store.claims.running()
        if claim is None:
            return _foreign(Node(store), force=question.force)
        run = claim.run
    claim = _claim(store, question, run)
    if claim:
        _stop(claim)
        return Answer(CANCELLED, run=run), None
    return (Answer(ENDED, run=run) if store.read(run) else Answer(NO_RUN)), None


# ---- runs of ours


def _claim(store: Store, question: Cancel, run: str) -> Optional[Claim]:
    """Return the claim of a run, and keep who has cancelled the run; None if it has ended."""
    with contextlib.ExitStack() as held:
        # Conclude holds this lock while it judges a run. So the run is judged already, or it will be judged
        # with what is kept here.
        with contextlib.suppress(OSError):
            held.enter_context(store.concluding())
        held.enter_context(store.claims.locked())
        record = store.read(run)
        claims = (store.claims.running(), store.claims.queued())
        claim = next((claim for claim in claims if claim and claim.run == run), None)
        # A run whose record has vanished goes on, and is stopped as well.
        if claim is None or (record and record.state == FINISHED):
            return None
        try:
            store.keep_cancel(run, Cancelled(question.caller, time.time()))
        except OSError as error:  # a full /run: the run is stopped all the same
            print(f"<4>the record of run {run} will not say who has cancelled it: {error}", file=sys.stderr)
        waits = store.claims.queue_claim()
        if waits and waits.run == run:
            with contextlib.suppress(OSError):  # at once, for the next request
                store.claims.leave_queue()
        return claim


def _stop(claim: Claim) -> None:
    """Let systemd stop the unit of a run; return when systemd has the order."""
    name = unit.name(claim.pid)
    if not claim.alive:
        return  # it has ended by itself
    if name is None:
        raise TwitchError(f"process {claim.pid} of run {claim.run} is in no unit of systemd")
    command = ("systemctl", "stop", "--no-block", name)
    error = programs.run(*command)
    if error and claim.alive:
        raise TwitchError(f"{' '.join(command)}: {error}")


# ---- runs that are not ours


def _foreign(node: Node, *, force: bool) -> tuple[Answer, Optional[Foreign]]:
    """Tell the Puppet that holds the run lock to stop, if that is asked for with `force`."""
    holder = node.lock_holder()
    if holder is None:
        return Answer(NO_RUN), None
    status = NodeStatus(RUNNING, pid=holder.pid, since=time.time() - holder.age_s)
    if not force:
        return Answer(FOREIGN, status=status), None
    if holder.owner != os.geteuid():
        return Answer(FOREIGN, status=status, reason=NOT_ROOTS), None
    if _is_daemon(node, holder):
        return Answer(FOREIGN, status=status, reason=DAEMON), None
    try:
        descriptor = os.pidfd_open(holder.pid)
    except ProcessLookupError:
        return Answer(NO_RUN), None
    # Looked at again with the descriptor open: it is still this process that holds the lock, and is a Puppet.
    again = node.lock_holder()
    same = again and (again.pid, again.owner) == (holder.pid, holder.owner)
    if not same or _has_ended(descriptor, 0):
        os.close(descriptor)
        return Answer(NO_RUN), None
    lock = node.store.take_ending()
    if lock is None:
        # A second signal would break off the report that Puppet sends after the first one.
        os.close(descriptor)
        return Answer(CANCELLED, status=status), None
    foreign = Foreign(holder.pid, descriptor, lock, _below(holder.pid))
    signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    return Answer(CANCELLED, status=status), foreign


def _is_daemon(node: Node, holder: Holder) -> bool:
    """Return whether the holder of the run lock is the daemon: only that has its pid in the pidfile.

    A daemon applies catalogs in a child, but where Ruby cannot fork.
    """
    try:
        content = files.read_foreign(node.settings.pidfile, 32) if node.settings.pidfile else b""
    except OSError:
        return False
    return content.strip() == str(holder.pid).encode()


def end(foreign: Foreign, question: Cancel) -> None:
    """See to the end of a Puppet that was told to stop: it is killed after TERM_S, and its end is logged."""
    try:
        how = "has ended"
        if not _has_ended(foreign.descriptor, TERM_S):
            signal.pidfd_send_signal(foreign.descriptor, signal.SIGKILL)
            how = f"did not end within {TERM_S} s, and was killed"
            _has_ended(foreign.descriptor, TERM_S)
    finally:
        os.close(foreign.lock)
        os.close(foreign.descriptor)
    left = tuple(_left(foreign.below))
    running = f"; {still_running(left)}" if left else ""
    text = f"the Puppet run of pid {foreign.pid}, cancelled by {question.caller}, {how}{running}"
    journal.event(
        journal.CANCELLED,
        text,
        priority=journal.WARNING,
        caller=question.caller,
        client=question.client,
        pid=foreign.pid,
        answer="ended",
    )


def _has_ended(descriptor: int, within_s: float) -> bool:
    return bool(select.select([descriptor], [], [], within_s)[0])


def _below(pid: int) -> tuple[tuple[int, int], ...]:
    """Return start and pid of the processes below a process, at most MAX_PROCESSES."""
    found: list[tuple[int, int]] = []
    parents = [pid]
    while parents and len(found) < MAX_PROCESSES:
        children = progress.children(parents.pop())
        found += children
        parents += [child for _, child in children]
    return tuple(found)


def _left(processes: tuple[tuple[int, int], ...]) -> list[Left]:
    """Return those of the processes that still run, the oldest first."""
    alive = [(start, pid, unit.process_name(pid)) for start, pid in processes if start_time(pid) == start]
    return [Left(name, pid, unit.age_s(start)) for start, pid, name in sorted(alive) if name is not None]


# ---- the journal


def log(question: Cancel, answer: Answer) -> None:
    """Write who has cancelled what, and what the answer was."""
    pid = answer.status.pid if answer.status else None
    target = (
        f"run {answer.run or question.run}" if question.run != CURRENT or answer.run else "the run under way"
    )
    outcome = {
        CANCELLED: f"pid {pid} was told to stop" if pid else "it was told to stop",
        ENDED: "it has ended before",
        FOREIGN: f"pid {pid} was not started by puppet-twitch",
        NO_RUN: "there is no such run",
    }.get(answer.kind, f"cannot: {answer.reason}")
    force = " (force)" if question.force else ""
    journal.event(
        journal.CANCELLED,
        f"{question.caller} at {question.client} cancelled {target}{force}: {outcome}",
        run=answer.run,
        caller=question.caller,
        client=question.client,
        pid=pid,
        answer=answer.kind,
        reason=answer.reason,
    )
