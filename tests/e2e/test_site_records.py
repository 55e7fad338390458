"""Records that last, and no log of ours: a full or read-only disk, a reboot or a power cut changes no run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from subprocess import Popen
from typing import Any

import pytest

from tests.e2e import stub
from tests.lab import curl
from tests.lab.install import install
from tests.lab.lab import Lab
from tests.lab.machine import Machine

ACCESS = "anonymous = trigger noop tags environment=* status logs disable"
PLACES = (stub.RUNTIME, stub.HISTORY)
AFTER = "/root/filled"

# Fills whatever has no room reserved for it, and goes on.
FILL = f"""\
exec {{ 'fill':
  command  => 'for at in {" ".join(PLACES)}; do dd if=/dev/zero of=$at/filler bs=4k; done; true',
  provider => shell,
  path     => '/usr/bin:/bin',
}}
-> notify {{ {list("abcdefghijklmnop")}: }}
-> file {{ '{AFTER}': content => 'x' }}
"""


@pytest.fixture
def tidy(node: Machine) -> Iterator[Machine]:
    stub.clear(node)
    yield node
    node.run("rm", "-rf", stub.HISTORY)
    stub.clear(node)


@pytest.fixture
def small(tidy: Machine) -> Iterator[Machine]:
    """A node on which each of our two places is a disk of 1 MiB."""
    for place in PLACES:
        tidy.sh(
            f"mkdir -p {place}; cp -a {place} /tmp/kept && mount -t tmpfs -o size=1M,mode=755 tmpfs {place}"
            f" && cp -a /tmp/kept/. {place}/ && rm -rf /tmp/kept"
        )
    tidy.sh("systemctl restart puppet-twitch-run.socket")
    yield tidy
    for place in PLACES:
        stop = "systemctl stop puppet-twitch-run.socket 'puppet-twitch-run@*.service' puppet-twitch.service"
        tidy.wait(f"{stop}; umount {place}")


OUTCOME = """
require 'json'
require 'puppet'
resources = YAML.unsafe_load_file(ARGV[0]).resource_statuses.values
puts resources.map { |one| [one.resource, [one.changed, one.failed, one.skipped]] }.to_h.to_json
"""


def outcome(node: Machine) -> dict[str, Any]:
    """Return what the last report says of each resource; delete it, and what the catalog made."""
    path = node.sh("puppet config print lastrunreport --section agent").stdout.strip()
    found: dict[str, Any] = json.loads(node.run("ruby", "-e", OUTCOME, path).stdout)
    node.sh(f"rm {path} {AFTER}; rm -f {stub.RUNTIME}/filler {stub.HISTORY}/filler")
    return found


def waiting_client(node: Machine) -> Popen[str]:
    """Return a client that waits for the end of a run, which is under way."""
    stub.hold_runs(node)
    client = node.popen("curl", "--silent", "--include", "http://localhost:2023/puppet/twitch?async=false")
    node.wait(f"test -e {stub.HELD}")
    return client


def answer_to(client: Popen[str]) -> curl.Reply:
    said, _ = client.communicate(timeout=60)
    return curl.parse(said.replace("\n", "\r\n"))


def lines(node: Machine, run: str) -> list[str]:
    """Return what Puppet has logged in a run."""
    match = (f"_SYSTEMD_INVOCATION_ID={run}", "_UID=0", "-t", "puppet-user", "-t", "puppet-agent")
    return node.run("journalctl", "--output=cat", "--no-pager", *match).stdout.splitlines()


# ---- full


def test_full_disks_change_nothing_about_a_run(small: Machine) -> None:
    stub.real_puppet(small, FILL, access=ACCESS)
    by_hand = small.sh("puppet apply --detailed-exitcodes /root/site.pp", check=False)
    assert by_hand.returncode == 2, by_hand
    expected = outcome(small)
    assert f"File[{AFTER}]" in expected
    reply = stub.trigger(small, "?async=false")
    # There was room for the verdict.
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (200, "changed")
    run = str(reply.headers["Puppet-Run"])
    assert small.exists(AFTER)
    refused = refusal(small)
    assert (refused.status, "No space left on device" in refused.body) == (500, True)
    assert small.curl("/puppet/status").body.startswith("idle\n")
    assert outcome(small) == expected
    # With room again, the next run moves both records to the history.
    stub.stub_puppet(small)
    second = stub.started_when_fixed(small)
    stub.end_of(small, second)
    assert records(small, stub.RUNTIME) == []
    assert records(small, stub.HISTORY) == sorted([run, second])
    assert small.curl(f"/puppet/runs/{run}").headers["Puppet-Verdict"] == "changed"


def refusal(node: Machine) -> curl.Reply:
    """Ask for runs until one is refused, because an answer is remembered for a second; return the refusal."""

    def asked() -> list[curl.Reply]:
        reply = stub.trigger(node)
        return [reply] if reply.status not in (202, 409) else []

    return node.wait(asked)[0]


def records(node: Machine, place: str) -> list[str]:
    names = node.sh(f"ls {place}/runs").stdout.split()
    assert all(name.endswith(".json") for name in names), names
    return sorted(name.removesuffix(".json") for name in names)


# ---- read-only


def remount(node: Machine, option: str, *places: str) -> None:
    for place in places:
        node.sh(f"mount -o remount,{option} {place}")


@pytest.mark.parametrize("place", PLACES, ids=["run", "var"])
@pytest.mark.parametrize("node", ["node12"], indirect=True)
def test_a_place_that_becomes_read_only_during_a_run_costs_no_verdict(small: Machine, place: str) -> None:
    stub.real_puppet(small, stub.HOLD, access=ACCESS)
    client = waiting_client(small)
    remount(small, "ro", place)
    stub.release(small)
    answer = answer_to(client)
    assert (answer.status, answer.headers["Puppet-Verdict"]) == (200, "changed")
    first = str(answer.headers["Puppet-Run"])
    small.wait(lambda: not stub.unit_of(small, first))
    remount(small, "rw", place)
    second = stub.started_when_fixed(small)
    assert stub.end_of(small, second)["verdict"] == "changed"
    assert records(small, stub.HISTORY) == sorted([first, second])
    assert records(small, stub.RUNTIME) == []


@pytest.mark.parametrize("node", ["node12"], indirect=True)
def test_a_caller_hears_that_a_verdict_cannot_be_recorded(small: Machine) -> None:
    stub.real_puppet(small, stub.HOLD, access="anonymous = trigger status")
    client = waiting_client(small)
    remount(small, "ro", *PLACES)
    stub.release(small)
    answer = answer_to(client)
    said = "Puppet run ended, but its verdict cannot be recorded; the journal of the node says why"
    assert (answer.status, answer.body.strip(), answer.headers["Puppet-Verdict"]) == (500, said, None)
    run = str(answer.headers["Puppet-Run"])
    again = small.curl(f"/puppet/runs/{run}?wait=60")
    assert (again.status, again.body.strip()) == (500, said)
    journal = small.sh("journalctl --sync; journalctl -o cat _UID=0 -t puppet-twitch").stdout
    assert f"the verdict on run {run} cannot be written: [Errno 30] Read-only file system" in journal
    remount(small, "rw", *PLACES)
    # The next look at the node concludes it, from its report; an answer is remembered for a second.
    small.wait(
        lambda: (
            small.curl("/puppet/status").body == "idle\n"
            and small.curl(f"/puppet/runs/{run}").headers["Puppet-Verdict"] == "changed"
        )
    )


def test_without_a_history_directory_runs_go_on(tidy: Machine) -> None:
    stub.stub_puppet(tidy)
    tidy.sh(f"rm -rf {stub.HISTORY}; touch {stub.HISTORY}")
    first = stub.started(tidy)
    stub.end_of(tidy, first)
    assert records(tidy, stub.RUNTIME) == [first]
    tidy.sh(f"rm {stub.HISTORY}; install -d -o twitch {stub.HISTORY}; ln -s /root {stub.HISTORY}/runs")
    second = stub.started(tidy)
    stub.end_of(tidy, second)
    assert records(tidy, stub.RUNTIME) == sorted([first, second])
    assert tidy.sh("ls /root/*.json 2>/dev/null; true").stdout == ""
    journal = tidy.sh("journalctl --sync; journalctl -o cat _UID=0 -t puppet-twitch").stdout
    assert f"so no history of runs is kept; rm -rf {stub.HISTORY}" in journal
    tidy.sh(f"rm -rf {stub.HISTORY}")
    third = stub.started(tidy)
    stub.end_of(tidy, third)
    assert (records(tidy, stub.RUNTIME), len(records(tidy, stub.HISTORY))) == ([], 3)
    assert tidy.sh(f"stat -c '%U:%G %a' {stub.HISTORY} {stub.HISTORY}/runs").stdout == (
        "root:root 755\nroot:twitch 750\n"
    )


# ---- the log


@pytest.fixture
def strict_journal(tidy: Machine) -> Iterator[Machine]:
    """A node whose journald takes few lines of a unit at once; its own limit grows with the disk's room."""
    conf = "/etc/systemd/journald.conf.d/test.conf"
    tidy.write(conf, "[Journal]\nRateLimitIntervalSec=30s\nRateLimitBurst=100\n")
    tidy.run("systemctl", "restart", "systemd-journald.service")
    yield tidy
    tidy.sh(f"rm {conf}; systemctl restart systemd-journald.service")


