"""A PuppetDB that stops in the middle of a run, and stays off: the last tests of the site.

A run is unproven after a minute. Meanwhile the other tests show a puppetserver that is away or closed, and a
node that is off; they ask for no proof.
"""

from __future__ import annotations

import pytest

from tests.e2e import fleet_run, stub
from tests.e2e.fleet_run import Started, run
from tests.lab.fleet import Site

NO_PROOF = ("--puppetdb", "none")


@pytest.fixture(scope="module")
def unproven(site: Site) -> Started:
    """Return a run of web1 that has ended on the node, after PuppetDB was stopped."""
    node = site.nodes["web1"]
    fleet_run.hold(site, "web1")
    begun = Started(site, "web1")
    begun.await_event("web1", "running")
    fleet_run.await_held(node)
    site.machine.run("systemctl", "stop", "puppetdb.service", timeout_s=180)
    stub.release(node)
    begun.await_event("web1", "ended")
    return begun


def test_fleet_puppetserver_that_is_away_or_closed_is_named(three: Site, unproven: Started) -> None:
    # It is said after the third look, so the run is held until then.
    fleet_run.hold(three, "web2")
    begun = Started(three, *NO_PROOF, "--puppetserver", "https://puppet:8149", "web2")
    fleet_run.await_held(three.nodes["web2"])
    begun.await_output("the queue of puppet cannot be read")
    stub.release(three.nodes["web2"])
    away = begun.end()
    assert (away.status, away.outcomes) == (0, {"web2": "changed"})
    rule = "/status/v1/services"
    three.machine.sh(
        "cd /etc/puppet/puppetserver/conf.d && cp -p auth.conf /root/auth.conf &&"
        f' sed -i \'\\|path: "{rule}"|,/allow-unauthenticated/s/allow-unauthenticated: true/deny: "*"/\''
        " auth.conf && ! cmp -s auth.conf /root/auth.conf && systemctl reload puppetserver.service",
        timeout_s=240,
    )
    three.server.await_ready()
    three.server.manifest("production", "")
    closed = run(three, *NO_PROOF, "web2")
    assert (closed.status, closed.outcomes) == (0, {"web2": "unchanged"})
    assert "the queue of puppet cannot be read: 403" in closed.output


def test_fleet_node_that_is_off_is_unreachable(three: Site, unproven: Started) -> None:
    # A name of a machine that is not booted: nobody answers.
    result = run(three, *NO_PROOF, "--max-unreachable", "0", "node11")
    assert result.status == 4, result
    assert result.outcomes["node11"] == "unreachable"


def test_fleet_puppetdb_that_stops_in_the_middle_leaves_runs_unproven(unproven: Started) -> None:
    result = unproven.end()
    assert (result.status, result.outcomes) == (16, {"web1": "unproven"}), result
    assert result.nodes["web1"]["error"].startswith(
        "the node says changed, and the report cannot be looked for"
    )
