"""Connections that break at every byte, stay half-open, or come by the thousand: nothing is left of them."""

from __future__ import annotations

import resource
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection

import pytest

from tests.e2e import stub
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns

LIMIT_MIB = 40
SEQUENTIAL = 10_000

TRIGGER = (
    b"POST /puppet/twitch HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\n"
    b"Content-Length: 14\r\n\r\n" + b'{"async":true}'
)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset


@pytest.fixture
def tidy(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    stub.stub_puppet(node12)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield node12
    stub.clear(node12)


@pytest.fixture(scope="session")
def crowd(lab: Lab) -> Netns:
    return lab.client(*(f"10.77.0.{number}" for number in range(230, 246)))


def listener(node: Machine, script: str) -> str:
    """Run a shell script about the listener, whose directory in /proc is $proc."""
    return node.sh(f"proc=/proc/$(systemctl show -P MainPID puppet-twitch.service); {script}").stdout.strip()


def peak_mib(node: Machine) -> float:
    return int(listener(node, "awk '/^VmHWM/{print $2}' $proc/status")) / 1024


def descriptors(node: Machine) -> int:
    return int(listener(node, "ls $proc/fd | wc -l"))


@pytest.fixture
def bounded(tidy: Machine) -> Iterator[Machine]:
    """The node, whose listener is afterwards the same as before, with no more descriptors, and small."""
    assert tidy.curl("/version").status == 200
    tidy.wait("! ss -Htn state established state close-wait sport = :2023 | grep -q .")
    pid, before = listener(tidy, "echo $proc"), descriptors(tidy)
    yield tidy
    assert tidy.curl("/version").status == 200
    tidy.wait(lambda: descriptors(tidy) <= before, show="ss -tn sport = :2023")
    assert listener(tidy, "echo $proc") == pid
    assert peak_mib(tidy) <= LIMIT_MIB


def test_a_request_that_is_reset_at_every_byte(bounded: Machine) -> None:
    # Only the whole one counts, and that is the last.
    for length in range(len(TRIGGER)):
        connection = socket.create_connection((bounded.address, 2023), timeout=60)
        connection.sendall(TRIGGER[:length])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()
    assert bounded.curl("/version").status == 200
    assert stub.stub_log(bounded) == []


def test_a_request_that_ends_at_every_byte(bounded: Machine) -> None:
    for length in range(len(TRIGGER)):
        with socket.create_connection((bounded.address, 2023), timeout=60) as connection:
            connection.sendall(TRIGGER[:length])
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answer[:12] == (b"HTTP/1.1 400" if length else b""), length
    assert stub.stub_log(bounded) == []


def test_an_answer_that_nobody_takes(bounded: Machine) -> None:
    # The request is whole, and its sender has gone: a run is a run.
    with socket.create_connection((bounded.address, 2023), timeout=60) as connection:
        connection.sendall(TRIGGER)
    bounded.wait(lambda: len(stub.stub_log(bounded)) == 2)


def crowded(node: Machine, crowd: Netns, count: int) -> list[socket.socket]:
    """Connections, as many as the listener lets in at least."""
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
    """Half-open: an end that is silent for ever, as after a power cut (the kernel keeps the socket here)."""
    one.sendall(b"G")


@pytest.mark.parametrize(
    "behave", [slow_head, slow_body, slow_reader, vanished], ids=lambda one: one.__name__
)
def test_a_thousand_of_them(bounded: Machine, crowd: Netns, behave: Callable[[socket.socket], None]) -> None:
    held = crowded(bounded, crowd, 1000)
    try:
        for one in held:
            one.settimeout(5)
            with suppress(OSError):  # refused already, or full
                behave(one)
        assert bounded.curl("/version").status == 200
        assert peak_mib(bounded) <= LIMIT_MIB
        assert descriptors(bounded) < 300
    finally:
        for one in held:
            one.close()
    assert stub.stub_log(bounded) == []


def test_a_pipeline_without_end(bounded: Machine) -> None:
    with socket.create_connection((bounded.address, 2023), timeout=60) as connection:
        connection.settimeout(0.2)
        sent = 0
        with suppress(OSError):  # at some point nobody takes more
            for _ in range(100_000):
                connection.sendall(b"GET /version HTTP/1.1\r\nHost: node\r\n\r\n")
                sent += 1
        assert sent > 1000
        assert bounded.curl("/version").status == 200


def test_ten_thousand_connections_one_after_the_other(bounded: Machine) -> None:
    statuses: Counter[int] = Counter()
    for _ in range(SEQUENTIAL):
        client = HTTPConnection(bounded.address, 2023, timeout=60)
        client.request("GET", "/version")
        statuses[client.getresponse().status] += 1
        client.close()
    assert statuses == {200: SEQUENTIAL}
