"""Floods slow the node down and never switch it off: neither the port nor the run socket, in both shapes.

Left to their defaults, the trigger limit (systemd 252) and the start limit (252 and 257) fail a socket for
good, and any client can reach them (seen).
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest

from tests.e2e import access, stub
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns

CONNECTIONS = 1000
SUSTAINED = 4000
SHAPES = ("one listener", "a listener each")


@pytest.fixture(scope="module", autouse=True)
def descriptors() -> None:
    """As many as the sockets of a flood need."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture(scope="session")
def crowd(lab: Lab) -> Netns:
    """Return sixteen addresses that mean no good."""
    return lab.client(*(f"10.77.0.{number}" for number in range(210, 226)))


@pytest.fixture
def tidy(node: Machine) -> Iterator[Machine]:
    stub.clear(node)
    stub.stub_puppet(node)
    yield node
    stub.clear(node)


@pytest.fixture(params=SHAPES)
def shaped(request: pytest.FixtureRequest, tidy: Machine) -> Machine:
    """Return the node, with one listener or with one for each connection."""
    if request.param == "a listener each":
        stub.per_connection(tidy)
    return tidy


def sockets(crowd: Netns, node: Machine) -> list[socket.socket]:
    """Return sockets for a flood: from all addresses where the listener counts, and from one where
    systemd does, whose places in all (64) are four times those of an address."""
    shape = stub.state(node, "puppet-twitch.socket", "Accept")["Accept"]
    addresses = crowd.addresses if shape == "no" else crowd.addresses[:1]
    opened = [crowd.open_socket() for _ in range(CONNECTIONS)]
    for number, one in enumerate(opened):
        one.setblocking(False)
        one.bind((addresses[number % len(addresses)], 0))
    return opened


def flood(connections: list[socket.socket], node: Machine) -> Counter[bytes]:
    """Ask on all connections at once; count the status codes, b'' for those without an answer."""

    async def one(connection: socket.socket) -> bytes:
        loop = asyncio.get_running_loop()
        answer = b""
        with connection:
            try:
                await loop.sock_connect(connection, (node.address, 2023))
                await loop.sock_sendall(connection, stub.VERSION)
                while data := await loop.sock_recv(connection, 4096):
                    answer += data
            except ConnectionError:
                pass
        return answer[9:12]

    async def all_of_them() -> Counter[bytes]:
        return Counter(await asyncio.gather(*map(one, connections)))

    return asyncio.run(all_of_them())


def assert_answers(node: Machine) -> None:
    """A request from elsewhere (the lab's own address) gets its answer."""
    answer = stub.exchange(socket.create_connection((node.address, 2023), timeout=60))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def assert_alive(node: Machine) -> None:
    """Nothing has failed, and runs can be started."""
    for unit in ("puppet-twitch.socket", "puppet-twitch-run.socket"):
        assert stub.state(node, unit, "ActiveState", "Result") == {
            "ActiveState": "active",
            "Result": "success",
        }
    assert node.sh("journalctl -b -o cat | grep limit-hit", check=False).stdout == ""
    assert node.sh("systemctl --failed --no-legend").stdout == ""
    run = stub.started(node)
    stub.end_of(node, run)
    assert stub.stub_log(node) == [f"began {run}", f"ended {run}"]


# -- at the port --------------------------------------------------------------------------------


def test_a_thousand_requests_at_once(shaped: Machine, crowd: Netns) -> None:
    connections = sockets(crowd, shaped)
    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(flood, connections, shaped)
        assert_answers(shaped)
        while not flooding.done():
            assert_answers(shaped)
    counts = flooding.result()
    assert counts[b"200"] > 0
    assert set(counts) <= {b"200", b"503", b""}
    assert_alive(shaped)


def test_a_thousand_who_say_nothing(shaped: Machine, crowd: Netns) -> None:
    with ExitStack() as held:
        for connection in sockets(crowd, shaped):
            held.enter_context(connection).connect_ex((shaped.address, 2023))
        # The kernel keeps silent ones to itself for DeferAcceptSec=.
        shaped.wait("systemctl is-active --quiet 'puppet-twitch.service' 'puppet-twitch@*.service'")
        for _ in range(3):
            assert_answers(shaped)
    assert_alive(shaped)


