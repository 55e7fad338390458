"""A PuppetDB that stops in the middle of a run: the last test of the site, because it stays off."""

from __future__ import annotations

from tests.e2e import fleet_run, stub
from tests.e2e.fleet_run import Started
from tests.lab.fleet import Site


def test_fleet_puppetdb_that_stops_in_the_middle_leaves_runs_unproven(three: Site) -> None:
    node = three.nodes["web1"]
    fleet_run.hold(three, "web1")
    begun = Started(three, "web1")
    begun.await_event("web1", "running")
    fleet_run.await_held(node)
    three.machine.run("systemctl", "stop", "puppetdb.service")
    stub.release(node)
    result = begun.end()
    assert (result.status, result.outcomes) == (16, {"web1": "unproven"}), result
    assert result.nodes["web1"]["error"].startswith(
        "the node says changed, and the report cannot be looked for"
    )
