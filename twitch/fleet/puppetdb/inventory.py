"""Nodes as PuppetDB knows them: who they are, how their last run ended, and single facts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from twitch.errors import UsageError
from twitch.fleet.nodes import Before
from twitch.fleet.puppetdb.client import PuppetDB, Query, Row
from twitch.fleet.puppetdb.reports import cached
from twitch.fleet.puppetdb.rows import chunks, epoch, one_of, text

COLUMNS = [
    "certname",
    "latest_report_status",
    "report_timestamp",
    "report_environment",
    "cached_catalog_status",
]

# A path into a structured fact, as people write it: networking.ip, or trusted.extensions.pp_cluster.
FACT = re.compile(r"[A-Za-z0-9_:-]+(\.[A-Za-z0-9_:-]+)*")


async def names(database: PuppetDB, query: Query) -> list[str]:
    """Return the certnames in the rows of a query, each once, in their order."""
    rows = await database.query(query)
    if any(not isinstance(row.get("certname"), str) for row in rows):
        raise UsageError(
            "--query: its rows have no certname. Ask for one: "
            "nodes[certname]{…}, inventory[certname]{…} or resources[certname]{…}"
        )
    return list(dict.fromkeys(row["certname"] for row in rows))


async def before(database: PuppetDB, nodes: Sequence[str]) -> dict[str, Before]:
    """Return how the last runs of these nodes ended; none of a node that is unknown or deactivated there."""
    return {
        row["certname"]: _before(row)
        for row in await _of_nodes(database, "nodes", COLUMNS, nodes)
        if isinstance(row.get("certname"), str)
    }


async def facts(database: PuppetDB, nodes: Sequence[str], paths: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the values of these facts, by node and path; None where a node does not have the fact."""
    columns = {path: column(path) for path in paths}
    rows = await _of_nodes(database, "inventory", ["certname", *dict.fromkeys(columns.values())], nodes)
    return {
        row["certname"]: {path: row.get(name) for path, name in columns.items()}
        for row in rows
        if isinstance(row.get("certname"), str)
    }


def column(fact: str) -> str:
    """Return the column of `inventory` for a fact; raise UsageError for what is not the name of a fact."""
    if not FACT.fullmatch(fact):
        raise UsageError(f"{fact!r} is not a fact such as networking.ip or trusted.extensions.pp_cluster")
    return fact if fact.startswith(("facts.", "trusted.")) else f"facts.{fact}"


async def _of_nodes(
    database: PuppetDB, entity: str, columns: Sequence[str], nodes: Sequence[str]
) -> list[Row]:
    rows: list[Row] = []
    for some in chunks(list(nodes), await database.array_limit()):
        rows += await database.query(["from", entity, ["extract", list(columns), one_of("certname", some)]])
    return rows


def _before(row: Row) -> Before:
    return Before(
        status=text(row.get("latest_report_status")),
        reported=epoch(row.get("report_timestamp")),
        environment=text(row.get("report_environment")),
        cached_catalog=cached(row.get("cached_catalog_status")),
    )
