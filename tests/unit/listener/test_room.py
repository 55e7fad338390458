"""Room for connections: what counts against which limit, and which connection makes room for another one."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Optional

import pytest

from tests.unit.echo import Echo, Plain
from tests.unit.listening import port
from twitch.listener import handshake, room, server
from twitch.listener.connection import Connection
from twitch.listener.exchange import Request, Response
from twitch.listener.pause import Pause
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

    def arrive(self, peer: str, request: bytes = b"") -> socket.socket:
        """Return a client that has sent this, and was accepted."""
        client = socket.create_connection(self._listening.getsockname())
        client.sendall(request)
        client.setblocking(False)
        self.held.append(client)
        accepted, _ = self._listening.accept()
        self.listener._arrive(accepted, peer)
        return client

    async def enter(self, peer: str, request: bytes = b"") -> tuple[socket.socket, Optional[Connection]]:
        """Return a client that has sent this, and its connection; None if it is in line or was dropped."""
        before = set(self._connections)
        client = self.arrive(peer, request)
        for _ in range(5):  # passes of the loop; one newcomer is served in each
            await asyncio.sleep(0)
        new = set(self._connections) - before
        if new:
            self._requests += request.count(b"\r\n\r\n")
        return client, new.pop() if new else None

    async def settled(self) -> None:
        """Return when every connection is old enough to be closed, and has read what it was sent."""
        await asyncio.sleep(room.FAIR_S)
        while self.service.begun < self._requests or any(one.state == "new" for one in self._connections):
            await asyncio.sleep(0.001)

    def in_line(self) -> list[str]:
        """Return the addresses of those in line, the oldest of an address first."""
        return [newcomer.address for newcomer in self._connections.line]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the limits small, and their order as it is."""
    for name, value in {
        "MAX_OPEN": 12, "MAX_SERVED": 8, "MAX_PER_ADDRESS": 2, "MAX_PER_64": 4, "MAX_WAITING": 3,
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
            listener.lifetime.stop()
            await running


def test_the_limits_are_as_documented() -> None:
    assert room.MAX_PER_ADDRESS < room.MAX_PER_64 < room.MAX_SERVED < room.MAX_OPEN
    assert room.MAX_WAITING < room.MAX_SERVED
    rows = re.findall(r"^    (?:of|that) .* ([0-9]+)$", str(room.__doc__), re.MULTILINE)
    limits = (room.MAX_PER_ADDRESS, room.MAX_PER_64, room.MAX_SERVED, room.MAX_WAITING)
    assert rows == [str(limit) for limit in limits]
    assert f"limited to {room.MAX_OPEN} descriptors" in str(room.__doc__)
    assert f"in {room.LINE_S} s" in str(room.__doc__)


def limited_by(address: str) -> Iterator[tuple[str, int]]:
    return ((limit.of, limit.places) for limit in room.limits(address))


def test_addresses_and_64s_are_counted_apart() -> None:
    assert list(limited_by("192.0.2.7")) == [("192.0.2.7", 32), ("", 256)]
    assert list(limited_by("2001:db8::7")) == [("2001:db8::7", 32), ("2001:db8::/64", 64), ("", 256)]


async def test_oldest_idle_connection_of_the_address_makes_room(small: None) -> None:
    async with crowd() as one:
        _, other = await one.enter("192.0.2.1")
        _, first = await one.enter("192.0.2.7", b"GET / HT")
        _, second = await one.enter("192.0.2.7")
        await one.settled()
        _, third = await one.enter("192.0.2.7")
        assert set(one.listener._connections) == {other, second, third}
        assert first is not None
        await asyncio.sleep(0)
        assert first.state == "lost"
        assert one.service.drops == [room.DISPLACED]


async def test_neighbour_in_a_64_takes_no_more_than_its_own_places(small: None) -> None:
    async with crowd() as one:
        _, mine = await one.enter("2001:db8::1")
        for _ in range(10):
            await one.enter("2001:db8::2", b"GET / HT")
            await one.settled()
        assert mine in set(one.listener._connections)
        assert len(one.listener._connections) == 3


async def test_oldest_idle_connection_of_a_64_makes_room(small: None) -> None:
    async with crowd() as one:
        _, other = await one.enter("2001:db8:0:1::1")
        connections = []
        for number in range(5):
            connections.append((await one.enter(f"2001:db8::{number:x}"))[1])
            await one.settled()
        assert set(one.listener._connections) == {other, *connections[1:]}


async def test_request_that_has_arrived_is_not_closed_unread(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FAIR_S", 0)
    async with crowd() as one:
        for _ in range(3):
            one.arrive("192.0.2.7", BUSY)
        while one.service.begun < 2:
            await asyncio.sleep(0)
        assert one.service.drops == []
        assert one.in_line() == ["192.0.2.7"]


async def test_newcomer_waits_for_a_young_connection_and_is_refused_in_the_end(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FAIR_S", 3600)  # and FAIR_TO_ALL_S is for all addresses together
    async with crowd() as one:
        silent = [(await one.enter("192.0.2.7"))[1] for _ in range(2)]
        client, waiting = await one.enter("192.0.2.7")
        assert waiting is None
        assert one.in_line() == ["192.0.2.7"]
        monkeypatch.setattr(room, "LINE_S", 0)
        text = await asyncio.get_running_loop().sock_recv(client, 4096)
        assert text.startswith(b"HTTP/1.1 503 ")
        assert text.endswith(b"More than 2 connections from one address")
        assert set(silent) <= set(one.listener._connections)


async def test_newcomer_is_served_when_a_young_connection_had_its_chance(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FAIR_S", 3600)
    async with crowd() as one:
        for _ in range(2):
            await one.enter("192.0.2.7")
        client, waiting = await one.enter("192.0.2.7", QUICK)
        assert waiting is None
        monkeypatch.setattr(room, "FAIR_S", 0)
        assert (await asyncio.get_running_loop().sock_recv(client, 4096)).startswith(b"HTTP/1.1 200 ")
        assert one.service.drops == [room.DISPLACED]


async def test_line_of_an_address_delays_no_other_address(small: None) -> None:
    async with crowd() as one:
        for _ in range(6):
            await one.enter("192.0.2.7", BUSY)
        client, other = await one.enter("192.0.2.8", QUICK)
        assert other is not None
        assert (await asyncio.get_running_loop().sock_recv(client, 4096)).startswith(b"HTTP/1.1 200 ")
        assert one.in_line() == ["192.0.2.7"] * 4


async def test_newcomer_with_a_credential_is_served_first(small: None) -> None:
    token = QUICK.replace(b"Host", b"Authorization: Bearer x\r\nHost")
    async with crowd() as one:
        for _ in range(2):
            await one.enter("192.0.2.7", BUSY)
        for request in (b"", REQUEST % b"/other", token):
            await one.enter("192.0.2.7", request)
        assert len(one.in_line()) == 3
        one.service.busy_ends.set()
        while one.in_line():
            await asyncio.sleep(0.001)
        while len(one.service.seen) < 4:
            await asyncio.sleep(0)
        assert [request.target for request in one.service.seen[2:]] == ["/quick", "/other"]


async def test_too_many_newcomers_of_an_address_cost_no_other_one_its_place(small: None) -> None:
    token = QUICK.replace(b"Host", b"Authorization: Bearer x\r\nHost")
    async with crowd() as one:
        _, alone = await one.enter("192.0.2.8")  # it is idle, and the oldest
        for _ in range(2):
            await one.enter("192.0.2.7", BUSY)
        caller, _ = await one.enter("192.0.2.7", token)
        for _ in range(50):
            await one.enter("192.0.2.7", QUICK)
            assert len(one.listener._connections) <= room.MAX_OPEN
        assert alone in set(one.listener._connections)
        assert one.service.drops == [room.DROPPED] * (54 - room.MAX_OPEN)
        one.service.busy_ends.set()
        assert (await asyncio.get_running_loop().sock_recv(caller, 4096)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01", QUICK], ids=["silent", "tls", "plain"])
async def test_newcomer_that_is_closed_is_told_why(small: None, hello: bytes) -> None:
    async with crowd() as one:
        for _ in range(2):
            await one.enter("192.0.2.7", BUSY)
        newcomers = [(await one.enter("192.0.2.7", hello))[0] for _ in range(room.MAX_OPEN - 1)]
        assert one.service.drops == [room.DROPPED]
        answer = await asyncio.get_running_loop().sock_recv(newcomers[0], 4096)
        assert await asyncio.get_running_loop().sock_recv(newcomers[0], 1) == b""  # no reset
    if hello == QUICK:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n")
        assert b"\r\nContent-Length: 21\r\n" in head and b"\r\nConnection: close" in head
        assert body == b"Too many connections\n"
    else:
        assert answer == (handshake.INTERNAL_ERROR if hello else b"")


async def test_strangers_that_claim_a_credential_cost_no_other_address_its_newcomer(small: None) -> None:
    claim = BUSY.replace(b"Host", b"Authorization: Bearer x\r\nHost")
    async with crowd() as one:
        for _ in range(2 * room.MAX_OPEN):
            await one.enter("192.0.2.7", claim)
        client, other = await one.enter("192.0.2.8", QUICK)
        assert other is not None
        assert (await asyncio.get_running_loop().sock_recv(client, 4096)).startswith(b"HTTP/1.1 200 ")
        assert set(one.in_line()) == {"192.0.2.7"}


async def test_crowded_address_makes_room_before_an_older_one(small: None) -> None:
    async with crowd() as one:
        _, alone = await one.enter("192.0.2.1")
        for number in range(7):
            await one.enter(f"192.0.2.{2 + number // 2}")
        await one.settled()
        await one.enter("192.0.2.9", BUSY)
        assert alone in set(one.listener._connections)
        assert one.service.drops == [room.DISPLACED]


async def test_newcomer_beyond_the_descriptors_compares_only_addresses_to_close(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sorting all of them took 0.7 ms for each newcomer of a flood from 280 addresses; now it is 0.1 ms.
    async with crowd() as one:
        for number in range(room.MAX_OPEN):
            await one.enter(f"192.0.2.{number}", BUSY)
        in_line = set(one.in_line())
        assert len(in_line) == room.MAX_OPEN - room.MAX_SERVED
        compared: list[str] = []
        crowd_of = one.listener._connections._crowd

        def compare(address: str) -> list[int]:
            compared.append(address)
            return crowd_of(address)

        monkeypatch.setattr(one.listener._connections, "_crowd", compare)
        one.arrive("192.0.2.200", BUSY)
        assert sorted(compared) == sorted({*in_line, "192.0.2.200"})
        assert one.service.drops == [room.DROPPED]


ROWS = {"waiting": WAIT, "asking": TURN, "going-on": QUICK + BUSY}


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("in_order", [True, False])
async def test_rows_of_the_table_make_room_in_their_order(
    small: None, first: int, second: int, in_order: bool
) -> None:
    requests = list(ROWS.values())
    async with crowd() as one:
        wanted = (first, second) if in_order else (second, first)
        connections = {line: (await one.enter("192.0.2.7", requests[line]))[1] for line in wanted}
        await one.settled()
        _, new = await one.enter("192.0.2.7")
        leaving = {line for line, connection in connections.items() if connection and connection.leaving}
        assert leaving == {first}
        assert new is not None and not new.leaving


async def test_answered_clients_that_do_not_leave_are_limited(small: None) -> None:
    # Each would hold its descriptor for LINGER_S.
    last = QUICK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with crowd() as one:
        for _ in range(40):
            _, connection = await one.enter("192.0.2.7", last)
            assert connection is not None
            while connection.state != "lingering":
                await asyncio.sleep(0)
            assert len(one.listener._connections) <= room.MAX_OPEN
        # No answer was lost: the kernel has them all.
        for client in one.held:
            assert (await asyncio.get_running_loop().sock_recv(client, 4096)).startswith(b"HTTP/1.1 200 ")


async def test_idle_connection_makes_room_before_a_waiting_one(small: None) -> None:
    async with crowd() as one:
        _, waiting = await one.enter("192.0.2.7", WAIT)
        _, idle = await one.enter("192.0.2.7")
        await one.settled()
        await one.enter("192.0.2.7")
        assert waiting is not None and not waiting.leaving
        assert idle not in set(one.listener._connections)


async def test_displaced_request_that_is_being_answered_keeps_its_descriptor(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It was closed after TAKE_S, as if its client did not take the answer; the service went on.
    monkeypatch.setattr(room, "TAKE_S", 0)
    claim = BUSY.replace(b"Host", b"Authorization: Bearer x\r\nHost")
    async with crowd() as one:
        client, displaced = await one.enter("192.0.2.7", QUICK + BUSY)
        await one.settled()
        for _ in range(2 * room.MAX_OPEN):
            await one.enter("192.0.2.7", claim)
        assert displaced is not None and displaced.leaving and displaced.state == "answering"
        one.service.busy_ends.set()
        answers = b""
        while more := await asyncio.get_running_loop().sock_recv(client, 4096):
            answers += more
        assert answers.count(b"HTTP/1.1 200 ") == 2


async def test_named_caller_makes_no_room(small: None) -> None:
    async with crowd() as one:
        named = [(await one.enter("192.0.2.7", QUICK + NAMED))[1] for _ in range(2)]
        await one.settled()
        _, refused = await one.enter("192.0.2.7")
        assert refused is not None and refused.leaving
        assert not any(connection and connection.leaving for connection in named)


async def test_first_request_that_is_being_answered_makes_no_room(small: None) -> None:
    async with crowd() as one:
        busy = [(await one.enter("192.0.2.7", BUSY))[1] for _ in range(2)]
        await one.settled()
        client, _ = await one.enter("192.0.2.7", QUICK)
        assert one.in_line() == ["192.0.2.7"]
        assert not any(connection and connection.leaving for connection in busy)
        one.service.busy_ends.set()
        assert (await asyncio.get_running_loop().sock_recv(client, 4096)).startswith(b"HTTP/1.1 200 ")


async def test_caller_in_line_for_root_is_told_that_it_was_not_asked(small: None) -> None:
    async with crowd() as one:
        for _ in range(2):
            await one.enter("192.0.2.7", TURN)
        await one.settled()
        await one.enter("192.0.2.7")
        while not one.service.pauses:
            await asyncio.sleep(0)
        assert one.service.pauses == [False]


async def test_waiting_places_are_taken_by_named_callers_only(small: None) -> None:
    async with crowd() as one:
        waiting = []
        for number in range(3):
            waiting.append((await one.enter(f"192.0.2.{number}", WAIT))[1])
            await one.settled()
        await one.enter("192.0.2.9", WAIT)
        while not one.service.pauses:
            await asyncio.sleep(0)
        assert one.service.pauses == [True]
        assert all(connection and connection.waiting for connection in waiting)
        _, named = await one.enter("192.0.2.10", NAMED)
        while len(one.service.pauses) < 2:
            await asyncio.sleep(0)
        assert [connection.waiting for connection in waiting if connection] == [False, True, True]
        assert named is not None and named.waiting


@pytest.mark.parametrize("place_is_free", [True, False], ids=["a-place", "no-place"])
async def test_newcomer_in_line_is_answered_when_the_listener_stops(
    small: None, monkeypatch: pytest.MonkeyPatch, place_is_free: bool
) -> None:
    monkeypatch.setattr(server, "STOP_GRACE_S", 0.05 if not place_is_free else 60)
    async with crowd() as one:
        for _ in range(2):
            await one.enter("192.0.2.7", BUSY)
        client, _ = await one.enter("192.0.2.7", QUICK)
        assert one.in_line() == ["192.0.2.7"]
        one.listener.lifetime.stop()
        if place_is_free:
            one.service.busy_ends.set()
        answer = await asyncio.get_running_loop().sock_recv(client, 4096)
        assert answer.startswith(b"HTTP/1.1 200 " if place_is_free else b"HTTP/1.1 503 ")
        assert b"\r\nConnection: close\r\n" in answer
        assert one.in_line() == []


async def test_connections_are_forgotten_when_they_are_gone(small: None) -> None:
    async with crowd() as one:
        for number in range(20):
            await one.enter(f"2001:db8::{number % 5:x}", (b"", QUICK, WAIT)[number % 3])
            await one.settled()
        for client in one.held:
            client.close()
        while len(one.listener._connections):
            await asyncio.sleep(0.001)
        assert one.listener._connections._members == {}
        assert one.listener._connections.line._by_address == {}
        assert one.listener._connections.line._counts == {"": 0}
        assert one.listener._connections.line._silent_next == set()
