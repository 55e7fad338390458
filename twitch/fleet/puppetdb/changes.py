"""What runs have changed, or a noop run would change, by the events of their reports.

The table of changes has the changes of each run, which come from the node or from PuppetDB. Results have no
values, because values can be secrets. For --values, PuppetDB counts them: one query for any number of nodes
(0.09 s in PuppetDB 8.4.1).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Optional

from twitch.fleet.events import Change
from twitch.fleet.puppetdb.client import PuppetDB, Row
from twitch.fleet.puppetdb.rows import chunks, one_of, required, text
from twitch.texts import one_line

# The status of an event -> the outcome of its resource, in the words of a node's record.
OUTCOMES = {"failure": "failed", "success": "changed", "noop": "would change", "skipped": "skipped"}

GROUP = ["resource_type", "resource_title", "property", "status", "old_value", "new_value"]
OF_A_CHANGE = ["report", "resource_type", "resource_title", "property", "status", "file", "line"]
REPORTS = 500  # whose events are read at once; a report with everything new has hundreds of them


class Group(NamedTuple):
    """One change with its values, and the number of runs that have it."""

    resource_type: str
    resource_title: str
    property_name: Optional[str]
    status: str  # success, failure, noop or skipped
    old_value: Any
    new_value: Any
    runs: int

    @property
    def resource(self) -> str:
        """Return the resource as Puppet writes it: File[/etc/motd]."""
        return f"{self.resource_type}[{self.resource_title}]"


async def groups_of(database: PuppetDB, runs: Collection[str]) -> list[Group]:
    """Return the changes of these runs with their values, the most frequent first."""
    groups: dict[str, Group] = {}
    for ids in chunks(sorted(set(runs)), await database.array_limit()):
        wanted = ["extract", [*GROUP, ["function", "count"]], _of_runs(ids), ["group_by", *GROUP]]
        for row in await database.query(["from", "events", wanted]):
            key = repr([row.get(column) for column in GROUP])
            known = groups[key].runs if key in groups else 0
            groups[key] = _group(row, known + _count(row))
    return sorted(groups.values(), key=lambda one: (-one.runs, one.resource, one.property_name or ""))


async def changes_of(database: PuppetDB, reports: Mapping[str, str]) -> dict[str, tuple[Change, ...]]:
    """Return what happened to the resources of each node; `reports` is node -> the hash of its report.

    The changes are those that a node's own record has: without values, and without the messages that quote
    values. Only a failure has its message.
    """
    node_of = {report: node for node, report in reports.items()}
    events: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for hashes in chunks(sorted(node_of), REPORTS):
        wanted = ["extract", [*OF_A_CHANGE, "message"], one_of("report", hashes)]
        for row in await database.query(["from", "events", wanted]):
            node = node_of.get(required(row, "report"))
            if node is not None:
                resource = f"{required(row, 'resource_type')}[{required(row, 'resource_title')}]"
                events[node][resource].append(row)
    return {
        node: tuple(_change(resource, rows) for resource, rows in sorted(of_resource.items()))
        for node, of_resource in events.items()
    }


def _of_runs(ids: Collection[str]) -> list[Any]:
    return ["in", "report", ["from", "reports", ["extract", "hash", one_of("job_id", list(ids))]]]


def _count(row: Row) -> int:
    count = row.get("count")
    return count if isinstance(count, int) else 0


def _group(row: Row, runs: int) -> Group:
    return Group(
        resource_type=required(row, "resource_type"),
        resource_title=required(row, "resource_title"),
        property_name=text(row.get("property")),
        status=required(row, "status"),
        old_value=row.get("old_value"),
        new_value=row.get("new_value"),
        runs=runs,
    )


def _change(resource: str, rows: list[Row]) -> Change:
    """Return what the events of one resource in one run amount to: the worst of them counts."""
    statuses = {required(row, "status") for row in rows}
    status = next((status for status in OUTCOMES if status in statuses), "success")
    failure = next((row.get("message") for row in rows if row["status"] == "failure"), None)
    names = (text(row.get("property")) for row in rows)
    line = rows[0].get("line")
    return Change(
        resource=one_line(resource),
        outcome=OUTCOMES[status],
        properties=tuple(dict.fromkeys(one_line(name) for name in names if name)),
        file=text(rows[0].get("file")),
        line=line if isinstance(line, int) else None,
        message=one_line(failure) if isinstance(failure, str) else None,
    )
