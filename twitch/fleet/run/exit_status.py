"""The exit status: what a script may rely on. Each bit has one rule, and the bits are added."""

from __future__ import annotations

import signal
from typing import Optional

from twitch.fleet import exits
from twitch.fleet.outcomes import UNCERTAIN, Outcome
from twitch.fleet.run.budget import Budget


def of(budget: Budget, *, left_by: Optional[signal.Signals] = None, exit_pending: bool = False) -> int:
    """Return the exit status, when nothing more will happen.

    `left_by`: the signal after which the runs are not followed any more. `exit_pending`: changes that a noop
    run would make are said in the status.
    """
    if left_by is not None:
        return 128 + left_by
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
