"""Every step of every node, in one place: it becomes a line of the result file, and counts in the budget.

A node has one outcome at a time. A later one takes the place of an earlier one: a late run ends after all, or
PuppetDB has no report of a run that the node called complete.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any, Callable, NamedTuple, Optional

from twitch.fleet.events import ENDED, PROVEN, QUEUED, RUNNING, NodeEvent
from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import FAILURES, Outcome
from twitch.fleet.run.budget import Budget
from twitch.fleet.run.stopping import Stop
from twitch.fleet.run.verdicts import End


class Standing(NamedTuple):
    """What has become of a node so far."""

    outcome: Outcome
    new: Optional[bool]
    proven: bool


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
        self._runs: dict[str, str] = {}  # node -> id of its run, until it is proven
        self.standings: dict[str, Standing] = {}
        self.canaries: frozenset[str] = frozenset()

    # ---- the steps

    def queued(self, node: Node, why: Optional[str] = None) -> None:
        """Take down that a node is asked for a run from now on; later, why it has to wait.

        The line is written before the request is sent: if the command is killed, a node with this line and
        without a run is asked for our label first (see resume.py).
        """
        if node.name not in self._waits or (why and self._waits[node.name] != why):
            self._waits[node.name] = why
            self._write(node, QUEUED, error=why)

    def running(self, node: Node, run: str) -> None:
        """Take down the run that the node has started, or will start next."""
        self._waits.pop(node.name, None)
        self._runs[node.name] = run
        self._write(node, RUNNING, run=run)

    def ended(self, node: Node, end: End) -> None:
        """Take down what became of a node."""
        self._waits.pop(node.name, None)
        self._outcome(node, PROVEN if end.report else ENDED, end)

    def proven(self, node: Node, end: End) -> None:
        """Take down that PuppetDB has the report of a run."""
        self._outcome(node, PROVEN, end)
        self._runs.pop(node.name, None)

    def unproven(self, node: Node, why: str) -> None:
        """Take down that PuppetDB has no report of a run that the node calls complete."""
        self._outcome(node, ENDED, End(Outcome.UNPROVEN, why))

    def adopt(self, node: Node, outcome: Outcome, run: Optional[str], *, proven: bool) -> None:
        """Count what an earlier invocation has taken down; nothing is written."""
        if run is not None:
            self._runs[node.name] = run
        self._stand(node, outcome, proven=proven)

    # ---- what is known

    def outcome(self, node: Node) -> Optional[Outcome]:
        """Return what has become of a node so far."""
        standing = self.standings.get(node.name)
        return standing.outcome if standing else None

    def run_of(self, node: Node) -> Optional[str]:
        """Return the id of the run of a node."""
        return self._runs.get(node.name)

    # ---- writing and counting

    def _outcome(self, node: Node, event: str, end: End) -> None:
        standing = self._stand(node, end.outcome, proven=event == PROVEN)
        fields = end._asdict()
        self._write(node, event, run=self._runs.get(node.name), new=standing.new, **fields)
        exceeded = self._budget.exceeded()
        if exceeded is not None:
            self._stop.stop(exceeded)

    def _stand(self, node: Node, outcome: Outcome, *, proven: bool) -> Standing:
        before = self.standings.get(node.name)
        if before is not None:
            self._budget.take_back(before.outcome, before.new)
        standing = Standing(outcome, self._is_new(node, outcome), proven)
        self.standings[node.name] = standing
        self._budget.add(outcome, standing.new)
        return standing

    def _is_new(self, node: Node, outcome: Outcome) -> Optional[bool]:
        if outcome not in FAILURES:
            return None
        # A node that refuses the request has not run, so it cannot have failed as before.
        return outcome is Outcome.REFUSED or node.name not in self._failed_before

    def _write(self, node: Node, event: str, **fields: Any) -> None:
        canary = node.name in self.canaries
        self._record(NodeEvent(time.time(), node.name, event, canary=canary, **fields))
