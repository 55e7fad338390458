"""Callers that wait for a run hear of its end as an event: from conclude, or from systemd if it was killed.

The listener of these tests never looks at the record of a run, and never asks root by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from subprocess import Popen

import pytest

from tests.e2e import stub
from tests.e2e.systems import every_node
from tests.lab import curl
from tests.lab.machine import Machine

LISTENER = "puppet-twitch.service"
PATIENT = "/usr/local/lib/patient"
PATIENT_MAIN = """\
import sys
sys.path.insert(0, "/usr/lib/puppet-twitch")
from twitch.__main__ import main
from twitch.listener.api import call
call.LOOK_S = call.GUARD_S = 86400
sys.exit(main())
"""
DROP_IN = f"[Service]\nExecStart=\nExecStart=/usr/bin/python3 -I -B {PATIENT} listen\n"
KILLED = "[Service]\nExecStopPost=\nExecStopPost=/bin/sh -c 'kill -KILL $$$$'\n"


@pytest.fixture
def patient_node(clean_node: Machine) -> Iterator[Machine]:
    """Return a node whose listener hears events and nothing else, and whose runs leave a process behind."""
    stub.stub_puppet(clean_node)
    clean_node.sh(f"sed -i '2i test $1 = config || sleep 1000 &' {stub.STUB}/puppet")
    clean_node.write(f"{PATIENT}/__main__.py", PATIENT_MAIN)
    stub.drop_in(clean_node, LISTENER, DROP_IN)
    yield clean_node
    clean_node.sh(f"rm -rf {PATIENT}; pgrep -x sleep | xargs -r kill")


def waiting_client(node: Machine, target: str) -> Popen[str]:
    return node.popen("curl", "--silent", "--include", "--max-time", "60", f"http://localhost:2023{target}")


def answer_to(client: Popen[str]) -> curl.Reply:
    output, _ = client.communicate(timeout=60)
    return curl.parse(output.replace("\n", "\r\n"))


def await_clients(node: Machine, count: int) -> None:
    """Wait until the listener has this number of connections, and has read the request of each."""
    read = "ss -Htn state established '( sport = :2023 )' | awk '$1 == 0' | wc -l"
    node.wait(f"test $({read}) = {count}", show="ss -tn")


def sockets_kept(node: Machine) -> int:
    """Return how many sockets the listener has open when it has no client."""
    assert node.curl("/version").status == 200
    node.wait('test -z "$(ss -Htn sport = :2023)"', show="ss -tn")
    pid = stub.state(node, LISTENER, "MainPID")["MainPID"]
    return int(node.sh(f"readlink /proc/{pid}/fd/* | grep -c socket:").stdout)


@every_node
def test_all_waiting_callers_hear_the_verdict_as_an_event(patient_node: Machine) -> None:
    kept = sockets_kept(patient_node)
    first = stub.hold(patient_node)
    clients = {waiting_client(patient_node, f"/puppet/runs/{first}?wait=60"): first}
    second = stub.started(patient_node, "?queue=true")
    for target in (f"/puppet/runs/{second}?wait=60", "/puppet/twitch?queue=true&wait=60"):
        clients[waiting_client(patient_node, target)] = second
    await_clients(patient_node, 3)
    # No question to root is open: the last caller has joined the run in the queue, before that run begins.
    patient_node.wait(f"test $({stub.RUN_UNITS} | wc -l) = 2")
    stub.release(patient_node)
    for client, run in clients.items():
        answer = answer_to(client)
        assert (answer.headers["Puppet-Run"], "Puppet-Verdict" in answer.headers) == (run, True)
    assert stub.stub_log(patient_node) == stub.in_order(first, second)
    # The listener, which still runs, occupies no place of the run socket, and keeps no connection.
    patient_node.wait("test $(systemctl show -P NConnections puppet-twitch-run.socket) = 0")
    patient_node.wait(lambda: sockets_kept(patient_node) == kept)


def test_waiting_callers_hear_of_a_run_whose_conclude_was_killed(patient_node: Machine) -> None:
    stub.drop_in(patient_node, "puppet-twitch-run@.service", KILLED)
    run = stub.hold(patient_node)
    clients = [waiting_client(patient_node, f"/puppet/runs/{run}?wait=60") for _ in range(2)]
    await_clients(patient_node, 2)
    stub.release(patient_node)
    for client in clients:
        assert answer_to(client).headers["Puppet-Verdict"] == "interrupted"
