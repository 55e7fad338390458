"""The reports of runs: the query, its chunks, and what a row means."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.fleet import servers
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


def ids_of(query: Any) -> list[str]:
    """Return the ids in a query."""
    ids: list[str] = query[2][2][2][1]
    return ids


async def test_a_row_is_a_report() -> None:
    async with servers.puppetdb([ROW]) as (database, bodies):
        reports = await reports_of(database, [ROW["job_id"]])
    assert reports == {
        ROW["job_id"]: Report(
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
        return [{**ROW, "job_id": run} for run in ids_of(query)]

    async with servers.puppetdb(rows, version) as (database, bodies):
        reports = await reports_of(database, [*runs, *runs])
    assert sorted(reports) == runs
    assert [len(ids_of(body["query"])) for body in bodies] == chunks


async def test_no_runs_need_no_query() -> None:
    async with servers.puppetdb([]) as (database, bodies):
        assert await reports_of(database, []) == {}
    assert bodies == []


async def test_a_run_without_a_catalog_has_no_code() -> None:
    row = {**ROW, "status": "failed", "configuration_version": "", "end_time": None, "environment": None}
    async with servers.puppetdb([row]) as (database, _):
        report = (await reports_of(database, ["x"]))[str(ROW["job_id"])]
    assert (report.status, report.ended, report.configuration_version) == ("failed", None, "")


@pytest.mark.parametrize("status", ["on_failure", "explicitly_requested"])
async def test_a_cached_catalog_is_noticed(status: str) -> None:
    async with servers.puppetdb([{**ROW, "cached_catalog_status": status}]) as (database, _):
        assert (await reports_of(database, ["x"]))[str(ROW["job_id"])].cached_catalog