def test_one_address_that_goes_on_connecting(tidy: Machine, crowd: Netns) -> None:
    """Each connection is kept open, so that each refusal that is said lasts as long as it can."""
    place = access.now(tidy)
    assert_answers(tidy)
    served = stub.state(tidy, "puppet-twitch.service", "InvocationID")
    with ExitStack() as held:
        for number in range(SUSTAINED):
            one = held.enter_context(crowd.open_socket())
            one.setblocking(False)
            one.bind((crowd.addresses[0], 0))
            one.connect_ex((tidy.address, 2023))
            if number % 20 == 0:
                time.sleep(0.02)  # a thousand a second at most; what matters is that it goes on
            if number % 200 == 0:
                assert_answers(tidy)
    assert stub.state(tidy, "puppet-twitch.service", "InvocationID") == served
    said = "\n".join(access.refused(tidy, place, f"refused {crowd.addresses[0]}: "))
    assert f"refused {crowd.addresses[0]}: " in said
    assert "cannot accept" not in "\n".join(access.since(tidy, place))
    assert_alive(tidy)


def test_triggers_at_a_busy_node_are_no_flood_of_root_processes(tidy: Machine) -> None:
    run = stub.hold(tidy)
    before = questions(tidy)

    def ask(_: int) -> int:
        client = HTTPConnection(tidy.address, 2023)
        client.request("POST", "/puppet/twitch")
        status = client.getresponse().status
        client.close()
        return status

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(ask, range(500))) == {409: 500}
    # One in a second; 500 would be one for each.
    assert questions(tidy) - before <= 25
    stub.let_go(tidy)
    stub.end_of(tidy, run)


def questions(node: Machine) -> int:
    """Return how many handlers have been started."""
    return int(stub.state(node, "puppet-twitch-run.socket", "NAccepted")["NAccepted"])


# -- at the run socket --------------------------------------------------------------------------

# Inside the machine, with nothing but Python: ask for the status so many times at once.
ASK = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor

def ask(_):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(60)
    try:
        connection.connect("/run/puppet-twitch/run.sock")
        connection.send(b'{"ask": "status"}')
        return connection.recv(65536).decode()
    except (ConnectionError, PermissionError) as error:
        return ""

with ThreadPoolExecutor(int(sys.argv[1])) as pool:
    print("\\n".join(pool.map(ask, range(int(sys.argv[1])))))
"""


def ask_as(node: Machine, user: str, count: int) -> list[str]:
    """Ask the run socket as this user; return the answers, '' for refusals."""
    become = (
        "setpriv",
        f"--reuid={user}",
        "--clear-groups",
        f"--regid={'nogroup' if user == 'nobody' else user}",
    )
    return node.run(*become, "python3", "-c", ASK, str(count)).stdout.splitlines()


def test_three_hundred_questions_at_once_to_root(tidy: Machine) -> None:
    answers = Counter(json.loads(answer)["kind"] if answer else "" for answer in ask_as(tidy, "twitch", 300))
    assert answers["status"] > 0
    assert set(answers) <= {"status", ""}
    assert tidy.curl("/puppet/status").body == "idle\n"
    assert_alive(tidy)


def test_root_hears_the_listeners_user_only(tidy: Machine) -> None:
    assert ask_as(tidy, "nobody", 1) == [""]
    assert questions(tidy) == 0
    tidy.run("chmod", "0666", f"{stub.RUNTIME}/run.sock")
    (answer,) = ask_as(tidy, "nobody", 1)
    assert json.loads(answer) == {
        **{"kind": "invalid", "run": None, "retry_after_s": None, "status": None},
        "reason": "uid 65534 may not ask; only root and twitch may",
    }
    (answer,) = ask_as(tidy, "twitch", 1)
    assert json.loads(answer)["kind"] == "status"
    assert_alive(tidy)
