"""The exit status: what a script may rely on. Each bit has one rule, and the bits are added."""

from __future__ import annotations

from twitch.fleet import exits
from twitch.fleet.outcomes import UNCERTAIN, Outcome
from twitch.fleet.run.budget import Budget


def of(budget: Budget, *, left: bool = False, exit_pending: bool = False) -> int:
    """Return the exit status, when nothing more will happen.

    `left`: interrupted twice. `exit_pending`: changes that a noop run would make are said in the status.
    """
    if left:
        return exits.LEFT
    count = budget.outcomes
    rules = {
        exits.FAILURES: budget.over_failures,
        exits.UNREACHABLE: budget.over_unreachable,
        # A node whose Puppet was busy to the end was not run either, although nothing has stopped.
        exits.STOPPED: count[Outcome.NOT_STARTED] > 0,
        exits.UNCERTAIN: any(count[outcome] > 0 for outcome in UNCERTAIN),
        exits.CHANGES_PENDING: exit_pending and count[Outcome.PENDING] > 0,
    }
    return sum(bit for bit, applies in rules.items() if applies)
