"""One simulated node: what root and the records are to the listener's API, in memory and without Puppet."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Callable, Optional, cast

from tests.fleet_nodes.scene import Fault, NodeSpec
from twitch import holds, messages
from twitch.errors import RootUnavailable
from twitch.holds import Hold
from twitch.listener.pause import Pause
from twitch.listener.root_client import RootClient
from twitch.listener.run_ends import RunEnds
from twitch.messages import Answer, Cancel, Disable, Enable, Question, Run
from twitch.node_status import APPLYING, LastRun, NodeStatus
from twitch.record_files import Records
from twitch.records import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    QUEUED,
    RUNNING,
    Cancelled,
    Left,
    Options,
    Record,
    still_running,
)
from twitch.resources import Event, Resource

KEEP_RUNS = 50  # as a node does
RESOURCES = 574
PID = 4711
# A node that is disabled from the beginning: by whom, and why.
DISABLED_BY, DISABLED_WHY, DISABLED_S = "token:alice", "CHG-77 kernel upgrade", 7200
OTHER_CALLER = "token:bob"  # of the run in the queue of a node with Fault.FULL
LEFT = (Left("apt-get", 4712, 45),)  # by a run that is cancelled on a node with Fault.LEFT
# The failures of a fleet have few causes.
CAUSES = ("no space left on device", "Could not find package app", "Permission denied")


class SimulatedRoot(RootClient):
    """Root of one node, and the records of its runs.

    `reported` gets each run that has ended; `dies` is called when a node with Fault.DIE goes away.
    """

    def __init__(
        self, spec: NodeSpec, reported: Callable[[NodeSpec, Record], None], dies: Callable[[], None]
    ) -> None:
        self.started: list[str] = []  # the runs that the test has asked for, and that have begun
        self.kept: dict[str, Record] = {}  # the records, the oldest first
        self.status: Optional[NodeStatus] = None
        self.status_at = float("inf")  # no caller that waits has to look whether conclude was killed
        self.run_ends = cast(RunEnds, self)
        self._spec = spec
        self._reported = reported
        self._dies = dies
        self._fault = spec.fault  # None as soon as one that passes has passed
        self._loop = asyncio.get_running_loop()
        self._ends: dict[str, asyncio.Future[None]] = {}
        self._timer: Optional[asyncio.TimerHandle] = None  # of the run under way
        self._running: Optional[str] = None
        self._queued: Optional[str] = None
        self._foreign_since: Optional[float] = None  # a run of Puppet's own daemon is under way; epoch s
        self._disabled: dict[str, Hold] = {}
        if spec.fault is Fault.DISABLED:
            since = time.time() - DISABLED_S / 2
            hold = Hold(DISABLED_BY, "192.0.2.9", DISABLED_WHY, since, since + DISABLED_S)
            self._disabled[hold.caller] = hold

    # ---- what the API asks of root

    async def ask(self, question: Question, pause: Optional[Pause] = None) -> Answer:
        """Answer as root does."""
        if isinstance(question, Run):
            return self._run(question)
        if isinstance(question, Disable):
            return self._disable(question)
        if isinstance(question, Enable):
            return self._enable(question)
        if isinstance(question, Cancel):
            return self._cancel(question)
        return Answer(messages.STATUS, status=self.node_status())

    def forget(self) -> None:
        """Forget nothing: no answer is remembered."""

    def of(self, run: str) -> Optional[asyncio.Future[None]]:
        """Return what is done at the end of a run, as `RunEnds.of`."""
        return self._ends.get(run)

    def passes(self, fault: Fault) -> bool:
        """Return whether the node has this fault, which it has no longer then."""
        has = self._fault is fault
        if has:
            self._fault = None
        return has

    def _run(self, question: Run) -> Answer:
        if self._disabled:
            status = self.node_status()
            return Answer(messages.DISABLED, reason=status.reason, status=status)
        if self.passes(Fault.COOLDOWN):
            return Answer(messages.COOLDOWN, retry_after_s=1)
        if self.passes(Fault.UNAVAILABLE):
            raise RootUnavailable("Too many questions at once; try again")
        full = self.passes(Fault.FULL)
        if self.passes(Fault.BUSY) or full:
            self._begin_foreign()
        if full:
            self._queued = self._new(Run(OTHER_CALLER, "192.0.2.8", named=True, tags=("ntp",)), QUEUED)
        if not self._busy:
            return Answer(messages.STARTED, run=self._begin(self._new(question, RUNNING)))
        if not question.queue:
            return Answer(messages.BUSY, run=self._running, status=self.node_status())
        if self._queued is None:
            self._queued = self._new(question, QUEUED)
        elif self.kept[self._queued].options != question.options:
            return Answer(messages.FULL, run=self._queued)
        return Answer(messages.QUEUED, run=self._queued)

    def _disable(self, question: Disable) -> Answer:
        self._disabled[question.caller] = Hold(
            question.caller, question.client, question.reason, time.time(), question.until
        )
        status = self.node_status()
        return Answer(messages.DISABLED, reason=status.reason, status=status)

    def _enable(self, question: Enable) -> Answer:
        self._disabled.pop(question.caller, None)
        if question.force:
            self._disabled.clear()
        if not self._disabled:
            return Answer(messages.ENABLED)
        status = self.node_status()
        return Answer(messages.HELD, reason=status.reason, status=status)

    def _cancel(self, question: Cancel) -> Answer:
        run = self._running if question.run == "current" else question.run
        if run is None:
            return self._cancel_foreign(force=question.force)
        if run not in self.kept:
            return Answer(messages.NO_RUN)
        if self.kept[run].state == FINISHED:
            return Answer(messages.ENDED, run=run)
        cancelled = Cancelled(question.caller, time.time())
        if run == self._queued:
            self._queued = None
            self._finish(run, verdict="not attempted", reason=cancelled.shown(), cancelled=cancelled)
        elif self._spec.fault is Fault.LEFT:
            reason = f"{cancelled.shown()}; {still_running(LEFT)}"
            self.kept[run] = self.kept[run]._replace(left_running=LEFT)
            self._end(run, INTERRUPTED, reason=reason, cancelled=cancelled)
        elif self._spec.fault is not Fault.DEAF:
            self._end(run, INTERRUPTED, reason=cancelled.shown(), cancelled=cancelled)
        return Answer(messages.CANCELLED, run=run)

    def _cancel_foreign(self, *, force: bool) -> Answer:
        if self._foreign_since is None:
            return Answer(messages.NO_RUN)
        status = self.node_status()
        if not force:
            return Answer(messages.FOREIGN, status=status)
        self._end_foreign()
        return Answer(messages.CANCELLED, status=status)

    # ---- runs

    @property
    def _busy(self) -> bool:
        return self._running is not None or self._foreign_since is not None

    def _new(self, question: Run, state: str) -> str:
        run = os.urandom(16).hex()
        options = Options(question.noop, question.tags, question.environment)
        now = time.time()
        self.kept[run] = Record(
            run, state, now, question.caller, question.client, options, question.label,
            started=now if state == RUNNING else None,
        )  # fmt: skip
        self._ends[run] = self._loop.create_future()
        if len(self.kept) > KEEP_RUNS:
            del self.kept[next(iter(self.kept))]
        return run

    def _begin(self, run: str) -> str:
        if self.kept[run].caller != OTHER_CALLER:
            self.started.append(run)
        self._running = run
        self.kept[run] = self.kept[run]._replace(state=RUNNING, started=time.time(), pid=PID)
        if self._fault is Fault.DIE:
            self._timer = self._loop.call_later(self._spec.run_s / 2, self._die)
        else:
            self._timer = self._loop.call_later(self._spec.run_s, self._end, run, self._spec.verdict)
        return run

    def _begin_foreign(self) -> None:
        self._foreign_since = time.time()
        self._loop.call_later(self._spec.run_s, self._end_foreign)

    def _end_foreign(self) -> None:
        if self._foreign_since is not None:  # it may have been cancelled before
            self._foreign_since = None
            self._next()

    def finish(self) -> None:
        """End the run under way now."""
        if self._running:
            self._end(self._running, self._spec.verdict)

    def _end(
        self,
        run: str,
        verdict: str,
        reason: Optional[str] = None,
        cancelled: Optional[Cancelled] = None,
    ) -> None:
        if self._timer:
            self._timer.cancel()
        self._running = None
        self._finish(run, verdict, reason, cancelled)
        self._reported(self._spec, self.kept[run])
        self._next()

    def _next(self) -> None:
        """Begin the run in the queue, unless Puppet is disabled."""
        run, self._queued = self._queued, None
        if run and self._disabled:
            self._finish(run, "not attempted", reason="Puppet is disabled")
        elif run:
            self._begin(run)

    def _die(self) -> None:
        self._running = None
        self._dies()

    def _finish(
        self, run: str, verdict: str, reason: Optional[str] = None, cancelled: Optional[Cancelled] = None
    ) -> None:
        begun = self.kept[run]
        ended = time.time()
        record = begun._replace(
            state=FINISHED,
            ended=ended,
            duration_s=round(ended - (begun.started or ended), 3),
            verdict=verdict,
            reason=reason,
            cancelled=cancelled,
        )
        self.kept[run] = reported(record, self._spec) if begun.started else record
        self._ends.pop(run).set_result(None)

    # ---- the node

    def node_status(self) -> NodeStatus:
        """Return what Puppet is doing."""
        holds_now = holds.together(tuple(self._disabled.values())) if self._disabled else None
        state = "disabled" if holds_now else "queued" if self._queued else "running" if self._busy else "idle"
        record = self.kept.get(self._running or "")
        since = (record.started if record else None) or self._foreign_since
        reason = "; ".join(hold.shown() for hold in self._disabled.values())
        status = NodeStatus(
            state,
            self._running,
            self._queued,
            since,
            last=self._last(),
            last_whole=self._last(whole=True),
            disabled=holds_now,
        )
        status = status._replace(reason=reason if holds_now else None)
        if not self._busy or since is None:
            return status
        elapsed_s = int(time.time() - since)
        return status._replace(
            pid=PID, phase=APPLYING, resources=RESOURCES, elapsed_s=elapsed_s, usual_s=int(self._spec.run_s)
        )

    def _last(self, *, whole: bool = False) -> Optional[LastRun]:
        """Return the last run that has ended, or of those without noop and tags."""
        ended = [
            record for record in self.kept.values() if record.ended and not (whole and record.options.partial)
        ]
        if not ended:
            return None
        last = max(ended, key=lambda record: record.ended or 0)
        if whole and self.kept and last is max(self.kept.values(), key=lambda record: record.ended or 0):
            return None  # it is the last run
        return LastRun(
            str(last.verdict), last.ended, last.duration_s, last.counts or {}, last.environment, last.reason,
            last.cached_catalog_status, last.noop, last.noop_pending, last.would_change, last.unreported,
        )  # fmt: skip


class MemoryRecords(Records):
    """The records of one node, as the API reads them."""

    def __init__(self, root: SimulatedRoot) -> None:
        self._kept = root.kept

    def read(self, run: str, *, resources: bool = True) -> Optional[Record]:
        """Return the record of a run; None if there is none."""
        record = self._kept.get(run)
        if record and not resources:
            return record._replace(resources=None, resources_left_out=None)
        return record

    def runs(self) -> set[str]:
        """Return the ids of all records."""
        return set(self._kept)

    def under_way(self) -> Optional[Record]:
        """Return the record of the run under way; None if there is none."""
        return next((record for record in self._kept.values() if record.state == RUNNING), None)


def reported(record: Record, spec: NodeSpec) -> Record:
    """Return the record with what a report says of a run with this verdict."""
    noop = record.options.noop
    changes = record.verdict == "changed"
    failed = record.verdict == FAILED
    cause = CAUSES[int(spec.name[4:9]) % len(CAUSES)]
    outcome = ("would change" if noop else "changed") if changes else FAILED
    message = f"change from 'absent' to 'file' failed: {cause}" if failed else "created"
    status = "failure" if failed else "noop" if noop else "success"
    place = ("/etc/puppet/code/environments/production/manifests/site.pp", 12)
    resource = Resource("File[/etc/app.conf]", outcome, False, *place, (Event("ensure", status, message),))
    counts = {
        "total": RESOURCES,
        "changed": int(changes and not noop),
        "failed": int(failed),
        "failed_to_restart": 0,
        "skipped": 0,
        "out_of_sync": int(changes or failed),
        "corrective_change": 0,
    }
    return record._replace(
        verdict="unchanged" if changes and noop else record.verdict,
        unreported=False,
        noop=noop,
        noop_pending=changes and noop,
        would_change=1 if changes and noop else None,
        counts=counts,
        reason="File[/etc/app.conf]" if failed else record.reason,
        error=message if failed else None,
        failed_resources=("File[/etc/app.conf]",) if failed else (),
        resources=(resource,) if changes or failed else (),
        resources_left_out=0,
        environment=record.options.environment or "production",
        cached_catalog_status="not_used",
        corrective_change=False,
        configuration_version="1764156600",
        transaction_uuid=f"{record.run[:8]}-{record.run[8:12]}-4{record.run[13:16]}-a000-{record.run[20:]}",
        puppet_version="8.10.0",
        exit_status="4" if failed else "2" if changes else "0",
        events={"success": int(changes and not noop), "failure": int(failed), "noop": int(changes and noop)},
        phases_s={"config_retrieval": 1.2, "total": record.duration_s or 0.0},
    )
