"""What runs have changed, in groups and by run."""

from __future__ import annotations

import pytest

from tests.unit.fleet import servers
from twitch.fleet.events import Change
from twitch.fleet.puppetdb import changes
from twitch.fleet.puppetdb.changes import Group
from twitch.fleet.puppetdb.client import PuppetDBError

MOTD = {
    "resource_type": "File",
    "resource_title": "/etc/motd",
    "property": "content",
    "status": "noop",
    "file": "/etc/puppet/code/environments/production/modules/motd/manifests/init.pp",
    "line": 3,
}
VALUES = {"old_value": "{sha256}a1", "new_value": "{sha256}b2"}
GROUP = Group("File", "/etc/motd", "content", "noop", "{sha256}a1", "{sha256}b2", runs=7)


async def test_groups_are_one_query() -> None:
    async with servers.puppetdb([{**MOTD, **VALUES, "count": 7}]) as (database, bodies):
        assert await changes.groups_of(database, ["b", "a"]) == [GROUP]
    assert GROUP.resource == "File[/etc/motd]"
    one_of = ["in", "job_id", ["array", ["a", "b"]]]
    assert [body["query"] for body in bodies] == [
        [
            "from",
            "events",
            [
                "extract",
                [*changes.GROUP, ["function", "count"]],
                ["in", "report", ["from", "reports", ["extract", "hash", one_of]]],
                ["group_by", *changes.GROUP],
            ],
        ]
    ]


async def test_the_chunks_of_an_old_version_are_added_up() -> None:
    async with servers.puppetdb([{**MOTD, **VALUES, "count": 7}], "7.12.1") as (database, bodies):
        groups = await changes.groups_of(database, [str(number) for number in range(501)])
    assert groups == [GROUP._replace(runs=14)]
    assert len(bodies) == 2


async def test_the_most_frequent_group_is_the_first() -> None:
    rows = [{**MOTD, "count": 1}, {**MOTD, "resource_title": "/etc/issue", "count": 9}]
    async with servers.puppetdb(rows) as (database, _):
        groups = await changes.groups_of(database, ["a"])
    assert [group.resource_title for group in groups] == ["/etc/issue", "/etc/motd"]


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


async def test_rows_that_nobody_asked_for_are_no_changes_and_no_traceback() -> None:
    foreign = {**MOTD, "report": "h9", "message": None}
    async with servers.puppetdb([foreign, {**MOTD, "report": "h1", "line": "3", "property": 5}]) as (
        database,
        _,
    ):
        found = await changes.changes_of(database, {"web1": "h1"})
    assert found == {"web1": (Change("File[/etc/motd]", "would change", (), str(MOTD["file"])),)}
    async with servers.puppetdb([{"report": "h1"}]) as (database, _):
        with pytest.raises(PuppetDBError, match="a row without 'resource_type'"):
            await changes.changes_of(database, {"web1": "h1"})
