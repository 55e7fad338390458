"""A puppetserver whose queue is long, and a PuppetDB that is slow, while puppet-twitch-fleet runs nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e import fleet_run, stub
from tests.e2e.fleet_run import Started, run
from tests.lab.fleet import Site

NAMES = ("web1", "web2", "db1")

# The puppetserver has one JRuby, so three catalogs of two seconds make a queue of two.
SLOW = "$waited = generate('/bin/sleep', '2')\n"

# PuppetDB takes reports in, and its clients wait for every answer about them.
LOCKED, UNLOCK = "/tmp/locked", "/tmp/unlock"
LOCK = f"""\
cd /tmp
rm -f {LOCKED} {UNLOCK}
exec runuser -u postgres -- psql -q puppetdb <<'END'
BEGIN; LOCK TABLE reports IN ACCESS EXCLUSIVE MODE;
\\! touch {LOCKED}; until test -e {UNLOCK}; do sleep 0.05; done
END
"""


@contextmanager
def slow_puppetdb(site: Site) -> Iterator[None]:
    """Lock the table of the reports."""
    with site.machine.popen("/bin/sh", "-c", LOCK) as session:
        site.machine.wait(f"test -e {LOCKED}")
        try:
            yield
        finally:
            site.machine.run("touch", UNLOCK)
            session.wait(60)


def test_fleet_full_puppetserver_is_a_reason_for_fewer_runs_at_once(three: Site) -> None:
    three.server.manifest("production", SLOW)
    result = run(three, "--at-once", "3", *NAMES)
    assert (result.status, set(result.outcomes.values())) == (0, {"unchanged"}), result
    assert "puppet has 2 in its queue" in result.output


def test_fleet_slow_puppetdb_delays_the_proof(three: Site) -> None:
    node = three.nodes["web1"]
    fleet_run.hold(three, "web1")
    begun = Started(three, "web1")
    begun.await_event("web1", "running")
    fleet_run.await_held(node)
    with slow_puppetdb(three):
        stub.release(node)
        begun.await_event("web1", "ended")
        assert "proven" not in [line.get("event") for line in begun.lines()]
    result = begun.end()
    assert (result.status, result.nodes["web1"]["event"]) == (0, "proven"), result
