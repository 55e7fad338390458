"""One run from the request to the verdict, and nothing before or after it: idle is no process at all."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

# What is ours, by its command line or by its user. The brackets keep the question out of the answer.
OUR_PROCESSES = "{ pgrep -f '[/]usr/lib/puppet-twitch'; pgrep -u twitch; } | sort -u"

# systemd.journal-fields(7), sd-messages.h: SD_MESSAGE_UNIT_STARTED.
UNIT_STARTED = "39f53479d3a045ac8e11786248231fbf"

REQUESTS, CLIENTS, LONGEST_GAP_S = 300, 5, 0.1
FEWEST_STARTS = 20


@pytest.fixture
def tidy(node: Machine) -> Iterator[Machine]:
    stub.clear(node)
    yield node
    stub.clear(node)


@pytest.fixture
def tidy12(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    yield node12
    stub.clear(node12)


def test_a_trigger_is_answered_to_the_byte(tidy12: Machine) -> None:
    stub.stub_puppet(tidy12)
    reply = stub.trigger(tidy12)
    assert (reply.status, reply.body) == (202, "Triggered puppet run")
    assert reply.headers["Location"] == f"/puppet/runs/{reply.headers['Puppet-Run']}"


def test_a_run_is_a_unit_of_its_own_and_one_id_names_it_everywhere(tidy: Machine) -> None:
    stub.real_puppet(tidy, stub.HOLD + "notify { 'seen in the journal': }\n")
    run = stub.hold(tidy)
    unit = stub.unit_of(tidy, run)
    assert unit.startswith("puppet-twitch-run@")
    pid = stub.pid_of(tidy, run)
    assert tidy.read(f"/proc/{pid}/comm") == "puppet\n"
    assert "\0apply\0" in tidy.read(f"/proc/{pid}/cmdline")
    assert unit in tidy.read(f"/proc/{pid}/cgroup")
    stub.let_go(tidy)
    assert stub.end_of(tidy, run)["verdict"] == "changed"
    reply = tidy.curl(f"/puppet/runs/{run}")
    assert (reply.status, reply.headers["Puppet-Run"]) == (200, run)
    assert reply.headers["Puppet-Verdict"] == "changed"
    lines = tidy.journal(f"_SYSTEMD_INVOCATION_ID={run}")
    assert any("seen in the journal" in line["MESSAGE"] for line in lines)
    assert {line["_SYSTEMD_UNIT"] for line in lines} == {unit}


FAILS = "exec { '/bin/false': }\n"
CHANGES = "notify { 'a change': }\n"
OUTCOMES = {
    "nothing to do": ("", 200, "unchanged", "0"),
    "changes": (CHANGES, 200, "changed", "2"),
    "failures": (FAILS, 500, "failed", "4"),
    "changes and failures": (CHANGES + FAILS, 500, "failed", "6"),
    # `puppet apply` compiles before its run begins, and then leaves no report.
    "no catalog": ("no such { syntax", 500, "not attempted", "1"),
}


@pytest.mark.parametrize(("manifest", "status", "verdict", "code"), OUTCOMES.values(), ids=OUTCOMES)
def test_who_waits_hears_the_verdict(
    tidy12: Machine, manifest: str, status: int, verdict: str, code: str
) -> None:
    stub.real_puppet(tidy12, manifest)
    reply = stub.trigger(tidy12, "?async=false")
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (status, verdict)
    if status == 200:
        assert reply.body == "Puppet run complete"
    else:
        assert reply.body.startswith("Puppet run failed: ")
    if FAILS in manifest:
        assert "Exec[/bin/false]" in reply.body
    run = str(reply.headers["Puppet-Run"])
    assert stub.end_of(tidy12, run)["exit_status"] == code
    assert tidy12.sh("systemctl list-units --all --no-legend 'puppet-twitch-run@*'").stdout == ""
    assert tidy12.sh("systemctl --failed --no-legend").stdout == ""
    results = [line.get("UNIT_RESULT") for line in tidy12.journal("_PID=1", f"INVOCATION_ID={run}")]
    assert ("exit-code" in results) == (status == 500)


def test_what_the_run_before_has_left_is_not_taken_for_this_runs(tidy12: Machine) -> None:
    stub.stub_puppet(tidy12)
    # Of the second in which this run begins, or of a clock that was set back since.
    summary = f"{stub.STUB}/last_run_summary.yaml"
    tidy12.sh(f"echo \"time: {{last_run: $(date -d '1 minute' +%s)}}\" >{summary}")
    tidy12.sh(f"echo exit 1 >>{stub.STUB}/puppet")
    assert stub.end_of(tidy12, stub.started(tidy12))["verdict"] == "not attempted"


# -- idle ---------------------------------------------------------------------------------------


def leave_after(node: Machine, idle_s: int) -> None:
    """Let the listener leave when nobody has asked for so long."""
    command = f"/usr/bin/python3 -I /usr/lib/puppet-twitch listen --idle-exit {idle_s}"
    stub.drop_in(node, "puppet-twitch.service", f"[Service]\nExecStart=\nExecStart={command}\n")


def test_an_idle_node_has_no_process_of_ours(tidy: Machine) -> None:
    stub.stub_puppet(tidy)
    leave_after(tidy, 1)
    stub.end_of(tidy, stub.started(tidy))
    assert tidy.sh(OUR_PROCESSES).stdout != ""
    tidy.wait(f'test -z "$({OUR_PROCESSES})"', show="ps -ef")
    assert tidy.sh("ss -Hltn sport = :2023").stdout != ""
    assert tidy.curl("/version").status == 200


def test_no_request_is_lost_while_listeners_come_and_go(tidy: Machine) -> None:
    leave_after(tidy, 0)
    starts = f"journalctl -b -o cat MESSAGE_ID={UNIT_STARTED} UNIT=puppet-twitch.service | wc -l"
    before = int(tidy.sh(starts).stdout)

    def client(seed: int) -> list[bytes]:
        dice = random.Random(seed)
        answers = []
        for _ in range(REQUESTS // CLIENTS):
            time.sleep(dice.uniform(0, LONGEST_GAP_S))
            answers.append(stub.exchange(socket.create_connection((tidy.address, 2023))))
        return answers

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [answer for found in pool.map(client, range(CLIENTS)) for answer in found]
    assert len(answers) == REQUESTS
    assert [answer for answer in answers if not answer.startswith(b"HTTP/1.1 200 OK\r\n")] == []
    assert int(tidy.sh(starts).stdout) - before >= FEWEST_STARTS


def test_connections_one_after_the_other_do_not_add_up(tidy12: Machine) -> None:
    # Each is over when its client has left; 32 at once from one address are too many.
    for _ in range(200):
        client = HTTPConnection(tidy12.address, 2023)
        client.request("GET", "/version")
        assert client.getresponse().status == 200
        client.close()
