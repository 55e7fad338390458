"""The reports of runs: the query, its chunks, and what a row means."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.fleet import servers
from twitch.fleet.puppetdb.client import PuppetDBError
from twitch.fleet.puppetdb.reports import Report, reports_of

# As PuppetDB 8.4.1 has sent it.
ROW: dict[str, Any] = {
    "certname": "web2.test",
    "job_id": "aaaa0000000000000000000000000002",
    "hash": "1e936b258f300746103a91465ee81995af0d9835",
    "status": "changed",
    "noop": True,
    "noop_pending": True,
    "configuration_version": "1795693265",
    "cached_catalog_status": "not_used",
    "environment": "production",
    "end_time": "2026-11-26T11:41:07.155Z",
}
RUNS = {"web2.test": str(ROW["job_id"])}


def ids_of(query: Any) -> list[str]:
    """Return the ids in a query."""
    ids: list[str] = query[2][2][2][1]
    return ids


async def test_a_row_is_a_report() -> None:
    async with servers.puppetdb([ROW]) as (database, bodies):
        reports = await reports_of(database, {"web2.test": ROW["job_id"]})
    assert reports == {
        "web2.test": Report(
            run="aaaa0000000000000000000000000002",
            node="web2.test",
            hash="1e936b258f300746103a91465ee81995af0d9835",
            status="changed",
            noop=True,
            noop_pending=True,
            ended=1795693267.155,
            environment="production",
            configuration_version="1795693265",
            cached_catalog=False,
        )
    }
    assert bodies[0]["query"][2][2] == ["in", "job_id", ["array", [ROW["job_id"]]]]


@pytest.mark.parametrize(("version", "chunks"), [("7.12.1", [500, 500, 200]), ("8.4.1", [1200])])
async def test_old_versions_get_chunks(version: str, chunks: list[int]) -> None:
    runs = [f"{number:032x}" for number in range(1200)]

    def rows(query: Any) -> list[dict[str, Any]]:
        return [{**ROW, "job_id": run, "certname": f"node{int(run, 16)}"} for run in ids_of(query)]

    async with servers.puppetdb(rows, version) as (database, bodies):
        reports = await reports_of(database, {f"node{int(run, 16)}": run for run in runs})
    assert sorted(report.run for report in reports.values()) == runs
    assert [len(ids_of(body["query"])) for body in bodies] == chunks


async def test_no_runs_need_no_query() -> None:
    async with servers.puppetdb([]) as (database, bodies):
        assert await reports_of(database, {}) == {}
    assert bodies == []


async def test_a_run_without_a_catalog_has_no_code() -> None:
    row = {**ROW, "status": "failed", "configuration_version": "", "end_time": None, "environment": None}
    async with servers.puppetdb([row]) as (database, _):
        report = (await reports_of(database, RUNS))["web2.test"]
    assert (report.status, report.ended, report.configuration_version) == ("failed", None, "")


@pytest.mark.parametrize("status", ["on_failure", "explicitly_requested"])
async def test_a_cached_catalog_is_noticed(status: str) -> None:
    async with servers.puppetdb([{**ROW, "cached_catalog_status": status}]) as (database, _):
        assert (await reports_of(database, RUNS))["web2.test"].cached_catalog


async def test_a_report_of_another_node_with_the_id_of_a_run_is_no_proof() -> None:
    run = str(ROW["job_id"])
    forged = {**ROW, "certname": "evil.test", "status": "failed", "hash": "f" * 40}
    async with servers.puppetdb([ROW, forged]) as (database, _):
        reports = await reports_of(database, {"web2.test": run, "other.test": run})
    assert {name: report.hash for name, report in reports.items()} == {"web2.test": ROW["hash"]}


@pytest.mark.parametrize("column", ["certname", "job_id", "hash"])
async def test_a_row_without_a_column_is_an_error_of_puppetdb(column: str) -> None:
    async with servers.puppetdb([{**ROW, column: None}]) as (database, _):
        with pytest.raises(PuppetDBError, match=f"a row without '{column}'"):
            await reports_of(database, RUNS)
