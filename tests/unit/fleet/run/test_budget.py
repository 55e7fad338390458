from __future__ import annotations

from typing import Optional

import pytest

from twitch.fleet.outcomes import Outcome
from twitch.fleet.run.budget import Budget


def test_failures_of_nodes_that_failed_before_are_not_counted() -> None:
    budget = Budget(1, None)
    for _ in range(50):
        budget.add(Outcome.FAILED, new=False)
    budget.add(Outcome.FAILED, new=True)
    assert budget.exceeded() is None
    budget.add(Outcome.FAILED, new=True)
    assert budget.exceeded() == "2 newly failed, and --max-failures is 1"


def test_old_failures_are_counted_if_the_operator_asks_for_it() -> None:
    budget = Budget(1, None, count_old=True)
    budget.add(Outcome.FAILED, new=False)
    assert budget.exceeded() is None
    budget.add(Outcome.FAILED, new=False)
    assert budget.exceeded() == "2 failed, and --max-failures is 1"


@pytest.mark.parametrize(
    "outcome", [Outcome.FAILED, Outcome.INTERRUPTED, Outcome.NOT_ATTEMPTED, Outcome.REFUSED]
)
def test_every_kind_of_failure_is_counted(outcome: Outcome) -> None:
    budget = Budget(0, 0)
    budget.add(outcome, new=True)
    assert budget.over_failures and not budget.over_unreachable


@pytest.mark.parametrize("outcome", [one for one in Outcome if one not in (Outcome.UNREACHABLE,)][:3])
def test_a_good_node_is_in_no_budget(outcome: Outcome) -> None:
    budget = Budget(0, 0)
    budget.add(outcome, new=None)
    assert budget.exceeded() is None


@pytest.mark.parametrize(
    "outcome", [Outcome.DISABLED, Outcome.LATE, Outcome.LOST, Outcome.UNPROVEN, Outcome.NOT_STARTED]
)
def test_a_node_that_did_not_fail_is_in_no_budget(outcome: Outcome) -> None:
    budget = Budget(0, 0)
    budget.add(outcome, new=None)
    assert budget.exceeded() is None


@pytest.mark.parametrize("limit", [None, 3])
def test_unreachable_nodes_have_a_budget_of_their_own(limit: Optional[int]) -> None:
    budget = Budget(0, limit)
    for _ in range(4):
        budget.add(Outcome.UNREACHABLE, new=None)
    assert not budget.over_failures
    assert budget.exceeded() == (limit and "4 unreachable, and --max-unreachable is 3")


def test_a_late_run_that_fails_after_all_is_counted_once() -> None:
    budget = Budget(0, None)
    budget.add(Outcome.LATE, new=None)
    budget.take_back(Outcome.LATE, new=None)
    budget.add(Outcome.FAILED, new=True)
    assert (budget.failures, budget.outcomes[Outcome.LATE]) == (1, 0)
