"""The reports of runs, by the ids of the runs: the proof that a run has ended, and how.

The id of a run is Puppet's --job-id, which PuppetDB has stored with each report since 5.0.0, with an index.
The server gives the report to PuppetDB before the agent ends, and the report can be found when PuppetDB has
worked off its queue: 32 ms after the end of a run with an idle PuppetDB (8.4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Optional

from twitch.fleet.puppetdb.client import PuppetDB, Row
from twitch.fleet.puppetdb.rows import chunks, epoch, one_of, required, text

COLUMNS = [
    "certname",
    "job_id",
    "hash",
    "status",
    "noop",
    "noop_pending",
    "end_time",
    "environment",
    "configuration_version",
    "cached_catalog_status",
]


class Report(NamedTuple):
    """What PuppetDB knows of one run."""

    run: str
    node: str
    hash: str
    status: Optional[str]  # unchanged, changed or failed. A noop run with pending changes is unchanged.
    noop: bool
    noop_pending: bool
    ended: Optional[float]  # epoch seconds
    environment: Optional[str]
    configuration_version: Optional[str]
    cached_catalog: bool


async def reports_of(database: PuppetDB, runs: Mapping[str, str]) -> dict[str, Report]:
    """Return the reports that PuppetDB has of these runs, by node; `runs` is node -> the id of its run.

    A report under another certname proves nothing: a node can name the run of another node as its own, and
    can send a report with the id of such a run.
    """
    found: dict[str, Report] = {}
    for ids in chunks(sorted(set(runs.values())), await database.array_limit()):
        rows = await database.query(["from", "reports", ["extract", COLUMNS, one_of("job_id", ids)]])
        reports = map(_report, rows)
        found.update((report.node, report) for report in reports if runs.get(report.node) == report.run)
    return found


def cached(status: object) -> bool:
    """Return whether a run used a cached catalog, by the field cached_catalog_status."""
    return status in ("on_failure", "explicitly_requested")


def _report(row: Row) -> Report:
    return Report(
        run=required(row, "job_id"),
        node=required(row, "certname"),
        hash=required(row, "hash"),
        status=text(row.get("status")),
        noop=row.get("noop") is True,
        noop_pending=row.get("noop_pending") is True,
        ended=epoch(row.get("end_time")),
        environment=text(row.get("environment")),
        configuration_version=text(row.get("configuration_version")),
        cached_catalog=cached(row.get("cached_catalog_status")),
    )
