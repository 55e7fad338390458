"""What is known of every node after any number of events: the model that screens, files and pages read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Optional, Union

from twitch.fleet.events import ENDED, PROVEN, QUEUED, RUNNING, Change, Counts, NodeEvent, Plan, Summary
from twitch.fleet.outcomes import FAILURES, GOOD, Outcome
from twitch.texts import one_line

# The nodes that `--only remaining` and `--remaining FILE` name, beside those without an outcome: it is not
# known of them that the run was done.
REMAINING = frozenset({Outcome.NOT_STARTED, Outcome.LATE, Outcome.LOST, Outcome.UNPROVEN})


class NodeResult:
    """What is known of one node."""

    __slots__ = (
        "asked",
        "canary",
        "changes",
        "configuration_version",
        "counts",
        "duration_s",
        "ended",
        "error",
        "failed_before",
        "fixed",
        "name",
        "new",
        "outcome",
        "report",
        "run",
        "started",
        "step",
        "verdict",
    )

    def __init__(self, name: str, *, failed_before: bool = False) -> None:
        self.name = name
        self.failed_before = failed_before  # the run before this one
        self.fixed = False  # failed before, and good now
        self.step: Optional[str] = None  # one of events.STEPS; None: not asked yet
        self.asked: Optional[float] = None  # epoch seconds
        self.started: Optional[float] = None
        self.ended: Optional[float] = None
        self.run: Optional[str] = None
        self.outcome: Optional[Outcome] = None
        self.new: Optional[bool] = None  # of a failure: the run before had not failed; None: not known
        self.verdict: Optional[str] = None
        self.counts: Optional[Counts] = None
        self.duration_s: Optional[float] = None
        self.error: Optional[str] = None
        self.report: Optional[str] = None
        self.configuration_version: Optional[str] = None
        self.changes: tuple[Change, ...] = ()
        self.canary = False

    @property
    def proven(self) -> bool:
        """Whether PuppetDB has the report of the run."""
        return self.report is not None


class Results:
    """Every node of the plan, and the numbers; `add` takes the same time for each event."""

    def __init__(self) -> None:
        self.plan: Optional[Plan] = None
        self.summary: Optional[Summary] = None
        self.nodes: dict[str, NodeResult] = {}  # in the order of the plan
        self.running: dict[str, NodeResult] = {}  # the run that began first is the first
        self.outcomes: Counter[Outcome] = Counter()
        self.failed_new = 0
        self.failed_before = 0
        self.fixed = 0
        self.began: Optional[float] = None  # epoch seconds, of the first plan
        self.latest: Optional[float] = None  # epoch seconds, of the latest line
        self.cut = False  # the last line of the file is incomplete
        self._changes: dict[Change, Change] = {}

    def add(self, line: Union[Plan, NodeEvent, Summary]) -> None:
        """Take in one line, in the order of the file."""
        self.began = line.time if self.began is None else self.began
        self.latest = line.time
        if isinstance(line, NodeEvent):
            self._event(line)
        elif isinstance(line, Plan):
            self._plan(line)
        else:
            self.summary = line
            self.running.clear()

    def count(self, *outcomes: Outcome) -> int:
        """Return the number of nodes with one of these outcomes."""
        return sum(self.outcomes[outcome] for outcome in outcomes)

    @property
    def finished(self) -> int:
        """The number of nodes that have an outcome."""
        return sum(self.outcomes.values())

    @property
    def failed(self) -> int:
        """The number of failures, as --max-failures counts them together with old ones."""
        return self.count(*FAILURES)

    @property
    def compared(self) -> bool:
        """Whether it is known which nodes failed before."""
        return bool(self.plan and self.plan.puppetdb) or any(
            node.failed_before for node in self.nodes.values()
        )

    def having(self, outcomes: Iterable[Outcome], *, new: Optional[bool] = None) -> Iterator[NodeResult]:
        """Yield the nodes with one of these outcomes, in the order of the plan; only new or old failures."""
        wanted = frozenset(outcomes)
        for node in self.nodes.values():
            if node.outcome in wanted and (new is None or node.new is new):
                yield node

    def remaining(self) -> list[str]:
        """Return the nodes of which it is not known that the run was done, in the order of the plan."""
        return [
            name for name, node in self.nodes.items() if node.outcome is None or node.outcome in REMAINING
        ]

    def _plan(self, plan: Plan) -> None:
        """Take in a plan. With a later one, what is known of a node stays until the next event of it."""
        self.plan, self.summary = plan, None
        failed_before = frozenset(map(one_line, plan.failed_before))
        for name in map(one_line, plan.nodes):  # a file of somebody else can have any text there
            known = self.nodes.get(name)
            if known is None:
                self.nodes[name] = NodeResult(name, failed_before=name in failed_before)
            elif name in failed_before:
                known.failed_before = True

    def _event(self, event: NodeEvent) -> None:
        node = self.nodes.get(event.node)
        if node is None:  # a node that the plan does not have: still nothing is lost
            name = one_line(event.node)
            node = self.nodes.setdefault(name, NodeResult(name))
        self._count(node, -1)
        self._take(node, event)
        self._count(node, +1)
        if event.event == RUNNING and node.outcome is None:
            self.running.setdefault(node.name, node)
        elif event.event in (ENDED, PROVEN):
            self.running.pop(node.name, None)

    def _take(self, node: NodeResult, event: NodeEvent) -> None:
        if event.run is not None and node.run is not None and event.run != node.run:
            _forget(node)  # the node was run anew: what is known is of another run
        node.step = event.event
        node.run = event.run or node.run
        node.canary = node.canary or event.canary
        node.error = event.error if event.event != PROVEN or event.error else node.error
        if event.event == QUEUED:
            node.asked = node.asked or event.time
        elif event.event == RUNNING:
            node.started = node.started or event.time
        elif event.event == ENDED and (node.ended is None or event.outcome is not Outcome.UNPROVEN):
            node.ended = event.time  # that a run is unproven is known a minute after its end
        if event.outcome is not None:
            node.outcome = event.outcome
            node.new = self._new(node, event)
            dry = self.plan is not None and self.plan.ask.noop  # a dry run fixes nothing
            node.fixed = node.failed_before and event.outcome in GOOD and not dry
        node.verdict = event.verdict or node.verdict
        node.counts = event.counts or node.counts
        node.duration_s = event.duration_s if event.duration_s is not None else node.duration_s
        node.report = event.report or node.report
        node.configuration_version = event.configuration_version or node.configuration_version
        if event.changes:  # equal changes of many nodes are one object
            node.changes = tuple(self._changes.setdefault(change, change) for change in event.changes)

    def _new(self, node: NodeResult, event: NodeEvent) -> Optional[bool]:
        if event.outcome not in FAILURES:
            return None
        if event.new is not None:
            return event.new
        return not node.failed_before if self.compared else None

    def _count(self, node: NodeResult, one: int) -> None:
        if node.outcome is None:
            return
        self.outcomes[node.outcome] += one
        if node.outcome in FAILURES:
            self.failed_before += one if node.new is False else 0
            self.failed_new += one if node.new is not False else 0
        self.fixed += one if node.fixed else 0


def _forget(node: NodeResult) -> None:
    """Drop what is known of an earlier run of this node."""
    node.started = node.ended = node.outcome = node.new = node.verdict = node.counts = None
    node.duration_s = node.error = node.report = node.configuration_version = None
    node.changes = ()
    node.fixed = False
