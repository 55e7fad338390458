"""When too many nodes have failed or cannot be reached: nothing more is started, and the exit status says so.

Both numbers count over all nodes of the plan, not over a batch (ansible#3609, #5073). A node whose run
before this one had failed, and fails again, is not counted, unless the operator asks for it
(--count-old-failures). So ten thousand nodes of which fifty always fail can be run with `--max-failures 3`.
`disabled` is in no budget, because it is Puppet's own maintenance mode.
"""

from __future__ import annotations

from collections import Counter
from typing import Optional

from twitch.fleet.outcomes import FAILURES, Outcome


class Budget:
    """Counts what became of the nodes against the two limits."""

    def __init__(self, max_failures: int, max_unreachable: Optional[int], *, count_old: bool = False) -> None:
        """Allow this many failures, and this many unreachable nodes (None: any number)."""
        self._max_failures = max_failures
        self._max_unreachable = max_unreachable
        self._count_old = count_old
        self.outcomes: Counter[Outcome] = Counter()
        self.failures_new = 0
        self.failures_before = 0

    def add(self, outcome: Outcome, *, new: Optional[bool]) -> None:
        """Count a node. `new` says of a failure whether the run before this one had not failed."""
        self._count(outcome, 1, new=new)

    def take_back(self, outcome: Outcome, *, new: Optional[bool]) -> None:
        """Forget a count of a node that has another outcome now, such as a late run that has ended."""
        self._count(outcome, -1, new=new)

    @property
    def failures(self) -> int:
        """Return the failures that --max-failures limits."""
        return self.failures_new + (self.failures_before if self._count_old else 0)

    @property
    def over_failures(self) -> bool:
        """Whether more nodes have failed than --max-failures allows."""
        return self.failures > self._max_failures

    @property
    def over_unreachable(self) -> bool:
        """Whether more nodes cannot be reached than --max-unreachable allows."""
        return self._max_unreachable is not None and self.unreachable > self._max_unreachable

    @property
    def unreachable(self) -> int:
        """Return the number of nodes that cannot be reached."""
        return self.outcomes[Outcome.UNREACHABLE]

    def exceeded(self) -> Optional[str]:
        """Return which limit is exceeded and by what, or None."""
        if self.over_failures:
            kind = "failed" if self._count_old else "newly failed"
            return f"{self.failures} {kind}, and --max-failures is {self._max_failures}"
        if self.over_unreachable:
            return f"{self.unreachable} unreachable, and --max-unreachable is {self._max_unreachable}"
        return None

    def _count(self, outcome: Outcome, number: int, *, new: Optional[bool]) -> None:
        self.outcomes[outcome] += number
        if outcome in FAILURES and new is not False:
            self.failures_new += number
        elif outcome in FAILURES:
            self.failures_before += number
