from __future__ import annotations

import signal

import pytest

from twitch.fleet.outcomes import Outcome
from twitch.fleet.run import exit_status
from twitch.fleet.run.budget import Budget


def budget(*outcomes: Outcome, max_failures: int = 0, max_unreachable: int = 0) -> Budget:
    counted = Budget(max_failures, max_unreachable)
    for outcome in outcomes:
        counted.add(outcome, new=True)
    return counted


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ((), 0),
        ((Outcome.UNCHANGED, Outcome.CHANGED, Outcome.PENDING, Outcome.DISABLED), 0),
        ((Outcome.FAILED,), 2),
        ((Outcome.REFUSED,), 2),
        ((Outcome.UNREACHABLE,), 4),
        ((Outcome.NOT_STARTED,), 8),
        ((Outcome.UNPROVEN,), 16),
        ((Outcome.LATE, Outcome.LOST), 16),
        ((Outcome.FAILED, Outcome.UNREACHABLE, Outcome.NOT_STARTED, Outcome.LOST), 30),
    ],
)
def test_the_exit_status_has_a_bit_for_each_rule(outcomes: tuple[Outcome, ...], status: int) -> None:
    assert exit_status.of(budget(*outcomes)) == status


def test_the_exit_status_is_0_for_failures_within_the_budget() -> None:
    counted = budget(Outcome.FAILED, Outcome.UNREACHABLE, max_failures=1, max_unreachable=1)
    assert exit_status.of(counted) == 0


def test_the_exit_status_says_pending_changes_only_if_asked_for() -> None:
    pending = budget(Outcome.PENDING)
    assert (exit_status.of(pending), exit_status.of(pending, exit_pending=True)) == (0, 32)


def test_the_exit_status_after_a_signal_is_128_and_its_number() -> None:
    assert exit_status.of(budget(Outcome.FAILED), left_by=signal.SIGINT) == 130
    assert exit_status.of(budget(Outcome.FAILED), left_by=signal.SIGTERM) == 143
