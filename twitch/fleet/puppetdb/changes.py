"""What runs have changed, or a noop run would change, by the events of their reports.

The groups are one query, whatever the number of nodes (0.09 s in PuppetDB 8.4.1): what, where in the
code, and on how many nodes. Values are only asked for where an operator wants them, because they can be
secrets, and because checksums and versions differ from node to node, and would split the groups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Optional

from twitch.fleet.events import Change
from twitch.fleet.puppetdb.client import PuppetDB, Row
from twitch.fleet.puppetdb.rows import chunks, one_of, text
from twitch.texts import one_line

# The status of an event -> the outcome of its resource, in the words of a node's record.
OUTCOMES = {"failure": "failed", "success": "changed", "noop": "would change", "skipped": "skipped"}
SUCCESS = "success"

GROUP = ["resource_type", "resource_title", "property", "status", "file", "line"]
VALUES = ["old_value", "new_value"]
OF_A_CHANGE = ["report", "resource_type", "resource_title", "property", "status", "file", "line"]
REPORTS = 500  # whose events are read at once; a report with everything new has hundreds of them


class Group(NamedTuple):
    """One change, and the number of runs that have it."""

    resource_type: str
    resource_title: str
    property_name: Optional[str]
    status: str  # success, failure, noop or skipped
    file: Optional[str]
    line: Optional[int]
    runs: int
    old_value: Any = None  # only if asked for
    new_value: Any = None

    @property
    def resource(self) -> str:
        """Return the resource as Puppet writes it: File[/etc/motd]."""
        return f"{self.resource_type}[{self.resource_title}]"

    def applied(self, *, noop: bool) -> bool:
        """Return whether it was applied although the run was a noop run, by noop => false of its own."""
        return noop and self.status == SUCCESS


async def groups_of(database: PuppetDB, runs: Collection[str], *, values: bool = False) -> list[Group]:
    """Return the changes of these runs, the most frequent first."""
    columns = [*GROUP, *VALUES] if values else GROUP
    counts: dict[str, tuple[Row, int]] = {}
    for ids in chunks(sorted(set(runs)), await database.array_limit()):
        wanted = ["extract", [*columns, ["function", "count"]], _of_runs(ids), ["group_by", *columns]]
        for row in await database.query(["from", "events", wanted]):
            count = row.pop("count")
            key = repr([row.get(column) for column in columns])
            counts[key] = row, count + counts.get(key, (row, 0))[1]
    groups = [_group(row, count) for row, count in counts.values()]
    return sorted(groups, key=lambda group: (-group.runs, group.resource, group.property_name or ""))


async def nodes_of(database: PuppetDB, runs: Collection[str], group: Group) -> list[str]:
    """Return the nodes of a group, whatever the values."""
    same = [["=", column, value] for column, value in zip(GROUP, group) if value is not None]
    found: set[str] = set()
    for ids in chunks(sorted(set(runs)), await database.array_limit()):
        wanted = ["extract", ["certname"], ["and", _of_runs(ids), *same], ["group_by", "certname"]]
        found.update(str(row["certname"]) for row in await database.query(["from", "events", wanted]))
    return sorted(found)


async def changes_of(database: PuppetDB, reports: Mapping[str, str]) -> dict[str, tuple[Change, ...]]:
    """Return what happened to the resources of each run; `reports` is run -> the hash of its report.

    The changes are those that a node's own record has, without values and without messages, which quote
    them; only a failure has its message.
    """
    run_of = {report: run for run, report in reports.items()}
    events: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for hashes in chunks(sorted(run_of), REPORTS):
        wanted = ["extract", [*OF_A_CHANGE, "message"], one_of("report", hashes)]
        for row in await database.query(["from", "events", wanted]):
            resource = f"{row['resource_type']}[{row['resource_title']}]"
            events[run_of[row["report"]]][resource].append(row)
    return {
        run: tuple(_change(resource, rows) for resource, rows in sorted(of_resource.items()))
        for run, of_resource in events.items()
    }


async def code_of(database: PuppetDB, runs: Collection[str]) -> dict[str, int]:
    """Return the configuration versions of these runs, and how many runs had each."""
    counts: dict[str, int] = defaultdict(int)
    column = "configuration_version"
    for ids in chunks(sorted(set(runs)), await database.array_limit()):
        wanted = ["extract", [column, ["function", "count"]], one_of("job_id", ids), ["group_by", column]]
        for row in await database.query(["from", "reports", wanted]):
            if row[column]:  # a run without a catalog has an empty one
                counts[str(row[column])] += int(row["count"])
    return dict(counts)


def several_codes(counts: Mapping[str, int]) -> Optional[str]:
    """Return a sentence if the runs have applied more than one version of the code.

    Without config_version in environment.conf, the version is the time of the catalog in epoch seconds, which
    differs for every run, and says nothing.
    """
    versions = {version: count for version, count in counts.items() if not _is_time(version)}
    if len(versions) < 2:
        return None
    each = (f"{one_line(version)} on {count}" for version, count in sorted(versions.items(), key=_by_count))
    return f"The nodes have not all run the same code: {', '.join(each)}"


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _is_time(version: str) -> bool:
    return version.isdecimal() and len(version) == 10


def _of_runs(ids: Collection[str]) -> list[Any]:
    return ["in", "report", ["from", "reports", ["extract", "hash", one_of("job_id", list(ids))]]]


def _group(row: Row, count: int) -> Group:
    return Group(
        resource_type=str(row["resource_type"]),
        resource_title=str(row["resource_title"]),
        property_name=text(row.get("property")),
        status=str(row["status"]),
        file=text(row.get("file")),
        line=row.get("line"),
        runs=count,
        old_value=row.get("old_value"),
        new_value=row.get("new_value"),
    )


def _change(resource: str, rows: list[Row]) -> Change:
    """Return what the events of one resource in one run amount to: the worst of them counts."""
    statuses = {row["status"] for row in rows}
    status = next((status for status in OUTCOMES if status in statuses), "success")
    failure = next((row.get("message") for row in rows if row["status"] == "failure"), None)
    properties = dict.fromkeys(one_line(row["property"]) for row in rows if text(row.get("property")))
    return Change(
        resource=one_line(resource),
        outcome=OUTCOMES[status],
        properties=tuple(properties),
        file=text(rows[0].get("file")),
        line=rows[0].get("line"),
        message=one_line(failure) if isinstance(failure, str) else None,
    )
