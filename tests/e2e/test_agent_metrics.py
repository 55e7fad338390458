"""The optional watch: runs that Puppet has started itself, and the textfile that node_exporter reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import stub
from tests.e2e.access import JSON, handlers_started
from tests.e2e.prometheus import node_exporter
from tests.e2e.systems import every_agent
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

TEXTFILES = "/var/lib/prometheus/node-exporter"
TEXTFILE = f"{TEXTFILES}/puppet-twitch.prom"
COUNTED = 'puppet_twitch_runs_total{verdict="changed"}'
# As README says.
ENABLE = "systemctl enable --now puppet-twitch-watch.path"
ACCESS = "[access]\ncooldown = 0\nanonymous = trigger status metrics logs\n"


@pytest.fixture
def watched(agent: Machine, server: PuppetServer) -> Iterator[Machine]:
    """Return an enrolled node with the watch, and a directory that node_exporter's user owns."""
    stub.clear(agent)
    agent.write(stub.CONFIG, ACCESS)
    server.manifest("production", "notify { 'a': }")
    agent.sh(f"mkdir -p {TEXTFILES}; chown nobody {TEXTFILES}; {ENABLE}")
    agent.wait(f"test -e {TEXTFILE}")
    yield agent
    server.manifest("production", "")
    agent.run("systemctl", "disable", "-q", "--now", "puppet-twitch-watch.path")
    stub.clear(agent)  # which also ends the service of the watch
    agent.run("rm", "-r", TEXTFILES)


def value(node: Machine, metric: str) -> str:
    """Return the value of a metric in the textfile; '' if it has none."""
    found = re.search(rf"^{re.escape(metric)} (\S+)$", node.read(TEXTFILE), re.MULTILINE)
    return found[1] if found else ""


def runs_of(node: Machine) -> list[dict[str, Any]]:
    """Return the history, the last run first."""
    runs: list[dict[str, Any]] = json.loads(node.curl("/puppet/runs", *JSON).body)["runs"]
    return runs


def check_faults(node: Machine) -> list[dict[str, Any]]:
    """Return the faults that `check` finds."""
    found = json.loads(node.run("puppet-twitch", "check", "--json", check=False).stdout)["findings"]
    return [finding for finding in found if finding["level"] == "fault"]


def quiet(node: Machine) -> None:
    """Wait until the watch has nothing more to do."""
    node.wait("test $(systemctl show -P ActiveState puppet-twitch-watch.service) = inactive")


@every_agent
def test_runs_of_puppet_itself_are_in_the_history_and_in_the_textfile(
    watched: Machine, server: PuppetServer, tmp_path: Path
) -> None:
    # The enrolment has left the report of a run: the watch has put it on record when it was enabled.
    enrolment = runs_of(watched)
    assert [run["started_by"] for run in enrolment] == ["puppet"]
    by_hand = ("puppet", "agent", "--onetime", "--no-daemonize", "--no-splay")
    quiet(watched)
    counted = int(value(watched, COUNTED) or 0)  # by the tests before this one
    watched.run(*by_hand, timeout_s=180)
    watched.wait(lambda: len(runs_of(watched)) == 2)
    quiet(watched)  # it writes the textfile after the record
    runs = runs_of(watched)
    assert runs[1:] == enrolment
    assert (runs[0]["verdict"], runs[0]["started_by"]) == ("changed", "puppet")
    assert value(watched, 'puppet_agent_last_run_verdict{verdict="changed"}') == "1"
    assert value(watched, 'puppet_agent_last_run_resources{condition="changed"}') == "1"
    assert int(value(watched, COUNTED)) == counted  # it counts our runs only
    assert value(watched, "puppet_agent_run_started_timestamp_seconds") == ""

    # A run of ours has one record, and is counted.
    server.manifest("production", stub.HOLD)
    run = stub.hold(watched)
    watched.wait(f"grep -q '^puppet_agent_run_started' {TEXTFILE}")
    stub.release(watched)
    stub.end_of(watched, run)
    watched.wait(lambda: int(value(watched, COUNTED)) == counted + 1)
    watched.wait(f"! grep -q '^puppet_agent_run_started' {TEXTFILE}")
    quiet(watched)
    assert [run["started_by"] for run in runs_of(watched)] == ["twitch", "puppet", "puppet"]

    watched.run("puppet", "agent", "--disable", "maintenance")
    watched.wait(f"grep -q '^puppet_agent_enabled 0' {TEXTFILE}")
    watched.run("puppet", "agent", "--enable")
    watched.wait(f"grep -q '^puppet_agent_enabled 1' {TEXTFILE}")

    # /metrics has the same, and the state.
    quiet(watched)
    scraped = watched.curl("/metrics").body
    state = [line for line in scraped.splitlines(keepends=True) if "puppet_agent_state" in line]
    assert 'puppet_agent_state{state="idle"} 1\n' in state
    assert "".join(line for line in scraped.splitlines(keepends=True) if line not in state) == watched.read(
        TEXTFILE
    )

    # While nothing changes, root is asked once for many scrapes; a change is seen at once.
    watched.sh("sleep 1.1")  # a change of this second cannot be told from the next one
    watched.curl("/metrics")
    before = handlers_started(watched)
    for _ in range(3):
        watched.sh("sleep 1.1")  # the answer to any question is remembered for a second
        assert watched.curl("/metrics").body == scraped
    assert handlers_started(watched) == before
    watched.run("puppet", "agent", "--disable", "maintenance")
    assert "\npuppet_agent_enabled 0\n" in watched.curl("/metrics").body
    watched.wait(f"grep -q '^puppet_agent_enabled 0' {TEXTFILE}")
    watched.run("puppet", "agent", "--enable")
    watched.wait(f"grep -q '^puppet_agent_enabled 1' {TEXTFILE}")
    quiet(watched)

    # node_exporter reads it, with another user.
    assert watched.sh(f"su -s /bin/sh nobody -c 'cat {TEXTFILE}'").stdout == watched.read(TEXTFILE)
    with node_exporter(tmp_path, watched.root / TEXTFILES.lstrip("/")) as exporter:
        exported = exporter.get("/metrics")
    assert "\nnode_textfile_scrape_error 0\n" in exported
    assert "\npuppet_agent_last_run_success 1\n" in exported

    # Another statedir is a fault of the watch, and the fix adds its locks.
    faults = check_faults(watched)
    assert faults == []
    watched.sh("mkdir -p /srv/state; echo 'statedir = /srv/state' >>/etc/puppet/puppet.conf")
    (fault,) = check_faults(watched)
    assert (
        "does not watch /srv/state/agent_catalog_run.lock and /srv/state/agent_disabled.lock" in fault["text"]
    )
    watched.sh(fault["fix"])
    assert check_faults(watched) == []
    watched.run("puppet", "agent", "--disable", "maintenance")
    watched.wait(f"grep -q '^puppet_agent_enabled 0' {TEXTFILE}")
    watched.sh("sed -i '/^statedir/d' /etc/puppet/puppet.conf; rm -r /srv/state")

    # Without a burst, a failure or a process that stays.
    assert watched.sh("systemctl --failed --no-legend").stdout == ""
    log = watched.journal("_SYSTEMD_UNIT=puppet-twitch-watch.service")
    assert [entry["MESSAGE"] for entry in log] == []
