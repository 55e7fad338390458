"""One run from the request to the verdict, and an idle node, which has no process of ours."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest

from tests.e2e import stub
from tests.e2e.systems import every_node
from tests.lab.machine import Machine

# Our processes, by command line or by user. The brackets keep pgrep itself out of the result.
OUR_PROCESSES = "{ pgrep -f '[/]usr/lib/puppet-twitch'; pgrep -u twitch; } | sort -u"

# systemd.journal-fields(7), sd-messages.h: SD_MESSAGE_UNIT_STARTED.
UNIT_STARTED = "39f53479d3a045ac8e11786248231fbf"

REQUESTS, CLIENTS, LONGEST_GAP_S = 300, 5, 0.1
FEWEST_STARTS = 20


def test_answer_to_a_trigger(clean_node12: Machine) -> None:
    stub.stub_puppet(clean_node12)
    reply = stub.trigger(clean_node12)
    assert (reply.status, reply.body) == (202, "Triggered puppet run")
    assert reply.headers["Location"] == f"/puppet/runs/{reply.headers['Puppet-Run']}"


@every_node
def test_run_has_its_own_unit_and_one_id_everywhere(clean_node: Machine) -> None:
    stub.real_puppet(clean_node, stub.HOLD + "notify { 'seen in the journal': }\n")
    run = stub.hold(clean_node)
    unit = stub.unit_of(clean_node, run)
    assert unit.startswith("puppet-twitch-run@")
    pid = stub.pid_of(clean_node, run)
    assert clean_node.read(f"/proc/{pid}/comm") in ("puppet\n", "ruby\n")  # ruby: OpenVox 9
    assert "\0apply\0" in clean_node.read(f"/proc/{pid}/cmdline")
    assert unit in clean_node.read(f"/proc/{pid}/cgroup")
    stub.release(clean_node)
    assert stub.end_of(clean_node, run)["verdict"] == "changed"
    reply = clean_node.curl(f"/puppet/runs/{run}")
    assert (reply.status, reply.headers["Puppet-Run"]) == (200, run)
    assert reply.headers["Puppet-Verdict"] == "changed"
    lines = clean_node.journal(f"_SYSTEMD_INVOCATION_ID={run}")
    assert any("seen in the journal" in line["MESSAGE"] for line in lines)
    assert {line["_SYSTEMD_UNIT"] for line in lines} == {unit}


FAILS = "exec { '/bin/false': }\n"
CHANGES = "notify { 'a change': }\n"
OUTCOMES = {
    "nothing to do": ("", 200, "unchanged", "0"),
    "changes": (CHANGES, 200, "changed", "2"),
    "failures": (FAILS, 500, "failed", "4"),
    "changes and failures": (CHANGES + FAILS, 500, "failed", "6"),
    # `puppet apply` compiles before its run begins, and leaves no report: the journal has the error.
    "no catalog": ("no such { syntax", 500, "failed", "1"),
}


@pytest.mark.parametrize(("manifest", "status", "verdict", "code"), OUTCOMES.values(), ids=OUTCOMES)
def test_waiting_caller_gets_the_verdict(
    clean_node12: Machine, manifest: str, status: int, verdict: str, code: str
) -> None:
    stub.real_puppet(clean_node12, manifest)
    reply = stub.trigger(clean_node12, "?async=false")
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (status, verdict)
    if status == 200:
        assert reply.body == "Puppet run complete"
    else:
        assert reply.body.startswith("Puppet run failed: ")
    if FAILS in manifest:
        assert "Exec[/bin/false]" in reply.body
    run = str(reply.headers["Puppet-Run"])
    assert stub.end_of(clean_node12, run)["exit_status"] == code
    # A caller that asks for the run itself hears the same; without wait=, it reads about a run.
    later = clean_node12.curl(f"/puppet/runs/{run}?wait=1m")
    assert (later.status, later.headers["Puppet-Verdict"]) == (status, verdict)
    if status == 500:
        assert later.body == reply.body
    else:
        assert later.body.startswith(f"{verdict}: ") and f"\nrun {run}, began " in later.body
    assert clean_node12.curl(f"/puppet/runs/{run}").status == 200
    assert clean_node12.sh("systemctl list-units --all --no-legend 'puppet-twitch-run@*'").stdout == ""
    assert clean_node12.sh("systemctl --failed --no-legend").stdout == ""
    results = [line.get("UNIT_RESULT") for line in clean_node12.journal("_PID=1", f"INVOCATION_ID={run}")]
    assert ("exit-code" in results) == (status == 500)


def test_noop_run_does_not_hide_a_failed_one_from_monitoring(clean_node12: Machine) -> None:
    stub.real_puppet(clean_node12, FAILS, access="anonymous = trigger noop status")
    assert stub.trigger(clean_node12, "?async=false").status == 500
    noop = stub.trigger(clean_node12, "?async=false&noop=true")
    assert (noop.status, noop.headers["Puppet-Verdict"]) == (200, "unchanged; noop; 1 would change")
    reply = clean_node12.curl("/puppet/status?max_age=2h")
    assert (reply.status, reply.body) == (503, "The last run without noop and tags failed\n")
    stub.real_puppet(clean_node12, "", access="anonymous = trigger noop status")
    assert stub.trigger(clean_node12, "?async=false").status == 200
    assert clean_node12.curl("/puppet/status?max_age=2h").status == 200


def test_summary_of_an_earlier_run_is_ignored(clean_node12: Machine) -> None:
    stub.stub_puppet(clean_node12)
    # From the second in which this run begins, or from before the clock was set back.
    summary = f"{stub.STUB}/last_run_summary.yaml"
    clean_node12.sh(f"echo \"time: {{last_run: $(date -d '1 minute' +%s)}}\" >{summary}")
    clean_node12.sh(f"echo exit 1 >>{stub.STUB}/puppet")
    assert stub.end_of(clean_node12, stub.started(clean_node12))["verdict"] == "not attempted"


def test_unit_of_a_run_tells_which_run_it_is(clean_node: Machine) -> None:
    stub.stub_puppet(clean_node)
    run, waiting = stub.hold(clean_node), stub.started(clean_node, "?queue=true")
    status = "systemctl status 'puppet-twitch-run@*'"
    # The handler tells systemd after it has answered.
    clean_node.wait(f"{status} | grep -q waits")
    shown = clean_node.sh(status, check=False).stdout
    assert f'Status: "Puppet run {run}"\n' in shown
    assert f'Status: "Puppet run {waiting} waits in the queue"\n' in shown
    assert clean_node.curl(f"/puppet/runs/{run}?wait=1s").status == 202
    stub.release(clean_node)
    stub.end_of(clean_node, waiting)


# -- the journal --------------------------------------------------------------------------------


def lines_of(node: Machine, action: Callable[[], object]) -> list[str]:
    """Return all lines of the journal, by any program of the node, while this is done and our units end."""
    node.sh("systemctl stop puppet-twitch.service")
    cursor = node.sh("journalctl --sync; journalctl -qn 0 --show-cursor").stdout.partition(": ")[2].strip()
    action()
    node.wait(f'test -z "$({stub.RUN_UNITS})"')
    node.sh("systemctl stop puppet-twitch.service; journalctl --sync")
    return [line["MESSAGE"] for line in node.journal(f"--after-cursor={cursor}")]


@pytest.mark.parametrize("shape", ["one listener", "per connection"])
def test_monitoring_leaves_no_line_in_the_journal(clean_node: Machine, shape: str) -> None:
    stub.stub_puppet(clean_node)
    if shape == "per connection":
        stub.per_connection(clean_node)
    statuses = []

    def monitor() -> None:
        for _ in ("starts a listener", "finds one"):
            statuses.append(clean_node.curl("/puppet/status?max_age=2h").status)
            clean_node.wait(f'test -z "$({stub.RUN_UNITS})"')
            clean_node.curl("/puppet/runs")
            time.sleep(1.1)  # the listener remembers root's answer for a second

    assert lines_of(clean_node, monitor) == []
    assert statuses == [503, 503]


def test_trigger_leaves_two_lines_beside_those_of_puppet(clean_node: Machine) -> None:
    stub.real_puppet(clean_node, "")
    runs = []
    url = "http://127.0.0.1:2023/puppet/twitch?async=false"
    lines = lines_of(clean_node, lambda: runs.append(clean_node.curl(url)))
    run = runs[0].headers["Puppet-Run"]
    assert [line for line in lines if not line.startswith(("Compiled catalog", "Applied catalog"))] == [
        f"anonymous at 127.0.0.1 asked for a run: started {run}",
        f"run {run} of anonymous: unchanged",
    ]


def test_every_line_of_puppet_is_kept(clean_node: Machine) -> None:
    # Of the level info and debug, too, if the site asks for them.
    stub.real_puppet(clean_node, "notify { 'a notice': } info('an info') debug('a debug line')")
    clean_node.write("/etc/default/puppet", "PUPPET_EXTRA_OPTS=--debug\n")
    lines = lines_of(clean_node, lambda: stub.trigger(clean_node, "?async=false"))
    clean_node.run("rm", "/etc/default/puppet")
    for text in ("a notice", "an info", "a debug line", "Applying configuration version"):
        assert any(text in line for line in lines), text


# -- idle ---------------------------------------------------------------------------------------


def leave_after(node: Machine, idle_s: int) -> None:
    """Make the listener leave after this time without a request, and systemd log that it has started."""
    command = f"/usr/bin/python3 -I /usr/lib/puppet-twitch listen --idle-exit {idle_s}"
    settings = f"ExecStart=\nExecStart={command}\nLogLevelMax=info\n"
    stub.drop_in(node, "puppet-twitch.service", f"[Service]\n{settings}")


@every_node
def test_idle_node_has_no_process_of_ours(clean_node: Machine) -> None:
    stub.stub_puppet(clean_node)
    leave_after(clean_node, 1)
    run = stub.hold(clean_node)
    caller = clean_node.popen("curl", "--silent", f"http://localhost:2023/puppet/runs/{run}?wait=60")
    clean_node.wait(f'test -n "$({OUR_PROCESSES})"', show="ps -ef")  # the listener, while the caller waits
    stub.release(clean_node)
    caller.communicate(timeout=60)
    clean_node.wait(f'test -z "$({OUR_PROCESSES})"', show="ps -ef")
    assert clean_node.sh("ss -Hltn sport = :2023").stdout != ""
    assert clean_node.curl("/version").status == 200


def test_no_request_is_lost_between_listeners(clean_node: Machine) -> None:
    leave_after(clean_node, 0)
    starts = f"journalctl -b -o cat MESSAGE_ID={UNIT_STARTED} UNIT=puppet-twitch.service | wc -l"
    clean_node.run("journalctl", "--sync")
    before = int(clean_node.sh(starts).stdout)

    def client(seed: int) -> list[bytes]:
        dice = random.Random(seed)
        answers = []
        for _ in range(REQUESTS // CLIENTS):
            time.sleep(dice.uniform(0, LONGEST_GAP_S))
            answers.append(stub.exchange(socket.create_connection((clean_node.address, 2023), timeout=60)))
        return answers

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [answer for some in pool.map(client, range(CLIENTS)) for answer in some]
    assert len(answers) == REQUESTS
    assert [answer for answer in answers if not answer.startswith(b"HTTP/1.1 200 OK\r\n")] == []
    clean_node.run("journalctl", "--sync")
    assert int(clean_node.sh(starts).stdout) - before >= FEWEST_STARTS


def test_sequential_connections_do_not_reach_the_limit(clean_node12: Machine) -> None:
    # 32 at once are the limit of one address; each of these has ended before the next one.
    for _ in range(200):
        client = HTTPConnection(clean_node12.address, 2023, timeout=60)
        client.request("GET", "/version")
        assert client.getresponse().status == 200
        client.close()
