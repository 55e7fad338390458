"""Floods slow the node down, but close neither the port nor the run socket.

With systemd's defaults, any client can reach the trigger limit (systemd 252) and the start limit (252 and
257), which fail a socket for good (seen).
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest

from tests.e2e import access, stub
from tests.lab.machine import Machine
from tests.lab.network import Netns

CONNECTIONS = 1000
# systemd.socket(5): the trigger limit of a socket with Accept=yes would be 200 in 2 s, the poll limit 150.
PER_CONNECTION = 400
SUSTAINED = 4000
FLOOD_TIMEOUT_S = 300
SHAPES = ("one listener", "per connection")


@pytest.fixture(params=SHAPES)
def node_of_each_shape(request: pytest.FixtureRequest, stub_node: Machine) -> Machine:
    """Return the node, with one listener or with one for each connection."""
    if request.param == "per connection":
        stub.per_connection(stub_node)
    return stub_node


def sockets(crowd: Netns, node: Machine) -> list[socket.socket]:
    """Return sockets for a flood.

    With one listener, which counts connections itself, they have all addresses of the crowd. With one
    per connection they are fewer, and have one address: systemd allows 16 of an address, and 64 in all,
    so four addresses would take every place.
    """
    shape = stub.state(node, "puppet-twitch.socket", "Accept")["Accept"]
    addresses, count = (
        (crowd.addresses, CONNECTIONS) if shape == "no" else (crowd.addresses[:1], PER_CONNECTION)
    )
    opened = [crowd.open_socket() for _ in range(count)]
    for number, one in enumerate(opened):
        one.setblocking(False)
        one.bind((addresses[number % len(addresses)], 0))
    return opened


def flood(connections: list[socket.socket], node: Machine) -> Counter[bytes]:
    """Ask on all connections at once; return how often each status code came, b'' for no answer."""

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
        return Counter(await asyncio.wait_for(asyncio.gather(*map(one, connections)), FLOOD_TIMEOUT_S))

    return asyncio.run(all_of_them())


def assert_answers(node: Machine) -> None:
    """See that a request from the lab's own address is answered."""
    answer = stub.exchange(socket.create_connection((node.address, 2023), timeout=60))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def assert_alive(node: Machine) -> None:
    """See that no unit has failed, and that a run can be started."""
    for unit in ("puppet-twitch.socket", "puppet-twitch-run.socket"):
        assert stub.state(node, unit, "ActiveState", "Result") == {
            "ActiveState": "active",
            "Result": "success",
        }
    assert node.sh("journalctl -b -o cat | grep limit-hit", check=False).stdout == ""
    assert node.sh("systemctl --failed --no-legend").stdout == ""
    run = stub.started(node)
    stub.end_of(node, run)
    assert stub.stub_log(node) == stub.in_order(run)


# -- at the port --------------------------------------------------------------------------------


def test_thousand_requests_at_once(node_of_each_shape: Machine, crowd: Netns) -> None:
    connections = sockets(crowd, node_of_each_shape)
    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(flood, connections, node_of_each_shape)
        assert_answers(node_of_each_shape)
        while not flooding.done():
            assert_answers(node_of_each_shape)
    counts = flooding.result()
    assert counts[b"200"] > 0
    assert set(counts) <= {b"200", b"503", b""}
    assert_alive(node_of_each_shape)


def test_thousand_silent_connections(node_of_each_shape: Machine, crowd: Netns) -> None:
    with ExitStack() as held:
        for connection in sockets(crowd, node_of_each_shape):
            held.enter_context(connection).connect_ex((node_of_each_shape.address, 2023))
        # The kernel passes silent connections on only after DeferAcceptSec=.
        node_of_each_shape.wait(
            "systemctl is-active --quiet 'puppet-twitch.service' 'puppet-twitch@*.service'"
        )
        for _ in range(3):
            assert_answers(node_of_each_shape)
    assert_alive(node_of_each_shape)


def test_flood_from_one_address(stub_node: Machine, crowd: Netns) -> None:
    """Each connection is kept open, so that the listener's refusals last as long as possible."""
    cursor = access.journal_cursor(stub_node)
    assert_answers(stub_node)
    served = stub.state(stub_node, "puppet-twitch.service", "InvocationID")
    with ExitStack() as held:
        for number in range(SUSTAINED):
            one = held.enter_context(crowd.open_socket())
            one.setblocking(False)
            one.bind((crowd.addresses[0], 0))
            one.connect_ex((stub_node.address, 2023))
            if number % 20 == 0:
                time.sleep(0.02)  # a thousand a second at most; what matters is that it goes on
            if number % 200 == 0:
                assert_answers(stub_node)
    assert stub.state(stub_node, "puppet-twitch.service", "InvocationID") == served
    messages = "\n".join(access.logged_refusals(stub_node, cursor, f"refused {crowd.addresses[0]}: "))
    assert f"refused {crowd.addresses[0]}: " in messages
    assert "cannot accept" not in "\n".join(access.messages_since(stub_node, cursor))
    assert_alive(stub_node)


def test_triggers_at_a_busy_node_start_few_handlers(stub_node: Machine) -> None:
    run = stub.hold(stub_node)
    before = access.handlers_started(stub_node)

    def ask(_: int) -> int:
        client = HTTPConnection(stub_node.address, 2023, timeout=60)
        client.request("POST", "/puppet/twitch")
        status = client.getresponse().status
        client.close()
        return status

    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(ask, range(500))) == {409: 500}
    took_s = time.monotonic() - began
    # The listener asks root once a second, not once for each trigger.
    assert access.handlers_started(stub_node) - before <= took_s + 1
    stub.release(stub_node)
    stub.end_of(stub_node, run)


# -- at the run socket --------------------------------------------------------------------------

# Run on the machine, with nothing but Python: ask for the status this many times at once.
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
    group = "nogroup" if user == "nobody" else user
    become = ("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups")
    return node.run(*become, "python3", "-c", ASK, str(count)).stdout.splitlines()


def test_three_hundred_questions_at_once_to_root(stub_node: Machine) -> None:
    answers = Counter(
        json.loads(answer)["kind"] if answer else "" for answer in ask_as(stub_node, "twitch", 300)
    )
    assert answers["status"] > 0
    assert set(answers) <= {"status", ""}
    assert stub_node.curl("/puppet/status").body == "idle\n"
    assert_alive(stub_node)


def test_run_socket_answers_root_and_the_listeners_user_only(stub_node: Machine) -> None:
    assert ask_as(stub_node, "nobody", 1) == [""]
    assert access.handlers_started(stub_node) == 0
    stub_node.run("chmod", "0666", f"{stub.RUNTIME}/run.sock")
    (answer,) = ask_as(stub_node, "nobody", 1)
    assert json.loads(answer) == {
        "kind": "invalid",
        "reason": "uid 65534 may not ask; only root and twitch may",
    }
    (answer,) = ask_as(stub_node, "twitch", 1)
    assert json.loads(answer)["kind"] == "status"
    assert_alive(stub_node)
