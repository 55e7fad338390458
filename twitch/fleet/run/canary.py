"""A few nodes first, and the rest only if these end proven.

The canaries are the first nodes of the random order, so they are a random sample. A node that cannot tell
(disabled, unreachable, busy, or failing as it did before) is replaced by the next one, until as many as were
asked for have told, or none is left. A canary that is unproven, late or lost stops the command: it is not
known what the change has done. A failure is for the budget, as everywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Iterable, Sequence
from typing import Callable

from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import GOOD, UNCERTAIN
from twitch.fleet.run.ledger import Ledger
from twitch.fleet.stopping import Stop


async def go_first(
    nodes: Iterable[Node],
    size: int,
    stage: Callable[[Sequence[Node]], Awaitable[None]],
    ledger: Ledger,
    stop: Stop,
) -> list[Node]:
    """Run the canaries with `stage`; return the nodes that were not drawn.

    Nodes that are canaries of an earlier invocation count (see resume.py).
    """
    rest = deque(nodes)
    told = sum(_tells(name, ledger) for name in ledger.canaries)
    while told < size and rest and stop.reason is None:
        drawn = [rest.popleft() for _ in range(min(size - told, len(rest)))]
        ledger.canaries |= {node.name for node in drawn}
        await stage(drawn)
        told += sum(_tells(node.name, ledger) for node in drawn)
        for node in drawn:
            standing = ledger.standings.get(node.name)
            if standing is not None and standing.outcome in UNCERTAIN:
                stop.stop(f"the canary {node.name} is {standing.outcome.value}")
    return list(rest)


def _tells(name: str, ledger: Ledger) -> bool:
    """Whether a node shows what the change does: it is good, or it fails and did not fail before."""
    standing = ledger.standings.get(name)
    return standing is not None and (standing.outcome in GOOD or standing.new is True)
