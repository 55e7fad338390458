"""Crowds: one address cannot take all places, slow clients by the hundred cannot keep a quick one out."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

import twitch
from tests.unit.fake_node import FakeNode
from tests.unit.listening import GET, answer, answered, ask, connect, port, start, stopped
from twitch.listener.server import MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS, MAX_REFUSED_PER_ADDRESS

MOST = MAX_CONNECTIONS_PER_ADDRESS + MAX_REFUSED_PER_ADDRESS

GOOD = (200, f"{twitch.__version__}\n".encode())


@contextlib.contextmanager
def crowd(listening: socket.socket, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections from as many addresses as it takes, that begin to say something at most."""
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(count):
            source = f"127.0.0.{2 + number // MAX_CONNECTIONS_PER_ADDRESS}"
            clients.append(stack.enter_context(connect(listening, source)))
            clients[-1].sendall(first)
        yield clients


@pytest.mark.parametrize("first", [b"", b"GET / HT"], ids=["silent", "slow"])
def test_a_good_request_is_answered_beside_a_crowd(node: FakeNode, first: bytes) -> None:
    with port() as listening:
        process = start(node, listening)
        assert ask(listening) == GOOD
        with crowd(listening, MAX_CONNECTIONS + 50, first):
            for _ in range(10):
                assert ask(listening, source="127.1.2.3") == GOOD
        assert stopped(process)[0] == 0


def test_one_address_gets_so_many_connections_and_no_more(node: FakeNode) -> None:
    with port() as listening:
        process = start(node, listening)
        with crowd(listening, MAX_CONNECTIONS_PER_ADDRESS) as clients:
            with connect(listening, "127.0.0.2") as one_more:
                status, headers, body = answered(one_more)
            assert (status, headers["retry-after"], headers["connection"]) == (503, "2", "close")
            assert body == b"More than 32 connections from one address\n"
            assert ask(listening, source="127.0.0.3") == GOOD
            clients[0].close()
            while (again := ask(listening, source="127.0.0.2")) != GOOD:
                assert again[0] == 503  # its end has not been noticed yet
        code, text = stopped(process)
        assert code == 0
        assert "refused 127.0.0.2: " in text


def test_one_address_that_goes_on_connecting_costs_nobody_else_anything(node: FakeNode) -> None:
    # Each refusal that is said takes a place for up to two seconds; said to all, these would be ten
    # times the descriptors there are.
    with port() as listening:
        process = start(node, listening, before="ulimit -n 96;")
        assert ask(listening) == GOOD
        with connect(listening, "127.1.2.3") as kept, contextlib.ExitStack() as held:
            for number in range(1000):
                one = held.enter_context(connect(listening, "127.0.0.2"))
                one.sendall(b"GET / HT")
                if number % 100 == 0:
                    assert ask(listening, source="127.1.2.4") == GOOD
            kept.sendall(GET)
            assert answer(kept) == GOOD
        code, text = stopped(process)
    assert code == 0
    assert "cannot accept" not in text
    (line,) = (line for line in text.splitlines() if "refused 127.0.0.2: " in line)
    # Where this takes longer, more are told.
    assert 800 < int(line.rpartition(" x too many connections")[0].split()[-1]) <= 1000 - MOST


def test_many_quick_requests_from_one_address_are_no_crowd(node: FakeNode) -> None:
    # A connection that its client has closed takes no place any more.
    with port() as listening:
        process = start(node, listening)
        kept = GET.replace(b"Connection: close\r\n", b"")
        for _ in range(3 * MAX_CONNECTIONS_PER_ADDRESS):
            with connect(listening) as client:
                client.sendall(kept)
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert stopped(process) == (0, "")


def test_out_of_descriptors_it_makes_room_and_goes_on(node: FakeNode) -> None:
    with port() as listening:
        process = start(node, listening, before="ulimit -n 32;")
        assert ask(listening) == GOOD
        with crowd(listening, 35):
            assert ask(listening, source="127.1.2.3") == GOOD
        code, text = stopped(process)
        assert (code, "cannot accept: Too many open files" in text) == (0, True)