def test_no_line_of_a_run_is_suppressed(strict_journal: Machine) -> None:
    node = strict_journal
    # More lines than journald would take of any other unit. Puppet itself takes minutes for 200,000, which
    # it keeps for its report.
    stub.real_puppet(node, "exec { '/usr/bin/seq 1 4000': logoutput => true }\n", access=ACCESS)
    run = stub.started(node)
    assert stub.end_of(node, run)["verdict"] == "changed"
    node.sh("journalctl --sync")
    numbers = [line.rpartition(" ")[2] for line in lines(node, run) if "Exec[/usr/bin/seq" in line]
    assert [number for number in numbers if number.isdecimal()] == [str(one) for one in range(1, 4001)]
    # Nothing of it is in /run.
    assert node.sh(f"find {stub.RUNTIME}/runs -type f").stdout == ""


def test_lines_come_as_they_are_logged_with_autoflush_off(tidy: Machine) -> None:
    config = tidy.sh("puppet config print config").stdout.strip()
    tidy.sh(f"cp -a {config} /root/puppet.conf; puppet config set autoflush false --section main")
    try:
        stub.real_puppet(tidy, f"notify {{ 'said early': }} -> {stub.HOLD}", access=ACCESS)
        run = stub.hold(tidy)
        tidy.wait(lambda: any("said early" in line for line in lines(tidy, run)))
        stub.release(tidy)
        stub.end_of(tidy, run)
    finally:
        tidy.sh(f"cp -a /root/puppet.conf {config}")


