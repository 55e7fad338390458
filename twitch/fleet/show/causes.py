"""Why nodes are not good: grouped by the first failing resource and its message, without what differs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, Optional

from twitch.fleet.outcomes import Outcome
from twitch.fleet.show.blanking import blank, common, without_name
from twitch.fleet.show.brief import brief
from twitch.fleet.show.results import NodeResult

# Outcomes of a resource that make a run fail, in the words of a node's record.
FAILED = ("failed", "failed to restart")

# What a node says around the reason and the error of a run (`failure` of twitch/views.py).
SAID = re.compile(
    r"^(?:Puppet run failed: (?:(?:interrupted|not attempted|busy): )?)?"
    r"(.*?)(?:; journalctl _SYSTEMD_INVOCATION_ID=\S+)?$",
    re.DOTALL,
)
# A resource, and what happened to it.
RESOURCE = re.compile(r"([A-Z]\w*(?:::[A-Z]\w*)*\[.*?\])(?:: (.+))?", re.DOTALL)

# The old and the new value of a property, such as two checksums, stand before the reason (Puppet's
# util/errors and parameter). They differ from node to node, fill the line, and can be secrets.
VALUES = re.compile(r"^change from .+? failed: (?=.)", re.DOTALL)


class Cause(NamedTuple):
    """One cause, and the nodes that have it."""

    outcome: Outcome
    resource: Optional[str]  # None: no resource failed, as without a catalog
    message: str  # as it is if it is the same everywhere; else NODE, PATH, ID or N where it differs
    nodes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The cause on one line."""
        return f"{self.resource}: {self.message}" if self.resource else self.message


def causes_of(nodes: Iterable[NodeResult]) -> list[Cause]:
    """Return the causes of these nodes, first the one of most nodes."""
    groups: dict[tuple[Outcome, Optional[str], str], tuple[set[str], list[str]]] = {}
    for node in nodes:
        if node.outcome is None:
            continue
        resource, message = why(node)
        texts, names = groups.setdefault((node.outcome, resource, blank(message)), (set(), []))
        texts.add(message)
        names.append(node.name)
    causes = [
        Cause(outcome, resource, common(texts), tuple(names))
        for (outcome, resource, _), (texts, names) in groups.items()
    ]
    return sorted(causes, key=lambda cause: (-len(cause.nodes), cause.text))


def why(node: NodeResult) -> tuple[Optional[str], str]:
    """Return the first failing resource and the message, each on one line, without the name of the node."""
    error = node.error or node.verdict or (node.outcome.value if node.outcome else "")
    found = SAID.match(error)
    said = found[1] if found and found[1] else error
    failed = next((change for change in node.changes if change.outcome in FAILED), None)
    named = RESOURCE.fullmatch(said)
    if failed is None and named is None:
        return None, _line(said, node.name)
    resource = failed.resource if failed else named[1] if named else ""
    if failed and failed.message:
        message = failed.message
    elif named and named[1] == resource:
        message = named[2] or (failed.outcome if failed else FAILED[0])
    else:
        message = said
    return _line(resource, node.name), _line(VALUES.sub("", message), node.name)


def line_of(node: NodeResult) -> str:
    """Return why one node is not good, on one line."""
    resource, message = why(node)
    return brief(f"{resource}: {message}") if resource else message


def _line(text: str, node: str) -> str:
    return brief(" ".join(without_name(text, node).split()))
