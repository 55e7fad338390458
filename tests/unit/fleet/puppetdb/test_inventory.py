"""Nodes as PuppetDB knows them."""

from __future__ import annotations

import pytest

from tests.unit.fleet import servers
from twitch.errors import UsageError
from twitch.fleet.nodes import Before
from twitch.fleet.puppetdb import inventory


async def test_names_are_each_there_once() -> None:
    rows = [{"certname": "web2"}, {"certname": "web1"}, {"certname": "web2"}]
    async with servers.puppetdb(rows) as (database, _):
        assert await inventory.names(database, "resources[certname] {}") == ["web2", "web1"]


async def test_a_query_without_certnames_is_an_error_that_says_how() -> None:
    async with servers.puppetdb([{"name": "uptime"}]) as (database, _):
        with pytest.raises(UsageError, match=r"no certname\. Ask for one: nodes\[certname\]"):
            await inventory.names(database, "facts[name] {}")


async def test_what_the_last_runs_did() -> None:
    async with servers.simulated("web1", "bad1") as database:
        before = await inventory.before(database, ["bad1", "web1", "unknown"])
    assert before == {
        "web1": Before("changed", 1795693222.219, "production", cached_catalog=False),
        "bad1": Before("failed", 1795693222.219, "production", cached_catalog=False),
    }


async def test_many_nodes_are_chunks_for_an_old_version() -> None:
    async with servers.puppetdb([], "7.12.1") as (database, bodies):
        await inventory.before(database, [f"web{number}" for number in range(501)])
    assert len(bodies) == 2


async def test_facts_by_node_and_path() -> None:
    async with servers.simulated("web1") as database:
        facts = await inventory.facts(database, ["web1"], ["networking.ip", "trusted.extensions.pp_cluster"])
    assert facts == {"web1": {"networking.ip": "192.0.2.7", "trusted.extensions.pp_cluster": None}}


@pytest.mark.parametrize(
    ("fact", "column"),
    [
        ("networking.ip", "facts.networking.ip"),
        ("facts.networking.ip", "facts.networking.ip"),
        ("trusted.extensions.pp_role", "trusted.extensions.pp_role"),
        ("my_module::fact", "facts.my_module::fact"),
    ],
)
def test_a_fact_is_a_column(fact: str, column: str) -> None:
    assert inventory.column(fact) == column


@pytest.mark.parametrize("fact", ["", "a..b", "networking ip", 'a"b', "networking.ip.", "facts[0]"])
def test_what_is_not_the_name_of_a_fact_is_an_error(fact: str) -> None:
    with pytest.raises(UsageError, match="is not a fact such as"):
        inventory.column(fact)
