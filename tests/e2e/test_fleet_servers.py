"""PuppetDB and puppetserver that are slow, full, closed or away, while puppet-twitch-fleet runs nodes."""

from __future__ import annotations

from tests.e2e import fleet_run, stub
from tests.e2e.fleet_run import Started, run
from tests.lab.fleet import Site

NAMES = ("web1", "web2", "db1")

# The puppetserver has one JRuby, so three catalogs of two seconds make a queue of two.
SLOW = "$waited = generate('/bin/sleep', '2')\n"

LOCK = """\
cd /; runuser -u postgres -- psql -q puppetdb <<'END' & echo
BEGIN; LOCK TABLE reports IN ACCESS EXCLUSIVE MODE;
\\! touch /root/locked; until test -e /root/unlock; do sleep 0.05; done
END
"""


def test_fleet_full_puppetserver_is_a_reason_for_fewer_runs_at_once(three: Site) -> None:
    three.server.manifest("production", SLOW)
    result = run(three, "--at-once", "3", *NAMES)
    three.server.manifest("production", "")
    assert (result.status, set(result.outcomes.values())) == (0, {"unchanged"}), result
    assert "puppet has 2 in its queue" in result.output


def test_fleet_puppetserver_that_is_away_or_closed_is_named_and_the_window_stays(three: Site) -> None:
    away = run(three, "--puppetserver", "https://puppet:8149", "web1")
    assert (away.status, away.outcomes) == (0, {"web1": "unchanged"})
    assert "the queue of puppet cannot be read" in away.output
    rule = "/status/v1/services"
    three.machine.sh(
        "cd /etc/puppet/puppetserver/conf.d && cp -p auth.conf /root/auth.conf &&"
        f' sed -i \'\\|path: "{rule}"|,/allow-unauthenticated/s/allow-unauthenticated: true/deny: "*"/\''
        " auth.conf && ! cmp -s auth.conf /root/auth.conf && systemctl reload puppetserver.service",
        timeout_s=240,
    )
    three.server.await_ready()
    closed = run(three, *NAMES)
    assert (closed.status, set(closed.outcomes.values())) == (0, {"unchanged"})
    assert "the queue of puppet cannot be read: 403" in closed.output


def test_fleet_slow_puppetdb_delays_the_proof(three: Site) -> None:
    node = three.nodes["web1"]
    fleet_run.hold(three, "web1")
    begun = Started(three, "web1")
    begun.await_event("web1", "running")
    fleet_run.await_held(node)
    three.machine.sh(f"rm -f /root/unlock /root/locked; {LOCK}")
    three.machine.wait("test -e /root/locked")
    stub.release(node)
    begun.await_event("web1", "ended")
    assert "proven" not in [line.get("event") for line in begun.lines()]
    three.machine.run("touch", "/root/unlock")
    result = begun.end()
    assert (result.status, result.nodes["web1"]["event"]) == (0, "proven"), result


def test_fleet_puppetdb_that_stops_in_the_middle_leaves_runs_unproven(three: Site) -> None:
    node = three.nodes["web1"]
    fleet_run.hold(three, "web1")
    begun = Started(three, "web1")
    begun.await_event("web1", "running")
    fleet_run.await_held(node)
    three.puppetdb.stop()
    stub.release(node)
    result = begun.end()
    three.puppetdb.start()
    three.server.manifest("production", "")
    assert (result.status, result.outcomes) == (16, {"web1": "unproven"}), result
    assert result.nodes["web1"]["verdict"] == "changed"
