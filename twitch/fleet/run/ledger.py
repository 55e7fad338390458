"""Every step of every node, in one place: it becomes a line of the result file, and counts in the budget.

A node has one outcome at a time. A later one takes the place of an earlier one: a late run ends after all, or
PuppetDB has no report of a run that the node called complete.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Callable, NamedTuple, Optional, cast

from twitch.fleet.events import ENDED, PROVEN, QUEUED, RUNNING, NodeEvent
from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import FAILURES, Outcome
from twitch.fleet.run.budget import Budget
from twitch.fleet.run.verdicts import End
from twitch.fleet.show.results import NodeResult
from twitch.fleet.stopping import Stop


class Earlier(NamedTuple):
    """What an earlier invocation has begun and not ended (see resume.py)."""

    runs: Mapping[str, str] = {}  # node -> the id of its run, which is followed further
    in_doubt: Mapping[str, float] = {}  # node -> epoch seconds when it was asked for a run, without an answer

    @property
    def nodes(self) -> AbstractSet[str]:
        """Return the nodes on which a run was begun, or may have been."""
        return self.runs.keys() | self.in_doubt.keys()


NOTHING_EARLIER = Earlier()


class Standing(NamedTuple):
    """What has become of a node so far."""

    outcome: Outcome
    new: Optional[bool]  # of a failure: the run before this one had not failed


class Ledger:
    """Takes down each step of each node."""

    def __init__(
        self,
        record: Callable[[NodeEvent], None],
        budget: Budget,
        stop: Stop,
        failed_before: Collection[str] = (),
    ) -> None:
        """Pass each event to `record`; stop when the budget is exceeded."""
        self._record = record
        self._budget = budget
        self._stop = stop
        self._failed_before = frozenset(failed_before)
        self._waits: dict[str, Optional[str]] = {}  # node -> why, until it runs
        self._runs: dict[str, str] = {}  # node -> id of its run
        self.standings: dict[str, Standing] = {}
        self.canaries: frozenset[str] = frozenset()

    # ---- the steps

    def queued(self, node: Node, why: Optional[str] = None) -> None:
        """Take down that a node is asked for a run from now on, or why it has to wait for its next turn.

        A line without a reason is written before each request is sent: if the command is killed, a node with
        this line as its last is asked for our label first (see resume.py). After one with a reason, it is
        certain that nothing was started.
        """
        if node.name not in self._waits or self._waits[node.name] != why:
            self._waits[node.name] = why
            self._runs.pop(node.name, None)  # of a run that another one has overtaken
            self._write(node, QUEUED, error=why)

    def running(self, node: Node, run: str) -> None:
        """Take down the run that the node has started, or will start next."""
        self._waits.pop(node.name, None)
        self._runs[node.name] = run
        self._write(node, RUNNING, run=run)

    def ended(self, node: Node, end: End) -> None:
        """Take down what became of a node, and that it is proven if PuppetDB has said so."""
        self._waits.pop(node.name, None)
        self._outcome(node, ENDED, end._replace(report=None))
        if end.report is not None:
            self.proven(node, End(end.outcome, report=end.report))

    def proven(self, node: Node, end: End) -> None:
        """Take down that PuppetDB has the report of a run; what it adds to the line before is in `end`."""
        self._outcome(node, PROVEN, end)

    def unproven(self, node: Node, why: str) -> None:
        """Take down that PuppetDB has no report of a run that the node calls complete."""
        self._outcome(node, ENDED, End(Outcome.UNPROVEN, why))

    def adopt(self, node: Node, known: NodeResult) -> None:
        """Take over the outcome that a node has had in an earlier invocation."""
        assert known.outcome is not None, "kept because of it"
        if known.canary:
            self.canaries |= {node.name}
        standing = self._stand(node, known.outcome, new=known.new)
        self._write(
            node, PROVEN if known.proven else ENDED, at=known.ended,
            run=known.run, outcome=known.outcome, new=standing.new, verdict=known.verdict,
            counts=known.counts, duration_s=known.duration_s, error=known.error, report=known.report,
            configuration_version=known.configuration_version, changes=known.changes,
        )  # fmt: skip
        self._stop_if_exceeded()

    def adopt_open(self, node: Node, earlier: Earlier) -> None:
        """Take over what an earlier invocation has begun on a node.

        This is written before anything is started, so that a result which is killed once more has it.
        """
        if node.name in earlier.runs:
            self._write(node, RUNNING, run=earlier.runs[node.name])
        elif node.name in earlier.in_doubt:
            self._write(node, QUEUED, at=earlier.in_doubt[node.name])

    # ---- what is known

    def outcome(self, node: Node) -> Optional[Outcome]:
        """Return what has become of a node so far."""
        standing = self.standings.get(node.name)
        return standing.outcome if standing else None

    # ---- writing and counting

    def _outcome(self, node: Node, event: str, end: End) -> None:
        standing = self._stand(node, end.outcome, new=self._is_new(node, end.outcome))
        fields = end._asdict()
        self._write(node, event, run=self._runs.get(node.name), new=standing.new, **fields)
        self._stop_if_exceeded()

    def _stop_if_exceeded(self) -> None:
        exceeded = self._budget.exceeded()
        if exceeded is not None:
            self._stop.stop(exceeded)

    def _stand(self, node: Node, outcome: Outcome, *, new: Optional[bool]) -> Standing:
        before = self.standings.get(node.name)
        if before is not None:
            self._budget.take_back(before.outcome, new=before.new)
        standing = Standing(outcome, new)
        self.standings[node.name] = standing
        self._budget.add(outcome, new=standing.new)
        return standing

    def _is_new(self, node: Node, outcome: Outcome) -> Optional[bool]:
        if outcome not in FAILURES:
            return None
        # A node that refuses the request has not run, so it cannot have failed as before.
        return outcome is Outcome.REFUSED or node.name not in self._failed_before

    def _write(self, node: Node, event: str, *, at: Optional[float] = None, **fields: object) -> None:
        canary = node.name in self.canaries
        event_time = at if at is not None else time.time()
        self._record(NodeEvent(event_time, node.name, event, canary=canary, **cast(Any, fields)))
