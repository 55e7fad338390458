"""Room for connections: what counts against which limit, and which connection makes room for another one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Optional

import pytest

from tests.unit.echo import Echo, Plain
from tests.unit.listening import port
from twitch.listener import room
from twitch.listener.connection import Connection, Pause
from twitch.listener.exchange import Request, Response
from twitch.listener.server import Listener

REQUEST = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
QUICK, WAIT = REQUEST % b"/quick", REQUEST % b"/wait"
NAMED, TURN, BUSY = REQUEST % b"/named", REQUEST % b"/turn", REQUEST % b"/busy"


class Service(Echo):
    """An Echo that has named callers, callers in line for a turn at root, and others that are busy."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0
        self.busy_ends = asyncio.Event()
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def respond(self, request: Request, pause: Pause) -> Response:
        self.begun += 1
        if request.target == "/named":
            pause.named = True
            await pause(3600)
        if request.target == "/turn":
            self.pauses.append(await pause.for_turn(self.turn))
        if request.target == "/busy":
            await self.busy_ends.wait()
        return await super().respond(request, pause)


class Crowd:
    """Clients of a listener, at addresses of the test's choice."""

    def __init__(self, listener: Listener, service: Service, listening: socket.socket) -> None:
        self.listener, self.service = listener, service
        self._listening = listening
        self._connections = listener._connections
        self._requests = 0  # complete ones that were sent
        self.held: list[socket.socket] = []

    def enter(self, peer: str, request: bytes = b"") -> tuple[socket.socket, Optional[Connection]]:
        """Return a client that has sent this, and its connection; None if it was dropped."""
        before = set(self._connections)
        client = socket.create_connection(self._listening.getsockname())
        client.sendall(request)
        self._requests += request.count(b"\r\n\r\n")
        client.setblocking(False)
        self.held.append(client)
        accepted, _ = self._listening.accept()
        self.listener._admit_or_refuse(accepted, peer)
        new = set(self._connections) - before
        return client, new.pop() if new else None

    async def settled(self) -> None:
        """Return when every connection is old enough to be closed, and has read what it was sent."""
        await asyncio.sleep(room.FAIR_S)
        while self.service.begun < self._requests or any(one.state == "new" for one in self._connections):
            await asyncio.sleep(0.001)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the limits small, and their order as it is."""
    for name, value in {
        "MAX_CONNECTIONS": 8, "MAX_LEAVING": 4, "MAX_PER_ADDRESS": 2, "MAX_LEAVING_PER_ADDRESS": 1,
        "MAX_PER_64": 4, "MAX_LEAVING_PER_64": 2, "MAX_WAITING": 3,
    }.items():  # fmt: skip
        monkeypatch.setattr(room, name, value)


@contextlib.asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    # The listener has a port of its own, where no client comes: the test hands the connections over.
    with port() as listening, port() as unused:
        service = Service()
        listener = Listener(service, Plain(), (unused,), 3600)
        running = asyncio.create_task(listener.run())
        await asyncio.sleep(0)
        under_test = Crowd(listener, service, listening)
        try:
            yield under_test
        finally:
            service.busy_ends.set()
            service.turn.set_result(None)
            for client in under_test.held:
                client.close()
            listener._stop()
            await running


def test_the_limits_are_as_documented() -> None:
    assert room.MAX_PER_ADDRESS < room.MAX_PER_64 < room.MAX_CONNECTIONS
    assert room.MAX_WAITING < room.MAX_CONNECTIONS
    rows = [line.split()[-2:] for line in str(room.__doc__).splitlines() if line.startswith("    of ")]
    assert rows == [
        [str(room.MAX_PER_ADDRESS), str(room.MAX_LEAVING_PER_ADDRESS)],
        [str(room.MAX_PER_64), str(room.MAX_LEAVING_PER_64)],
        [str(room.MAX_CONNECTIONS), str(room.MAX_LEAVING)],
    ]
    assert f"that wait for a run               {room.MAX_WAITING}\n" in str(room.__doc__)


def limited_by(address: str) -> Iterator[tuple[str, int]]:
    return ((limit.of, limit.places) for limit in room.limits(address))


def test_addresses_and_64s_are_counted_apart() -> None:
    assert list(limited_by("192.0.2.7")) == [("192.0.2.7", 32), ("", 256)]
    assert list(limited_by("2001:db8::7")) == [("2001:db8::7", 32), ("2001:db8::/64", 64), ("", 256)]


async def test_oldest_idle_connection_of_the_address_makes_room(small: None) -> None:
    async with crowd() as one:
        _, other = one.enter("192.0.2.1")
        _, first = one.enter("192.0.2.7", b"GET / HT")
        _, second = one.enter("192.0.2.7")
        await one.settled()
        _, third = one.enter("192.0.2.7")
        assert set(one.listener._connections) == {other, second, third}
        assert first is not None
        await asyncio.sleep(0)
        assert first.state == "lost"
        assert one.service.drops == [room.DISPLACED]


async def test_neighbour_in_a_64_takes_no_more_than_its_own_places(small: None) -> None:
    async with crowd() as one:
        _, mine = one.enter("2001:db8::1")
        for _ in range(10):
            one.enter("2001:db8::2", b"GET / HT")
            await one.settled()
        assert mine in set(one.listener._connections)
        assert len(one.listener._connections) == 3


async def test_oldest_idle_connection_of_a_64_makes_room(small: None) -> None:
    async with crowd() as one:
        _, other = one.enter("2001:db8:0:1::1")
        connections = []
        for number in range(5):
            connections.append(one.enter(f"2001:db8::{number:x}")[1])
            await one.settled()
        assert set(one.listener._connections) == {other, *connections[1:]}


async def test_request_that_has_arrived_is_not_closed_unread(small: None) -> None:
    # All are accepted at one wake-up of the loop; the two with a request hold their places.
    async with crowd() as one:
        good = [one.enter("192.0.2.7", WAIT)[1] for _ in range(2)]
        _, refused = one.enter("192.0.2.7")
        _, dropped = one.enter("192.0.2.7")
        assert refused is not None and refused.leaving
        assert dropped is None
        assert set(one.listener._connections) == {*good, refused}
        assert one.service.drops == [room.DROPPED]


async def test_young_connection_is_not_closed(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FAIR_S", 3600)  # and FAIR_TO_ALL_S is for all addresses together
    async with crowd() as one:
        silent = [one.enter("192.0.2.7")[1] for _ in range(2)]
        client, refused = one.enter("192.0.2.7")
        assert set(one.listener._connections) == {*silent, refused}
        text = await asyncio.get_running_loop().sock_recv(client, 4096)
        assert text.startswith(b"HTTP/1.1 503 ")
        assert text.endswith(b"More than 2 connections from one address")


LINES = {"waiting": WAIT, "in-line": TURN, "going-on": QUICK + BUSY}


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("in_order", [True, False])
async def test_lines_of_the_table_make_room_in_their_order(
    small: None, first: int, second: int, in_order: bool
) -> None:
    requests = list(LINES.values())
    async with crowd() as one:
        wanted = (first, second) if in_order else (second, first)
        connections = {line: one.enter("192.0.2.7", requests[line])[1] for line in wanted}
        await one.settled()
        _, new = one.enter("192.0.2.7")
        leaving = {line for line, connection in connections.items() if connection and connection.leaving}
        assert leaving == {first}
        assert new is not None and not new.leaving


async def test_answered_clients_that_do_not_leave_are_limited(small: None) -> None:
    # Each would hold its descriptor for LINGER_S.
    last = QUICK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with crowd() as one:
        for _ in range(20):
            _, connection = one.enter("192.0.2.7", last)
            assert connection is not None
            while connection.state != "lingering":
                await asyncio.sleep(0)
            assert len(one.listener._connections) <= 3
        # No answer was lost: the kernel has them all.
        for client in one.held:
            assert (await asyncio.get_running_loop().sock_recv(client, 4096)).startswith(b"HTTP/1.1 200 ")


async def test_idle_connection_makes_room_before_a_waiting_one(small: None) -> None:
    async with crowd() as one:
        _, waiting = one.enter("192.0.2.7", WAIT)
        _, idle = one.enter("192.0.2.7")
        await one.settled()
        one.enter("192.0.2.7")
        assert waiting is not None and not waiting.leaving
        assert idle not in set(one.listener._connections)


async def test_named_caller_makes_no_room(small: None) -> None:
    async with crowd() as one:
        named = [one.enter("192.0.2.7", QUICK + NAMED)[1] for _ in range(2)]
        await one.settled()
        _, refused = one.enter("192.0.2.7")
        assert refused is not None and refused.leaving
        assert not any(connection and connection.leaving for connection in named)


async def test_first_request_that_is_being_answered_makes_no_room(small: None) -> None:
    async with crowd() as one:
        busy = [one.enter("192.0.2.7", BUSY)[1] for _ in range(2)]
        await one.settled()
        _, refused = one.enter("192.0.2.7")
        assert refused is not None and refused.leaving
        assert not any(connection and connection.leaving for connection in busy)


async def test_caller_in_line_for_root_is_told_that_it_was_not_asked(small: None) -> None:
    async with crowd() as one:
        for _ in range(2):
            one.enter("192.0.2.7", TURN)
        await one.settled()
        one.enter("192.0.2.7")
        while not one.service.pauses:
            await asyncio.sleep(0)
        assert one.service.pauses == [False]


async def test_waiting_places_are_taken_by_named_callers_only(small: None) -> None:
    async with crowd() as one:
        waiting = []
        for number in range(3):
            waiting.append(one.enter(f"192.0.2.{number}", WAIT)[1])
            await one.settled()
        one.enter("192.0.2.9", WAIT)
        while not one.service.pauses:
            await asyncio.sleep(0)
        assert one.service.pauses == [True]
        assert all(connection and connection.waiting for connection in waiting)
        _, named = one.enter("192.0.2.10", NAMED)
        while len(one.service.pauses) < 2:
            await asyncio.sleep(0)
        assert [connection.waiting for connection in waiting if connection] == [False, True, True]
        assert named is not None and named.waiting


async def test_connections_are_forgotten_when_they_are_gone(small: None) -> None:
    async with crowd() as one:
        for number in range(20):
            one.enter(f"2001:db8::{number % 5:x}", (b"", QUICK, WAIT)[number % 3])
            await one.settled()
        for client in one.held:
            client.close()
        while len(one.listener._connections):
            await asyncio.sleep(0.001)
        assert one.listener._connections._members == {}
