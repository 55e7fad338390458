"""Which runs have no end in a result, and on which nodes a run may have begun whose id it does not have."""

from __future__ import annotations

from typing import NamedTuple, Optional

from twitch.fleet.events import QUEUED, RUNNING
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show.results import NodeResult, Results

# The node was followed no further, and the run may go on.
GOES_ON = frozenset({Outcome.LATE, Outcome.LOST})


class OpenRuns(NamedTuple):
    """What was begun and has no end."""

    runs: dict[str, str]  # node -> id of its run, which is under way, or in the queue of the node
    in_doubt: frozenset[str]  # nodes that were asked for a run, and whose answer is not known


def open_runs(results: Results) -> OpenRuns:
    """Return what has no end in a result."""
    runs = {name: run for name, node in results.nodes.items() if (run := _run(node)) is not None}
    in_doubt = (name for name, node in results.nodes.items() if name not in runs and _is_in_doubt(node))
    return OpenRuns(runs, frozenset(in_doubt))


def _run(node: NodeResult) -> Optional[str]:
    begun = node.step == RUNNING if node.outcome is None else node.outcome in GOES_ON
    return node.run if begun else None


def _is_in_doubt(node: NodeResult) -> bool:
    # With a reason to wait, nothing was started (Ledger.queued).
    return node.outcome is Outcome.LOST or (node.step == QUEUED and node.error is None)
