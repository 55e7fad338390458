"""Going on where an earlier invocation has ended or was killed (--from RESULT), without a state of ours.

The result file has the ids of all runs, and the nodes and PuppetDB know what became of them:

    what the file says of a node          what is done
    an outcome that is certain            it keeps the outcome
    late, lost or unproven, with a run    the run is followed
    good, and killed before the proof     the run is followed
    running, with a run                   the run is followed
    queued, or lost without a run         the node is asked for our label first, then for a run
    queued, with a reason to wait         the node is asked for a run
    nothing, or not started               the node is asked for a run

The label is that of the earlier invocation, so runs that it has started are found by it.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from typing import NamedTuple

from twitch.errors import UsageError
from twitch.fleet.events import QUEUED, Ask
from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import GOOD, Outcome
from twitch.fleet.run.ledger import Earlier
from twitch.fleet.show.results import NodeResult, Results

NOT_CERTAIN = frozenset({Outcome.LATE, Outcome.LOST, Outcome.UNPROVEN})


class Resumed(NamedTuple):
    """What is left to do."""

    ask: Ask
    nodes: list[Node]  # that go through the window
    kept: list[tuple[Node, NodeResult]]  # that keep their outcomes
    failed_before: frozenset[str]
    earlier: Earlier


def resumes(options: Namespace) -> bool:
    """Return whether the command goes on with an earlier run: with --from, and without --only."""
    return options.result is not None and not options.only


def resume(results: Results, nodes: Iterable[Node], ask: Ask, *, proves: bool = False) -> Resumed:
    """Return what is left to do for these nodes of an earlier result.

    `proves`: this invocation has a PuppetDB, so runs that the earlier one could not prove any more are
    followed for their proof. Raise UsageError if `ask`, the options of this invocation, asks for something
    else.
    """
    plan = results.plan
    assert plan is not None, "a result file begins with a plan"
    runs: dict[str, str] = {}
    in_doubt: dict[str, float] = {}
    rest: list[Node] = []
    kept: list[tuple[Node, NodeResult]] = []
    for node in nodes:
        known = results.nodes.get(node.name)
        if known is None or _untouched(known):
            rest.append(node)
        elif _certain(known, proves=proves and plan.puppetdb is not None):
            kept.append((node, known))
        else:
            rest.append(node)
            if known.run is not None and known.step != QUEUED:
                runs[node.name] = known.run
            else:
                in_doubt[node.name] = known.asked or plan.time
    return Resumed(_same(plan.ask, ask), rest, kept, frozenset(plan.failed_before), Earlier(runs, in_doubt))


def _certain(known: NodeResult, *, proves: bool) -> bool:
    if known.outcome is None or known.outcome in NOT_CERTAIN:
        return False
    return not (proves and known.outcome in GOOD and known.run is not None and not known.proven)


def _untouched(known: NodeResult) -> bool:
    if known.outcome is not None:
        return known.outcome is Outcome.NOT_STARTED
    return known.step is None or (known.step == QUEUED and known.error is not None)


def _same(before: Ask, now: Ask) -> Ask:
    """Return what is asked for: the same as before."""
    if now._replace(label=None) not in (Ask(), before._replace(label=None)):
        raise UsageError(
            "--from goes on with what was asked for before, so --noop, --tags, --environment and --no-queue "
            "do not go with it; with --only KIND, these nodes are run anew"
        )
    if now.label not in (None, before.label):
        raise UsageError(f"--from goes on with the label of before, which is {before.label}")
    return before
