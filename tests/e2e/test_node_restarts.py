"""Restarts, kills and power cuts: a run outlives the listener, and no dead run blocks the next one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from subprocess import Popen

import pytest

from tests.e2e import stub
from tests.lab import curl
from tests.lab.install import SOURCE, install
from tests.lab.lab import Lab
from tests.lab.machine import Machine

UPHEAVALS = {
    "the listener is restarted": "systemctl restart puppet-twitch.service",
    "the sockets are restarted": "systemctl restart puppet-twitch.socket puppet-twitch-run.socket",
    "everything is installed again": f"make --silent --directory={SOURCE} install"
    " && systemctl restart puppet-twitch.socket puppet-twitch-run.socket",
    # systemctl returns when the old systemd has closed its sockets, before the new one has opened them again.
    "systemd itself is replaced": "systemctl daemon-reexec;"
    " until systemctl show --property=Version >/dev/null 2>&1; do sleep 0.1; done",
}
STOPS = ("restart puppet-twitch.service", "stop puppet-twitch.service", "stop puppet-twitch.socket")


def waiting_client(node: Machine) -> tuple[Popen[str], str]:
    """Start a client that waits for a held run; return the client, and the run once Puppet is running."""
    stub.hold_runs(node)
    client = node.popen("curl", "--silent", "--include", "http://localhost:2023/puppet/twitch?async=false")
    node.wait(f"test -e {stub.HELD}")
    return client, only_run(node)


def only_run(node: Machine) -> str:
    (path,) = node.sh(f"ls {stub.RUNTIME}/runs/*.json").stdout.split()
    return os.path.basename(path).partition(".")[0]


def answer_to(client: Popen[str]) -> curl.Reply:
    output, _ = client.communicate(timeout=60)
    return curl.parse(output.replace("\n", "\r\n"))


def await_one_socket(node: Machine) -> None:
    """Wait until a socket that was replaced is closed: a child of PID 1 may have a copy for a moment."""
    node.wait("test $(ss -Hltn sport = :2023 | wc -l) = 1", show="ss -Hltnp sport = :2023")


# -- the run goes on ----------------------------------------------------------------------------


@pytest.mark.parametrize("upheaval", UPHEAVALS.values(), ids=UPHEAVALS)
def test_run_goes_on_while(clean_node: Machine, upheaval: str) -> None:
    stub.real_puppet(clean_node, stub.HOLD)
    run = stub.hold(clean_node)
    unit, pid = stub.unit_of(clean_node, run), stub.pid_of(clean_node, run)
    clean_node.sh(upheaval)
    await_one_socket(clean_node)
    assert (stub.unit_of(clean_node, run), stub.pid_of(clean_node, run)) == (unit, pid)
    busy = stub.trigger(clean_node)
    assert (busy.status, busy.headers["Puppet-Run"]) == (409, run)
    stub.release(clean_node)
    assert stub.end_of(clean_node, run)["verdict"] == "changed"


@pytest.mark.parametrize("stop", STOPS)
def test_waiting_caller_gets_202_when_the_listener_stops(clean_node: Machine, stop: str) -> None:
    stub.stub_puppet(clean_node)
    client, run = waiting_client(clean_node)
    clean_node.sh(f"systemctl {stop}")
    # The run is still held: the answer does not wait for its end.
    answer = answer_to(client)
    assert (answer.status, answer.body) == (202, "Triggered puppet run")
    assert (answer.headers["Location"], answer.headers["Puppet-Run"]) == (f"/puppet/runs/{run}", run)
    assert stub.stub_log(clean_node) == [f"began {run}"]


def test_run_goes_on_when_the_client_leaves(clean_node12: Machine) -> None:
    stub.real_puppet(clean_node12, stub.HOLD)
    client, run = waiting_client(clean_node12)
    clean_node12.sh("kill $(pgrep -x curl)")
    client.communicate(timeout=60)
    clean_node12.wait("test -z \"$(ss -Htn state established '( sport = :2023 )')\"", show="ss -tn")
    stub.release(clean_node12)
    assert stub.end_of(clean_node12, run)["verdict"] == "changed"


def test_daemon_started_by_a_run_outlives_it(clean_node12: Machine) -> None:
    stub.real_puppet(
        clean_node12,
        "exec { 'a daemon':\n"
        "  command  => 'sleep 1000 >/dev/null 2>&1 & echo $! >/root/daemon',\n"
        "  provider => shell,\n  path => '/usr/bin:/bin',\n}\n",
    )
    stub.end_of(clean_node12, stub.started(clean_node12))
    daemon = clean_node12.read("/root/daemon").strip()
    # Until it has executed sleep, it has the name of the shell.
    clean_node12.wait(lambda: clean_node12.read(f"/proc/{daemon}/comm") == "sleep\n")
    clean_node12.run("kill", daemon)


def test_leftover_processes_do_not_fill_the_run_socket(clean_node: Machine) -> None:
    stub.stub_puppet(clean_node)
    # More daemons than the run socket takes connections (MaxConnections=16).
    clean_node.sh(f"sed -i '2i test $1 = config || sleep 1000 &' {stub.STUB}/puppet")
    for _ in range(17):
        stub.end_of(clean_node, stub.started(clean_node))
    # The last run may have ended before its shell has executed sleep.
    clean_node.wait("test $(pgrep -c -x sleep) = 17", show="ps -ef")
    assert stub.state(clean_node, "puppet-twitch-run.socket", "NConnections") == {"NConnections": "0"}
    assert clean_node.curl("/puppet/status").body == "idle\n"
    clean_node.sh("kill $(pgrep -x sleep)")
    clean_node.wait("test -z \"$(systemctl list-units --all --no-legend 'puppet-twitch-run@*')\"")


# -- the run does not go on ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [
        "kill -9 {pid}",
        "systemctl stop {unit}",
        "systemctl kill --signal=KILL {unit}",  # conclude is killed with it
    ],
)
def test_killed_run_is_interrupted_and_the_next_one_starts(clean_node12: Machine, end: str) -> None:
    stub.real_puppet(clean_node12, stub.HOLD)
    client, run = waiting_client(clean_node12)
    clean_node12.sh(end.format(pid=stub.pid_of(clean_node12, run), unit=stub.unit_of(clean_node12, run)))
    clean_node12.wait(lambda: clean_node12.curl("/puppet/status").body == "idle\n")
    answer = answer_to(client)
    assert (answer.status, answer.headers["Puppet-Verdict"]) == (500, "interrupted")
    assert stub.end_of(clean_node12, run)["verdict"] == "interrupted"
    stub.release(clean_node12)
    assert stub.trigger(clean_node12, "?async=false").headers["Puppet-Verdict"] == "changed"


def test_killed_listener_is_restarted(clean_node: Machine) -> None:
    stub.stub_puppet(clean_node)
    client, run = waiting_client(clean_node)
    clean_node.run("systemctl", "kill", "--signal=KILL", "puppet-twitch.service")
    assert client.communicate(timeout=60)[0] == ""
    assert clean_node.curl("/version").status == 200
    busy = stub.trigger(clean_node)
    assert (busy.status, busy.headers["Puppet-Run"]) == (409, run)
    stub.release(clean_node)
    stub.end_of(clean_node, run)
    assert stub.stub_log(clean_node) == stub.in_order(run)


def test_restarted_socket_listens_again(clean_node: Machine) -> None:
    # Without ReusePort=, one restart of fifteen failed. Until a child of PID 1 has closed its copy of the old
    # socket (units/puppet-twitch.socket), that still gets connections, which then are reset (seen once).
    stub.drop_in(clean_node, "puppet-twitch.socket", "[Unit]\nStartLimitIntervalSec=0\n")
    ask = "curl -sSf --retry 5 --retry-all-errors -o /dev/null http://localhost:2023/version"
    script = f"{ask} && systemctl restart puppet-twitch.socket"
    clean_node.sh(f"for number in $(seq 25); do {script} || exit 1; done", timeout_s=300)
    await_one_socket(clean_node)
    assert clean_node.curl("/version").status == 200


def test_killed_queued_run_frees_the_queue(clean_node: Machine) -> None:
    stub.stub_puppet(clean_node)
    first = stub.hold(clean_node)
    killed = stub.started(clean_node, "?queue=true")
    clean_node.run("kill", "-9", str(stub.pid_of(clean_node, killed)))
    assert stub.end_of(clean_node, killed)["verdict"] == "not attempted"
    second = stub.started(clean_node, "?queue=true")
    assert second not in (first, killed)
    stub.release(clean_node)
    stub.end_of(clean_node, second)
    assert stub.stub_log(clean_node) == stub.in_order(first, second)


def test_handler_killed_before_its_answer_gets_503(clean_node: Machine) -> None:
    stub.stub_puppet(clean_node)
    # The handler waits for Puppet's settings, which do not come.
    clean_node.write(f"{stub.STUB}/puppet", f"#!/bin/sh\ntouch {stub.HELD}\nexec sleep 1000\n", 0o755)
    client = clean_node.popen("curl", "--silent", "--include", "http://localhost:2023/puppet/twitch")
    clean_node.wait(f"test -e {stub.HELD}")
    clean_node.run("systemctl", "kill", "--signal=KILL", "puppet-twitch-run@*.service")
    assert answer_to(client).status == 503
    stub.stub_puppet(clean_node)
    run = stub.started_when_fixed(clean_node)
    stub.end_of(clean_node, run)
    assert stub.stub_log(clean_node) == stub.in_order(run)


# -- the machine does not go on -----------------------------------------------------------------


@pytest.fixture
def own_machine(lab: Lab) -> Iterator[Machine]:
    """Return a new machine, with the sockets enabled."""
    machine = lab.boot("extra", image="debian12")
    install(machine)
    machine.run("systemctl", "enable", "--now", "puppet-twitch.socket")
    yield machine
    lab.discard(machine)


@pytest.mark.parametrize("down", [Machine.reboot, Machine.cut_the_power], ids=["reboot", "power cut"])
def test_node_that_went_down_during_a_run_answers_and_runs(
    own_machine: Machine, down: Callable[[Machine], None]
) -> None:
    # The agent's lock holds the pid of the run, and is still on the disk after the reboot.
    stub.stub_puppet(own_machine)
    run = stub.hold(own_machine)
    own_machine.write(stub.STUB_LOCK, f"{stub.pid_of(own_machine, run)}\n")
    own_machine.run("sync")
    down(own_machine)
    assert own_machine.curl("/version").status == 200
    assert own_machine.exists(stub.STUB_LOCK)
    stub.release(own_machine)
    assert own_machine.curl("/puppet/status").body == "idle\n"
    run = stub.started(own_machine)
    stub.end_of(own_machine, run)
    assert stub.stub_log(own_machine)[-2:] == stub.in_order(run)
