from __future__ import annotations

from tests.unit.loops import run
from twitch.fleet.events import ENDED, PROVEN, QUEUED, RUNNING, NodeEvent
from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import Outcome
from twitch.fleet.run.budget import Budget
from twitch.fleet.run.ledger import Ledger
from twitch.fleet.run.verdicts import End
from twitch.fleet.show.results import Results
from twitch.fleet.stopping import Stop

A = Node("a")
RUN = "1" * 32


class Scene:
    """A ledger with what it has written."""

    def __init__(self, max_failures: int = 0, failed_before: tuple[str, ...] = ()) -> None:
        self.lines: list[NodeEvent] = []
        self.stop = Stop()
        self.budget = Budget(max_failures, None)
        self.ledger = Ledger(self.lines.append, self.budget, self.stop, failed_before)

    def steps(self) -> list[tuple[str, object]]:
        return [(line.event, line.error or line.outcome) for line in self.lines]


def test_each_step_is_a_line_and_a_reason_to_wait_is_one_when_it_changes() -> None:
    async def scene() -> None:
        found = Scene()
        found.ledger.queued(A)
        found.ledger.queued(A, "Puppet is running")
        found.ledger.queued(A, "Puppet is running")
        found.ledger.queued(A)
        found.ledger.running(A, RUN)
        found.ledger.ended(A, End(Outcome.CHANGED, report="hash"))
        assert found.steps() == [
            (QUEUED, None), (QUEUED, "Puppet is running"), (QUEUED, None), (RUNNING, None),
            (ENDED, Outcome.CHANGED), (PROVEN, Outcome.CHANGED),
        ]  # fmt: skip
        assert [line.run for line in found.lines[3:]] == [RUN] * 3
        assert [line.report for line in found.lines[4:]] == [None, "hash"]

    run(scene())


def test_a_later_outcome_takes_the_place_of_an_earlier_one() -> None:
    async def scene() -> None:
        found = Scene()
        found.ledger.running(A, RUN)
        for outcome in (Outcome.LATE, Outcome.CHANGED, Outcome.UNPROVEN):
            found.ledger.ended(A, End(outcome))
            assert +found.budget.outcomes == {outcome: 1}
        results = Results()
        for line in found.lines:
            results.add(line)
        assert results.nodes["a"].outcome is Outcome.UNPROVEN

    run(scene())


def test_a_failure_that_exceeds_the_budget_stops_and_one_as_before_does_not() -> None:
    async def scene() -> None:
        found = Scene(failed_before=("a",))
        found.ledger.ended(A, End(Outcome.FAILED, "no space left"))
        assert (found.lines[-1].new, found.stop.reason) == (False, None)
        found.ledger.ended(Node("b"), End(Outcome.FAILED, "no space left"))
        assert (found.lines[-1].new, found.stop.reason) == (True, "1 newly failed, and --max-failures is 0")

    run(scene())


def test_a_node_that_refuses_has_not_failed_as_before() -> None:
    async def scene() -> None:
        found = Scene(failed_before=("a",))
        found.ledger.ended(A, End(Outcome.REFUSED, "403"))
        assert found.lines[-1].new is True

    run(scene())
