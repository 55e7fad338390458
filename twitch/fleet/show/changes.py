"""The grouped table of changes: what, where in the code, and on how many nodes; the odd ones out by name."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple, Optional

from twitch.fleet.events import Change
from twitch.fleet.show.blanking import NODE, without_name
from twitch.fleet.show.results import Results
from twitch.texts import one_line

CHANGED, WOULD_CHANGE, SKIPPED = "changed", "would change", "skipped"

# Beyond so many rows, resources of one type from one place in the code become one row.
MAX_ROWS = 25
# So many nodes are named instead of counted.
MAX_NAMED = 3
# A node is the odd one out if at least so many others per missing node have the change.
OTHERS = 10

# What is the same for every place in the code: the folder of the environment, and of its modules.
CODE = re.compile(r"^(?:.*/environments/[^/]+|.*?/code)/(?:modules/)?")


class Row(NamedTuple):
    """One change, and the nodes that have it."""

    resource: str  # with NODE for the name of the node; `File (7 titles, such as /etc/motd)`
    properties: tuple[str, ...]
    place: str  # ntp/manifests/config.pp:12; empty if it is not known
    outcome: str
    applied: bool  # in a noop run: the resource has noop => false of its own
    nodes: tuple[str, ...]
    missing: tuple[str, ...] = ()  # the few nodes that changed something, but not this

    @property
    def urgent(self) -> bool:
        """Whether an operator has to see this first."""
        return self.applied or self.outcome not in (CHANGED, WOULD_CHANGE, SKIPPED)


class _Key(NamedTuple):
    resource: str
    properties: tuple[str, ...]
    place: str
    outcome: str


def rows_of(results: Results, *, merge: bool = True) -> list[Row]:
    """Return the rows: what was applied although noop, what failed, then by the number of nodes.

    With `merge`, a table that is too long has one row for the resources of one type from one place.
    """
    groups = _groups(results)
    if merge and len(groups) > MAX_ROWS:
        groups = _merged(groups)
    noop = bool(results.plan and results.plan.ask.noop)
    changed = {node for names in groups.values() for node in names}
    rows = [
        Row(
            *key,
            applied=noop and key.outcome == CHANGED,
            nodes=tuple(nodes),
            missing=_missing(changed, nodes),
        )
        for key, nodes in groups.items()
    ]
    return sorted(rows, key=_order)


def _order(row: Row) -> tuple[bool, bool, bool, int, str]:
    return not row.applied, not row.urgent, row.outcome == SKIPPED, -len(row.nodes), row.resource


def _groups(results: Results) -> dict[_Key, list[str]]:
    groups: dict[_Key, list[str]] = defaultdict(list)
    keys: dict[Change, _Key] = {}  # equal changes are one object, and most have no name of a node
    for node in results.nodes.values():
        for change in node.changes:
            key = keys.get(change)
            if key is None:
                resource = without_name(change.resource, node.name)
                key = _Key(
                    one_line(resource),
                    tuple(map(one_line, change.properties)),
                    place_of(change),
                    one_line(change.outcome),
                )
                if NODE not in resource:
                    keys[change] = key
            names = groups[key]
            if not names or names[-1] != node.name:
                names.append(node.name)
    return groups


def place_of(change: Change) -> str:
    """Return file and line in the code, without the folder of the environment."""
    if not change.file:
        return ""
    line = f":{change.line}" if change.line is not None else ""
    return one_line(CODE.sub("", change.file) + line)


def _merged(groups: dict[_Key, list[str]]) -> dict[_Key, list[str]]:
    """Return one group for all resources of one type from one place, with the same properties and outcome."""
    families: dict[_Key, list[_Key]] = defaultdict(list)
    for key in groups:
        families[key._replace(resource=key.resource.partition("[")[0]) if key.place else key].append(key)
    merged = {}
    for family, keys in families.items():
        if len(keys) == 1:
            merged[keys[0]] = groups[keys[0]]
            continue
        title = keys[0].resource.partition("[")[2].rstrip("]")
        resource = f"{family.resource} ({len(keys):,} titles, such as {title})"
        merged[family._replace(resource=resource)] = list(
            dict.fromkeys(name for key in keys for name in groups[key])
        )
    return merged


def _missing(changed: set[str], nodes: list[str]) -> tuple[str, ...]:
    number = len(changed) - len(nodes)
    if not 0 < number <= MAX_NAMED or len(nodes) < OTHERS * number:
        return ()
    return tuple(sorted(changed.difference(nodes)))


def nodes_with(results: Results, resource: str) -> Optional[list[str]]:
    """Return the nodes with a change of this resource, as a row names it; None if no row does."""
    found = [row for row in rows_of(results) + rows_of(results, merge=False) if row.resource == resource]
    return list(dict.fromkeys(name for row in found for name in row.nodes)) if found else None