# ---- whose directory it is


@pytest.mark.parametrize(
    "spoil",
    [
        "chown twitch {run}; mkdir -p /root/trap; ln -sfn /root/trap {run}/runs",
        "rm -rf {run}/runs; ln -s /root/trap {run}/runs",
        "rm -f {run}/lock; ln -s /root/trap/lock {run}/lock",
        "rm -f {run}/settings.json; ln -s /root/trap/settings.json {run}/settings.json",
        "chmod 777 {run}",
    ],
    ids=["of the gem", "runs", "lock", "settings", "mode"],
)
def test_a_directory_that_is_not_root_s_is_refused(tidy: Machine, spoil: str) -> None:
    stub.stub_puppet(tidy, access=ACCESS)
    stub.end_of(tidy, stub.started(tidy))
    before = stub.stub_log(tidy)
    tidy.sh("mkdir -p /root/trap; " + spoil.format(run=stub.RUNTIME))
    reply = refusal(tidy)
    assert reply.status == 500
    fix = f"rm -rf {stub.RUNTIME}; systemctl restart puppet-twitch-run.socket puppet-twitch-log.socket"
    assert reply.body.strip().endswith(fix), reply
    assert (tidy.sh("ls /root/trap").stdout, stub.stub_log(tidy)) == ("", before)
    assert fix in tidy.sh("journalctl --sync; journalctl -o cat _UID=0 -t puppet-twitch").stdout
    tidy.sh(fix)
    # Its view of /run has the old directory; it would leave by itself after ten seconds (LOST_AGE_S).
    tidy.run("systemctl", "stop", "puppet-twitch.service")
    stub.end_of(tidy, stub.started_when_fixed(tidy))
    tidy.run("rm", "-rf", "/root/trap")


