"""Which runs `cancel --from` stops: those with an id and without an end in the result, and no others."""

from __future__ import annotations

from typing import Optional

import pytest

from tests.unit.fleet.show.test_results import results_of
from twitch.fleet.events import ENDED, PROVEN, QUEUED, RUNNING, NodeEvent
from twitch.fleet.open_runs import open_runs
from twitch.fleet.outcomes import Outcome

OLD, NEW = "1" * 32, "2" * 32


def event(kind: str, run: Optional[str] = None, outcome: Optional[Outcome] = None) -> NodeEvent:
    return NodeEvent(1.0, "a", kind, run, outcome)


QUEUE = event(QUEUED)
BUSY = event(QUEUED)._replace(error="409: Puppet is running")
RUN, AGAIN = event(RUNNING, OLD), event(RUNNING, NEW)


@pytest.mark.parametrize(
    ("events", "run"),
    [
        ((QUEUE, RUN), OLD),
        ((QUEUE, RUN, event(ENDED, OLD, Outcome.LATE)), OLD),
        ((QUEUE, RUN, event(ENDED, OLD, Outcome.LOST)), OLD),
        # Run anew into the same file.
        ((QUEUE, RUN, event(ENDED, OLD, Outcome.FAILED), QUEUE, AGAIN), NEW),
        ((QUEUE, RUN, event(ENDED, OLD, Outcome.LATE), RUN), OLD),
        ((QUEUE, RUN, BUSY, QUEUE, AGAIN), NEW),
    ],
)
def test_run_without_an_end_is_open(events: tuple[NodeEvent, ...], run: str) -> None:
    assert open_runs(results_of(*events)) == ({"a": run}, frozenset())


@pytest.mark.parametrize(
    "events",
    [
        (QUEUE,),
        (QUEUE, event(ENDED, None, Outcome.LOST)),
        (QUEUE, RUN, BUSY, QUEUE),
        (QUEUE, RUN, event(ENDED, OLD, Outcome.FAILED), QUEUE),
    ],
)
def test_node_without_an_answer_is_in_doubt(events: tuple[NodeEvent, ...]) -> None:
    assert open_runs(results_of(*events)) == ({}, frozenset({"a"}))


@pytest.mark.parametrize(
    "events",
    [
        (),
        (QUEUE, BUSY),
        (QUEUE, RUN, BUSY),
        (QUEUE, RUN, event(ENDED, OLD, Outcome.CHANGED)),
        (QUEUE, RUN, event(ENDED, OLD, Outcome.CHANGED), event(PROVEN, OLD, Outcome.CHANGED)),
        (QUEUE, RUN, event(ENDED, OLD, Outcome.CHANGED), event(ENDED, OLD, Outcome.UNPROVEN)),
        (QUEUE, RUN, event(ENDED, OLD, Outcome.LATE), event(ENDED, OLD, Outcome.FAILED)),
        (QUEUE, event(ENDED, None, Outcome.UNREACHABLE)),
        (QUEUE, RUN, BUSY, event(ENDED, None, Outcome.NOT_STARTED)),
    ],
)
def test_node_without_a_run_that_goes_on(events: tuple[NodeEvent, ...]) -> None:
    assert open_runs(results_of(*events)) == ({}, frozenset())
