"""The nodes of a result that one word names: an outcome, new, before, fixed, a resource, a node."""

from __future__ import annotations

from typing import Callable, Optional

from twitch.errors import UsageError
from twitch.fleet.outcomes import FAILURES, UNCERTAIN, Outcome
from twitch.fleet.show.changes import nodes_with
from twitch.fleet.show.results import REMAINING, NodeResult, Results

Choice = Callable[[NodeResult], bool]


def _with(outcome: Outcome) -> Choice:
    return lambda node: node.outcome is outcome


MEANINGS = {
    Outcome.PENDING: "a dry run that would change something",
    Outcome.NOT_ATTEMPTED: "Puppet did not begin, such as without a signed certificate",
    Outcome.UNPROVEN: "complete, but PuppetDB has no report of the run",
    Outcome.LATE: "still running after --timeout",
    Outcome.LOST: "perhaps started, and what became of it is not known",
    Outcome.REFUSED: "the node does not grant the request",
    Outcome.UNREACHABLE: "nothing was started",
}

# group -> what it is, for the help, and which nodes belong to it
GROUPS: dict[str, tuple[str, Choice]] = {
    "new": (
        "failed, and had not failed before",
        lambda node: node.outcome in FAILURES and node.new is not False,
    ),
    "before": ("failed, as before", lambda node: node.outcome in FAILURES and node.new is False),
    "fixed": ("failed before, and good now", lambda node: node.fixed),
    "uncertain": ("late, lost or unproven", lambda node: node.outcome in UNCERTAIN),
    "remaining": (
        "not started, late, lost, unproven, or without an end",
        lambda node: node.outcome is None or node.outcome in REMAINING,
    ),
    **{outcome.option: (MEANINGS.get(outcome, ""), _with(outcome)) for outcome in Outcome},
}


def nodes_of(results: Results, group: str) -> list[NodeResult]:
    """Return the nodes of a group, a resource such as File[/etc/motd], or a node itself, in order of name.

    Raises `UsageError` if the word is none of them.
    """
    if group in GROUPS:
        belongs = GROUPS[group][1]
        return sorted((node for node in results.nodes.values() if belongs(node)), key=lambda node: node.name)
    if group in results.nodes:
        return [results.nodes[group]]
    names: Optional[list[str]] = nodes_with(results, group)
    if names is None:
        raise UsageError(
            f"{group}: neither a group ({' '.join(GROUPS)}), nor a node or a changed resource of this result"
        )
    return [results.nodes[name] for name in sorted(names)]
