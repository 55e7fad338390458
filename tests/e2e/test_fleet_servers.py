"""A puppetserver whose queue is long, and a PuppetDB that is slow, while puppet-twitch-fleet runs nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e import fleet_run, stub
from tests.e2e.fleet_run import Started
from tests.lab.fleet import Site

NAMES = ("web1", "web2", "db1")

SLOW = "$waited = generate('/bin/sleep', '2')\n"
# Requests of others for one JRuby: six catalogs of two seconds at once, until there is the file.
STOP = "/tmp/stop-others"
SSL = "/var/lib/puppet/ssl"
OTHERS = f"""\
rm -f {STOP}
for number in 1 2 3 4 5 6; do
    while ! test -e {STOP}; do
        curl -sSf -o /dev/null --cacert {SSL}/certs/ca.pem \\
            --cert {SSL}/certs/puppet.pem --key {SSL}/private_keys/puppet.pem -H 'Accept: application/json' \\
            -d facts_format=application%2Fjson \\
            --data-urlencode 'facts={{"name": "puppet", "values": {{}}}}' \\
            'https://puppet:8140/puppet/v3/catalog/puppet?environment=production'
    done &
done
wait
"""
QUEUE = (
    f"curl -sS --cacert {SSL}/certs/ca.pem https://puppet:8140/status/v1/services/jruby-metrics?level=debug"
)

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
    with three.machine.popen("/bin/sh", "-c", OTHERS) as others:
        try:
            three.machine.wait(lambda: waiting(three) > 2)
            begun = Started(three, "--at-once", "3", *NAMES)
            # One request is served; those of our own runs may wait, too.
            begun.await_output(r"1 of 3 at once: puppet has [2-8] in its queue")
        finally:
            three.machine.run("touch", STOP)
        output, _ = others.communicate(timeout=120)
        result = begun.end()
    assert (result.status, set(result.outcomes.values())) == (0, {"unchanged"}), result
    assert output == ""  # all the others have been served


def waiting(site: Site) -> int:
    """Return how many requests wait for a JRuby."""
    status = json.loads(site.machine.sh(QUEUE).stdout)["status"]
    return len(status["experimental"]["metrics"]["requested-instances"])


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