# ---- what 1.0.0 left


def test_records_of_version_1_0_0_move_and_its_logs_go(tidy: Machine) -> None:
    stub.stub_puppet(tidy)
    times = {"asked": 1769072698.5, "started": 1769072699.25, "ended": 1769072703.75, "duration_s": 4.5}
    caller = {"caller": "anonymous", "client": "192.0.2.7"}
    options = {"noop": False, "tags": [], "environment": None}
    end = {"exit_status": "2", "verdict": "changed", "reason": None, "error": None, "unreported": True}
    old = {"run": "1" * 32, "state": "finished", **times, **caller, "options": options, **end}
    runs = f"{stub.RUNTIME}/runs"
    tidy.sh(f"install -d -g twitch -m 750 {runs}")
    tidy.write(f"{runs}/{'1' * 32}.json", json.dumps(old))
    tidy.write(f"{runs}/{'1' * 32}.jsonl", '{"level":"err"}\n')
    run = stub.started(tidy)
    stub.end_of(tidy, run)
    assert records(tidy, stub.RUNTIME) == []
    assert records(tidy, stub.HISTORY) == sorted(["1" * 32, run])
    assert tidy.curl(f"/puppet/runs/{'1' * 32}").headers["Puppet-Verdict"] == "changed; unreported"


# ---- reboots and power cuts


@pytest.fixture
def own_machine(lab: Lab) -> Iterator[Machine]:
    machine = lab.boot("extra", image="debian13")
    install(machine)
    machine.run("systemctl", "enable", "--now", "puppet-twitch.socket")
    yield machine
    lab.discard(machine)


def callers_of_holds(node: Machine, lock: str) -> list[str]:
    """Return who holds Puppet disabled, by Puppet's lock."""
    return [hold["caller"] for hold in json.loads(node.read(lock))["puppet_twitch"]["holds"]]


def test_history_survives_reboots_and_power_cuts(own_machine: Machine) -> None:
    node = own_machine
    stub.real_puppet(node, stub.HOLD, access=ACCESS)
    first = stub.started(node)
    stub.end_of(node, first)
    # One hold ends while the node is down, and the timer for the other is gone.
    assert node.curl("/puppet/disable?reason=x&for=2h", "-X", "POST").status == 200
    lock = node.sh("puppet config print --section agent agent_disabled_lockfile").stdout.strip()
    fields = json.loads(node.read(lock))
    holds = fields["puppet_twitch"]["holds"]
    holds.append({**holds[0], "caller": "token:past", "until": int(time.time()) + 1})
    node.write(lock, json.dumps(fields))
    node.reboot()
    node.wait("systemctl is-active --quiet puppet-twitch-expiry.timer")
    # The other hold ends one second after the reboot began, which can be during the boot or after it.
    node.wait(lambda: callers_of_holds(node, lock) == ["anonymous"])
    node.run("rm", lock)
    assert node.curl(f"/puppet/runs/{first}").headers["Puppet-Verdict"] == "changed"
    # Cut in the middle of a run.
    stub.release(node)
    second = stub.hold(node)
    node.cut_the_power()
    assert node.curl("/puppet/status").status == 200
    assert stub.record(node, second)["verdict"] == "interrupted"
    assert stub.record(node, second)["reason"] == "the node went down during the run"
    # Cut between the end of Puppet and the verdict: conclude never comes.
    stub.drop_in(node, "puppet-twitch-run@.service", "[Service]\nExecStopPost=\n")
    stub.release(node)
    third = stub.started(node)
    node.wait(lambda: not stub.unit_of(node, third))
    node.cut_the_power()
    for _ in range(2):
        assert node.curl("/puppet/status").status == 200
    assert stub.record(node, third)["verdict"] == "changed"
    ended = node.journal("_UID=0", f"TWITCH_RUN={third}", "TWITCH_VERDICT=changed")
    assert len(ended) == 1
    node.sh("rm -r /etc/systemd/system/puppet-twitch-run@.service.d; systemctl daemon-reload")
    stub.end_of(node, stub.started(node))
    listed = node.curl("/puppet/runs").body
    assert all(run in listed for run in (first, second, third))
