"""A run goes on whatever happens to what started it; whatever happens to a run, the next one can start."""

from __future__ import annotations

import os
import signal
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
    "systemd itself is replaced": "systemctl daemon-reexec",
}
STOPS = ("restart puppet-twitch.service", "stop puppet-twitch.service", "stop puppet-twitch.socket")


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


def waiting_client(node: Machine, run_is_held: str = "?async=false") -> tuple[Popen[str], str]:
    """Start a client that waits for a run that is held; return it, and the run when it is under way."""
    stub.hold_runs(node)
    client = node.popen("curl", "--silent", "--include", f"http://localhost:2023/puppet/twitch{run_is_held}")
    node.wait(f"test -e {stub.HELD}")
    return client, only_run(node)


def only_run(node: Machine) -> str:
    (path,) = node.sh(f"ls {stub.RUNTIME}/runs/*.json").stdout.split()
    return os.path.basename(path).partition(".")[0]


def answer_to(client: Popen[str]) -> curl.Reply:
    said, _ = client.communicate(timeout=60)
    return curl.parse(said.replace("\n", "\r\n"))


# -- the run goes on ----------------------------------------------------------------------------


@pytest.mark.parametrize("upheaval", UPHEAVALS.values(), ids=UPHEAVALS)
def test_a_run_goes_on_while(tidy: Machine, upheaval: str) -> None:
    stub.real_puppet(tidy, stub.HOLD)
    run = stub.hold(tidy)
    unit, pid = stub.unit_of(tidy, run), stub.pid_of(tidy, run)
    tidy.sh(upheaval)
    assert (stub.unit_of(tidy, run), stub.pid_of(tidy, run)) == (unit, pid)
    busy = stub.trigger(tidy)
    assert (busy.status, busy.headers["Puppet-Run"]) == (409, run)
    stub.let_go(tidy)
    assert stub.end_of(tidy, run)["verdict"] == "changed"


@pytest.mark.parametrize("stop", STOPS)
def test_who_waits_is_told_where_to_look_when_the_listener_stops(tidy: Machine, stop: str) -> None:
    stub.stub_puppet(tidy)
    client, run = waiting_client(tidy)
    tidy.sh(f"systemctl {stop}")
    # The run is still held: the answer does not wait for its end.
    answer = answer_to(client)
    assert (answer.status, answer.body) == (202, "Triggered puppet run")
    assert (answer.headers["Location"], answer.headers["Puppet-Run"]) == (f"/puppet/runs/{run}", run)
    assert stub.stub_log(tidy) == [f"began {run}"]


def test_a_client_that_leaves_does_not_end_the_run(tidy12: Machine) -> None:
    stub.real_puppet(tidy12, stub.HOLD)
    client, run = waiting_client(tidy12)
    tidy12.sh("kill $(pgrep -x curl)")
    client.communicate(timeout=60)
    tidy12.wait("test -z \"$(ss -Htn state established '( sport = :2023 )')\"", show="ss -tn")
    stub.let_go(tidy12)
    assert stub.end_of(tidy12, run)["verdict"] == "changed"


def test_what_a_run_has_started_outlives_it(tidy12: Machine) -> None:
    stub.real_puppet(
        tidy12,
        "exec { 'a daemon':\n"
        "  command  => 'sleep 1000 >/dev/null 2>&1 & echo $! >/root/daemon',\n"
        "  provider => shell,\n  path => '/usr/bin:/bin',\n}\n",
    )
    stub.end_of(tidy12, stub.started(tidy12))
    daemon = tidy12.read("/root/daemon").strip()
    assert tidy12.read(f"/proc/{daemon}/comm") == "sleep\n"
    tidy12.run("kill", daemon)


def test_what_runs_have_left_behind_takes_no_place_from_the_next(tidy: Machine) -> None:
    stub.stub_puppet(tidy)
    # 16 places has the run socket; a daemon for each would fill them.
    tidy.sh(f"sed -i '2i test $1 = config || sleep 1000 &' {stub.STUB}/puppet")
    for _ in range(17):
        stub.end_of(tidy, stub.started(tidy))
    assert tidy.sh("pgrep -c -x sleep").stdout == "17\n"
    assert stub.state(tidy, "puppet-twitch-run.socket", "NConnections") == {"NConnections": "0"}
    assert tidy.curl("/puppet/status").body == "idle\n"
    tidy.sh("kill $(pgrep -x sleep)")
    tidy.wait("test -z \"$(systemctl list-units --all --no-legend 'puppet-twitch-run@*')\"")


