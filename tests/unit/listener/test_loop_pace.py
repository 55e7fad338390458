"""Steps in passes of the loop, and what they are for: a pipelining crowd does not hold a pass up."""

from __future__ import annotations

import asyncio
import socket
from typing import Callable, Optional

import pytest

from tests.unit.echo import Echo
from tests.unit.listener.test_room import BUSY, QUICK, REQUEST, Crowd, crowd, small
from twitch.listener import connection as connections
from twitch.listener import room, server
from twitch.listener.connection import Connection
from twitch.listener.loop_pace import Pace

__all__ = ["small"]  # a fixture

POST = b"POST /run HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"


class TLSTransport(asyncio.Transport):
    """A transport as that of TLS up to Python 3.10, whose connection is lost before the protocol hears it."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = self.closing = False

    def is_closing(self) -> bool:
        return self.closing  # not when it is lost

    def pause_reading(self) -> None:
        if self.lost:
            raise AttributeError("'NoneType' object has no attribute 'pause_reading'")

    def resume_reading(self) -> None:
        if self.lost:
            raise AttributeError("'NoneType' object has no attribute 'resume_reading'")

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self if name == "ssl_object" else default

    def set_write_buffer_limits(self, high: Optional[int] = None, low: Optional[int] = None) -> None:
        if self.lost:
            raise AttributeError("'NoneType' object has no attribute 'set_write_buffer_limits'")

    def write(self, data: object) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closing = True

    abort = close


async def test_steps_run_in_order_so_many_in_a_pass() -> None:
    pace, ran = Pace(2), []
    for number in range(5):
        pace(lambda number=number: ran.append(number))  # type: ignore[misc]
    counts = []
    for _ in range(4):
        await asyncio.sleep(0)
        counts.append(len(ran))
    assert counts == [2, 4, 5, 5]
    assert ran == [0, 1, 2, 3, 4]


async def test_step_that_fails_does_not_keep_the_next_ones_from_running() -> None:
    errors: list[object] = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: errors.append(context["exception"]))
    try:
        pace, ran = Pace(1), []

        def fail() -> None:
            raise RuntimeError("a fault of ours")

        pace(fail)
        pace(lambda: pace(lambda: ran.append("added by a step")))
        for _ in range(3):
            await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(handler)
    assert [str(error) for error in errors] == ["a fault of ours"]
    assert ran == ["added by a step"]


@pytest.mark.parametrize("pieces", [1, 2], ids=["whole", "in-two-pieces"])
async def test_new_connection_is_answered_before_the_crowd_that_pipelines(pieces: int) -> None:
    # In a pass, the crowd is answered a few requests; before, each of the crowd was answered one.
    count, requests, passes = 40, 200, 12
    async with crowd() as one:
        for number in range(count):
            await one.enter(f"192.0.2.{number}", REQUEST % b"/first")
        for client in one.held:
            client.sendall(QUICK * requests)
        while len(one.service.seen) < count + 20:
            await asyncio.sleep(0)
        before = len(one.service.seen)
        request = REQUEST % b"/good"
        client, _ = await one.enter("192.0.2.200", request[: len(request) // pieces])
        client.sendall(request[len(request) // pieces :] if pieces > 1 else b"")
        while not any(seen.target == "/good" for seen in one.service.seen[before:]):
            await asyncio.sleep(0)
        assert len(one.service.seen) - before <= passes * server.LATER_REQUESTS_AT_ONCE
        # The order of the crowd's own answers, and their number, are as ever.
        for client in one.held[:count]:
            answer = b""
            while answer.count(b"HTTP/1.1 200 ") < requests:
                answer += await asyncio.get_running_loop().sock_recv(client, 65536)
        assert one.service.drops == []


async def answered(one: Crowd) -> tuple[socket.socket, Connection]:
    """Return a client that was answered, and its connection."""
    client, connection = await one.enter("192.0.2.7", QUICK)
    assert connection is not None
    assert (await asyncio.get_running_loop().sock_recv(client, 4096)).startswith(b"HTTP/1.1 200 ")
    return client, connection


async def send_paced(one: Crowd, client: socket.socket, connection: Connection, request: bytes) -> None:
    """Send the next request of a client; it waits for a pass behind a crowd that pipelines."""
    await asyncio.sleep(room.FAIR_S)
    for _ in range(20 * server.LATER_REQUESTS_AT_ONCE):  # twenty passes
        one.listener._later_requests(lambda: None)
    client.sendall(request)
    while connection.state != "reading":
        await asyncio.sleep(0)


async def everything(client: socket.socket) -> bytes:
    """Return what the client reads up to the end-of-file."""
    text = b""
    while more := await asyncio.get_running_loop().sock_recv(client, 4096):
        text += more
    return text


async def test_paced_request_is_answered_when_its_place_is_needed(small: None) -> None:
    async with crowd() as one:
        await one.enter("192.0.2.7", BUSY)  # makes no room
        client, paced = await answered(one)
        await send_paced(one, client, paced, POST)
        _, new = await one.enter("192.0.2.7", BUSY)
        assert new is not None and paced.leaving
        answer = await everything(client)
        assert answer.startswith(b"HTTP/1.1 200 ") and b"\r\nConnection: close\r\n" in answer
        assert [request.method for request in one.service.seen] == ["GET", "POST"]
        assert one.service.drops == []


async def test_idle_connection_makes_room_before_one_with_a_paced_request(small: None) -> None:
    async with crowd() as one:
        client, paced = await answered(one)
        _, idle = await one.enter("192.0.2.7")
        await send_paced(one, client, paced, POST)
        _, new = await one.enter("192.0.2.7", BUSY)
        assert new is not None and idle not in set(one.listener._connections)
        while paced.answers < 2:
            await asyncio.sleep(0)
        assert not paced.leaving


async def test_part_of_a_paced_request_keeps_no_place(small: None) -> None:
    async with crowd() as one:
        await one.enter("192.0.2.7", BUSY)
        client, paced = await answered(one)
        await send_paced(one, client, paced, POST[:-1])
        _, new = await one.enter("192.0.2.7", BUSY)
        assert new is not None and paced.leaving
        assert await everything(client) == b""
        assert len(one.service.seen) == 1


async def test_paced_request_of_a_named_caller_keeps_its_connection(small: None) -> None:
    async with crowd() as one:
        await one.enter("192.0.2.7", BUSY)
        one.service.named = True
        client, paced = await answered(one)
        await send_paced(one, client, paced, POST)
        _, new = await one.enter("192.0.2.7", BUSY)
        assert new is None and one.in_line() == ["192.0.2.7"]
        answer = await asyncio.get_running_loop().sock_recv(client, 4096)
        assert answer.startswith(b"HTTP/1.1 200 ") and b"Connection: close" not in answer
        assert not paced.leaving


@pytest.mark.parametrize("ends", ["closed-by-us", "lost"])
async def test_paced_request_of_a_connection_that_has_ended_is_not_executed(ends: str) -> None:
    steps: list[Callable[[], None]] = []
    echo = Echo()
    connection = Connection("192.0.2.7", echo, lambda _: None, pace=steps.append)
    transport = TLSTransport()
    connection.connection_made(transport)
    connection.data_received(QUICK)
    while connection.state != "kept":
        await asyncio.sleep(0)
    connection.data_received(POST)
    if ends == "lost":
        transport.lost = True
    else:
        connection.abort()
    steps.pop()()
    await asyncio.sleep(0)
    assert len(echo.seen) == 1
    connection.connection_lost(None)


async def test_answer_to_a_tls_client_that_has_reset_raises_nothing() -> None:
    echo, transport = Echo(), TLSTransport()
    connection = Connection("192.0.2.7", echo, lambda _: None)
    connection.connection_made(transport)
    await asyncio.sleep(0)
    connection.data_received(QUICK)
    transport.lost = True
    assert connection._answering is not None
    await connection._answering
    connection.data_received(QUICK + b"x" * 2 * connections.MAX_AHEAD_BYTES)
    connection.connection_lost(ConnectionResetError())
    assert connection.state == "lost"
