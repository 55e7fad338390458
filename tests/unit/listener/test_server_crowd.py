"""Crowds: one address cannot take all places, slow clients by the hundred cannot keep a quick one out."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from typing import Optional

import pytest

import twitch
from tests.unit.fake_node import FakeNode
from tests.unit.listening import GET, answer, ask, connect, port, start, stopped
from twitch.listener.room import FAIR_S, MAX_OPEN, MAX_PER_ADDRESS

GOOD = (200, f"{twitch.__version__}\n".encode())


@contextlib.contextmanager
def crowd(
    listening: socket.socket, count: int, first: bytes = b"", source: Optional[str] = None
) -> Iterator[list[socket.socket]]:
    """Connections, from as many addresses as it takes or from one, that send a part of a request at most."""
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(count):
            address = source or f"127.0.0.{2 + number // MAX_PER_ADDRESS}"
            clients.append(stack.enter_context(connect(listening, address)))
            clients[-1].sendall(first)
        yield clients


@pytest.mark.parametrize("first", [b"", b"GET / HT"], ids=["silent", "slow"])
def test_a_good_request_is_answered_beside_a_crowd(node: FakeNode, first: bytes) -> None:
    with port() as listening:
        process = start(node, listening)
        assert ask(listening) == GOOD
        with crowd(listening, MAX_OPEN + 50, first):
            for _ in range(10):
                assert ask(listening, source="127.1.2.3") == GOOD
        assert stopped(process)[0] == 0


def test_good_request_behind_a_thousand_slow_heads_in_the_backlog_is_answered(node: FakeNode) -> None:
    # With 64 newcomers in a pass of the loop, those with unread bytes filled 224 places: none makes room.
    with port() as listening, contextlib.ExitStack() as held:
        process = start(node, listening)
        assert ask(listening) == GOOD
        os.kill(process.pid, signal.SIGSTOP)
        for number in range(1000):
            one = held.enter_context(connect(listening, f"127.0.0.{2 + number % 16}"))
            one.sendall(b"GET / HT")
        good = held.enter_context(connect(listening, "127.1.2.3"))
        good.sendall(GET)
        os.kill(process.pid, signal.SIGCONT)
        assert answer(good) == GOOD
        assert stopped(process)[0] == 0


def test_silent_connections_of_one_address_do_not_keep_others_behind_it_out(node: FakeNode) -> None:
    # The callers behind a NAT share one address.
    with port() as listening:
        process = start(node, listening)
        with crowd(listening, 2 * MAX_PER_ADDRESS, source="127.0.0.2"):
            assert ask(listening, source="127.1.2.3") == GOOD  # all before it have been accepted
            time.sleep(FAIR_S)  # and may be closed from now on
            for _ in range(10):
                assert ask(listening, source="127.0.0.2") == GOOD
        code, text = stopped(process)
    assert code == 0
    assert re.search(r"refused 127\.0\.0\.2: .*\b[0-9]+ x idle when its place was needed", text)


def test_one_address_that_goes_on_connecting_costs_nobody_else_anything(node: FakeNode) -> None:
    # A newcomer in line has a descriptor, and one that makes room is closed after the pass of the loop.
    with port() as listening:
        process = start(node, listening, before="ulimit -n 300;")
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
    # There is a line for every ten seconds (refusal_log.INTERVAL_S).
    lines = [line for line in text.splitlines() if "refused 127.0.0.2: " in line]
    refused = sum(int(count) for line in lines for count in re.findall(r"\b([0-9]+) x ", line))
    assert 1000 - MAX_OPEN <= refused <= 1000


def test_caller_is_answered_beside_250_connections_a_second_behind_its_nat(node: FakeNode) -> None:
    with port() as listening, contextlib.ExitStack() as held:
        process = start(node, listening)
        assert ask(listening) == GOOD  # it has started: what came before would be accepted at once
        for _ in range(50):
            with connect(listening, "127.0.0.2") as client:
                # Its request is slower than that of any client: it takes a round trip of 50 ms. As many
                # strangers come meanwhile on a machine that is late.
                for _ in range(250 // 20):
                    time.sleep(1 / 250)
                    held.enter_context(connect(listening, "127.0.0.2"))
                client.sendall(GET)
                assert answer(client) == GOOD
        assert stopped(process)[0] == 0


def test_many_quick_requests_from_one_address_are_no_crowd(node: FakeNode) -> None:
    # A connection that its client has closed takes no place any more.
    with port() as listening:
        process = start(node, listening)
        kept = GET.replace(b"Connection: close\r\n", b"")
        for _ in range(3 * MAX_PER_ADDRESS):
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
