"""Connections that break at every byte, stay half-open, or come by the thousand leave nothing behind."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine
from tests.lab.network import Netns

LIMIT_MIB = 40
SEQUENTIAL = 10_000

TRIGGER = (
    b"POST /puppet/twitch HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\n"
    b"Content-Length: 14\r\n\r\n" + b'{"async":true}'
)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset


def listener(node: Machine, script: str) -> str:
    """Run a shell script about the listener, whose directory in /proc is $proc."""
    return node.sh(f"proc=/proc/$(systemctl show -P MainPID puppet-twitch.service); {script}").stdout.strip()


def peak_mib(node: Machine) -> float:
    return int(listener(node, "awk '/^VmHWM/{print $2}' $proc/status")) / 1024


def descriptors(node: Machine) -> int:
    return int(listener(node, "ls $proc/fd | wc -l"))


@pytest.fixture
def bounded(stub_node12: Machine) -> Iterator[Machine]:
    """Return a node; afterwards its listener must be the same process, with no more descriptors or memory."""
    node = stub_node12
    assert node.curl("/version").status == 200
    node.wait("! ss -Htn state established state close-wait sport = :2023 | grep -q .")
    pid, before = listener(node, "echo $proc"), descriptors(node)
    yield node
    assert node.curl("/version").status == 200
    node.wait(lambda: descriptors(node) <= before, show="ss -tn sport = :2023")
    assert listener(node, "echo $proc") == pid
    assert peak_mib(node) <= LIMIT_MIB


def test_request_reset_at_every_byte(bounded: Machine) -> None:
    # Every one is cut short, so none is a run.
    for length in range(len(TRIGGER)):
        connection = socket.create_connection((bounded.address, 2023), timeout=60)
        connection.sendall(TRIGGER[:length])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()
    assert bounded.curl("/version").status == 200
    assert stub.stub_log(bounded) == []


def test_request_that_ends_at_every_byte(bounded: Machine) -> None:
    for length in range(len(TRIGGER)):
        with socket.create_connection((bounded.address, 2023), timeout=60) as connection:
            connection.sendall(TRIGGER[:length])
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answer[:12] == (b"HTTP/1.1 400" if length else b""), length
    assert stub.stub_log(bounded) == []


def test_trigger_of_a_client_that_left_is_a_run(bounded: Machine) -> None:
    # The request is whole when its client leaves.
    with socket.create_connection((bounded.address, 2023), timeout=60) as connection:
        connection.sendall(TRIGGER)
    bounded.wait(lambda: len(stub.stub_log(bounded)) == 2)


def crowded(node: Machine, crowd: Netns, count: int) -> list[socket.socket]:
    """Return this many connections, from all addresses of the crowd."""
    opened = [crowd.open_socket() for _ in range(count)]
    for number, one in enumerate(opened):
        one.bind((crowd.addresses[number % len(crowd.addresses)], 0))
        one.setblocking(False)
        one.connect_ex((node.address, 2023))
    return opened


def slow_head(one: socket.socket) -> None:
    one.sendall(b"GET /version HTTP/1.1\r\nHost: node\r\nX-Slow: ")


def slow_body(one: socket.socket) -> None:
    one.sendall(TRIGGER[:-1])


def slow_reader(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    one.sendall(b"GET /nothing HTTP/1.1\r\nHost: node\r\n\r\n" * 200)


def vanished(one: socket.socket) -> None:
    """Be half-open: silent for ever, as after a power cut (the kernel keeps the socket here)."""
    one.sendall(b"G")


@pytest.mark.parametrize(
    "behave", [slow_head, slow_body, slow_reader, vanished], ids=lambda one: one.__name__
)
def test_thousand_slow_connections(
    bounded: Machine, crowd: Netns, behave: Callable[[socket.socket], None]
) -> None:
    held = crowded(bounded, crowd, 1000)
    try:
        for one in held:
            one.settimeout(5)
            with suppress(OSError):  # refused already, or full
                behave(one)
        assert bounded.curl("/version").status == 200
        assert peak_mib(bounded) <= LIMIT_MIB
        # 280 connections (twitch/listener/room.py), and those of the listener itself.
        assert descriptors(bounded) < 300
    finally:
        for one in held:
            one.close()
    assert stub.stub_log(bounded) == []


def test_endless_pipeline(bounded: Machine) -> None:
    request = b"GET /version HTTP/1.1\r\nHost: node\r\n\r\n"
    enough, limit = 1000 * len(request), 100_000 * len(request)
    with socket.create_connection((bounded.address, 2023), timeout=60) as connection:
        connection.settimeout(0.2)
        sent = 0
        while sent < limit:
            try:
                sent += connection.send(request[sent % len(request) :])
            except OSError as error:
                # The listener reads no more, and may have ended the connection; before that, it is slow.
                if sent > enough:
                    break
                assert isinstance(error, TimeoutError), error
        assert bounded.curl("/version").status == 200


def test_ten_thousand_sequential_connections(bounded: Machine) -> None:
    statuses: Counter[int] = Counter()
    for _ in range(SEQUENTIAL):
        client = HTTPConnection(bounded.address, 2023, timeout=60)
        client.request("GET", "/version")
        statuses[client.getresponse().status] += 1
        client.close()
    assert statuses == {200: SEQUENTIAL}