# -- the run does not go on ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [
        "kill -9 {pid}",
        "systemctl stop {unit}",
        "systemctl kill --signal=KILL {unit}",  # conclude is killed with it
    ],
)
def test_a_run_that_was_ended_is_interrupted_and_the_next_one_starts(tidy12: Machine, end: str) -> None:
    stub.real_puppet(tidy12, stub.HOLD)
    client, run = waiting_client(tidy12)
    tidy12.sh(end.format(pid=stub.pid_of(tidy12, run), unit=stub.unit_of(tidy12, run)))
    tidy12.wait(lambda: tidy12.curl("/puppet/status").body == "idle\n")
    answer = answer_to(client)
    assert (answer.status, answer.headers["Puppet-Verdict"]) == (500, "interrupted")
    assert stub.end_of(tidy12, run)["verdict"] == "interrupted"
    stub.let_go(tidy12)
    assert stub.trigger(tidy12, "?async=false").headers["Puppet-Verdict"] == "changed"


def test_a_killed_listener_comes_again(tidy: Machine) -> None:
    stub.stub_puppet(tidy)
    client, run = waiting_client(tidy)
    tidy.run("systemctl", "kill", "--signal=KILL", "puppet-twitch.service")
    assert client.communicate(timeout=60)[0] == ""
    assert tidy.curl("/version").status == 200
    busy = stub.trigger(tidy)
    assert (busy.status, busy.headers["Puppet-Run"]) == (409, run)
    stub.let_go(tidy)
    stub.end_of(tidy, run)
    assert stub.stub_log(tidy) == [f"began {run}", f"ended {run}"]


def test_a_waiting_run_that_is_killed_leaves_its_place(tidy: Machine) -> None:
    stub.stub_puppet(tidy)
    first = stub.hold(tidy)
    killed = stub.started(tidy, "?queue=true")
    tidy.run("kill", "-9", str(stub.pid_of(tidy, killed)))
    assert stub.end_of(tidy, killed)["verdict"] == "not attempted"
    second = stub.started(tidy, "?queue=true")
    assert second not in (first, killed)
    stub.let_go(tidy)
    stub.end_of(tidy, second)
    assert stub.stub_log(tidy) == [f"{word} {run}" for run in (first, second) for word in ("began", "ended")]


def test_a_handler_that_is_killed_before_it_answers_blocks_nothing(tidy: Machine) -> None:
    stub.stub_puppet(tidy)
    # The handler asks Puppet for its settings, and Puppet does not answer.
    tidy.write(f"{stub.STUB}/puppet", f"#!/bin/sh\ntouch {stub.HELD}\nexec sleep 1000\n", 0o755)
    client = tidy.popen("curl", "--silent", "--include", "http://localhost:2023/puppet/twitch")
    tidy.wait(f"test -e {stub.HELD}")
    tidy.run("systemctl", "kill", "--signal=KILL", "puppet-twitch-run@*.service")
    assert answer_to(client).status == 503
    stub.stub_puppet(tidy)
    run = stub.started_when_mended(tidy)
    stub.end_of(tidy, run)
    assert stub.stub_log(tidy) == [f"began {run}", f"ended {run}"]


# -- the machine does not go on -----------------------------------------------------------------


@pytest.fixture
def own_machine(lab: Lab) -> Iterator[Machine]:
    """A machine of one's own, with the sockets enabled."""
    machine = lab.boot("extra", image="debian12")
    install(machine)
    machine.run("systemctl", "enable", "--now", "puppet-twitch.socket")
    yield machine
    lab.discard(machine)


def cut_the_power(machine: Machine) -> None:
    os.kill(machine.leader, signal.SIGKILL)
    machine.await_end(60)
    machine.start()


@pytest.mark.parametrize("down", [Machine.reboot, cut_the_power], ids=["reboot", "power cut"])
def test_a_node_that_went_down_in_a_run_answers_and_runs_again(
    own_machine: Machine, down: Callable[[Machine], None]
) -> None:
    # As the agent does, the stub keeps its pid in the lock; the disk keeps that beyond the reboot.
    stub.stub_puppet(own_machine)
    stub.hold(own_machine)
    own_machine.sh(f"echo $(pgrep -x puppet) >{stub.STUB_LOCK} && sync")
    assert own_machine.read(stub.STUB_LOCK) != "\n"
    down(own_machine)
    assert own_machine.curl("/version").status == 200
    assert own_machine.exists(stub.STUB_LOCK)
    stub.let_go(own_machine)
    assert own_machine.curl("/puppet/status").body == "idle\n"
    run = stub.started(own_machine)
    stub.end_of(own_machine, run)
    assert stub.stub_log(own_machine)[-2:] == [f"began {run}", f"ended {run}"]
