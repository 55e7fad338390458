"""What runs have changed, in groups and by run."""

from __future__ import annotations

from typing import Any

from tests.unit.fleet import servers
from twitch.fleet.events import Change
from twitch.fleet.puppetdb import changes
from twitch.fleet.puppetdb.changes import Group

MOTD = {
    "resource_type": "File",
    "resource_title": "/etc/motd",
    "property": "content",
    "status": "noop",
    "file": "/etc/puppet/code/environments/production/modules/motd/manifests/init.pp",
    "line": 3,
}
GROUP = Group("File", "/etc/motd", "content", "noop", str(MOTD["file"]), 3, runs=7)


async def test_groups_are_one_query_without_values() -> None:
    async with servers.puppetdb([{**MOTD, "count": 7}]) as (database, bodies):
        assert await changes.groups_of(database, ["b", "a"]) == [GROUP]
    assert GROUP.resource == "File[/etc/motd]"
    assert [body["query"] for body in bodies] == [
        [
            "from",
            "events",
            [
                "extract",
                [*changes.GROUP, ["function", "count"]],
                ["in", "report", ["from", "reports", ["extract", "hash", one_of("a", "b")]]],
                ["group_by", *changes.GROUP],
            ],
        ]
    ]


def one_of(*ids: str) -> list[Any]:
    return ["in", "job_id", ["array", list(ids)]]


async def test_values_are_asked_for_only_if_wanted() -> None:
    row = {**MOTD, "old_value": "a", "new_value": "b", "count": 1}
    async with servers.puppetdb([row]) as (database, bodies):
        (group,) = await changes.groups_of(database, ["a"], values=True)
    assert (group.old_value, group.new_value) == ("a", "b")
    assert "old_value" in bodies[0]["query"][2][1]


async def test_the_chunks_of_an_old_version_are_added_up() -> None:
    async with servers.puppetdb([{**MOTD, "count": 7}], "7.12.1") as (database, bodies):
        groups = await changes.groups_of(database, [str(number) for number in range(501)])
    assert groups == [GROUP._replace(runs=14)]
    assert len(bodies) == 2


async def test_the_most_frequent_group_is_the_first() -> None:
    rows = [{**MOTD, "count": 1}, {**MOTD, "resource_title": "/etc/issue", "count": 9}]
    async with servers.puppetdb(rows) as (database, _):
        groups = await changes.groups_of(database, ["a"])
    assert [group.resource_title for group in groups] == ["/etc/issue", "/etc/motd"]


def test_a_resource_that_noop_has_not_kept_is_called_out() -> None:
    # Its event has the status success in a noop run (PuppetDB 7.12.1 and 8.4.1).
    assert GROUP._replace(status="success").applied(noop=True)
    assert not GROUP._replace(status="success").applied(noop=False)
    assert not GROUP.applied(noop=True)


async def test_the_nodes_of_a_group() -> None:
    async with servers.puppetdb([{"certname": "web2"}, {"certname": "web1"}]) as (database, bodies):
        assert await changes.nodes_of(database, ["a"], GROUP._replace(line=None)) == ["web1", "web2"]
    conditions = bodies[0]["query"][2][2]
    assert ["=", "resource_title", "/etc/motd"] in conditions
    assert not any("line" in condition for condition in conditions)


async def test_the_changes_of_a_run_have_no_values() -> None:
    rows = [
        {**MOTD, "report": "h1", "message": "content changed 'geheim' to 'x' (noop)"},
        {**MOTD, "report": "h1", "property": "mode", "message": "mode changed"},
        {**MOTD, "report": "h2", "status": "failure", "message": "change failed:\nno space"},
        {**MOTD, "report": "h2", "property": "mode", "status": "success", "message": "mode changed"},
    ]
    async with servers.puppetdb(rows) as (database, _):
        found = await changes.changes_of(database, {"run1": "h1", "run2": "h2"})
    assert found == {
        "run1": (Change("File[/etc/motd]", "would change", ("content", "mode"), str(MOTD["file"]), 3),),
        "run2": (
            Change(
                "File[/etc/motd]",
                "failed",
                ("content", "mode"),
                str(MOTD["file"]),
                3,
                "change failed:\\nno space",
            ),
        ),
    }


async def test_runs_of_several_versions_of_the_code_are_said() -> None:
    rows = [{"configuration_version": version, "count": 1} for version in ("a1b2", "c3d4", "")]
    async with servers.puppetdb(rows, "7.12.1") as (database, _):
        counts = await changes.code_of(database, [str(number) for number in range(501)])
    assert counts == {"a1b2": 2, "c3d4": 2}
    assert changes.several_codes({"a1b2": 2, "c3d4": 40}) == (
        "The nodes have not all run the same code: c3d4 on 40, a1b2 on 2"
    )


def test_versions_that_are_times_are_not_compared() -> None:
    assert changes.several_codes({"1795693265": 1, "1795693310": 1, "a1b2": 7}) is None
