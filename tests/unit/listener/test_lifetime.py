"""How long a listener stays: until nobody is there or it is old, and never shorter than an answer takes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from typing import Optional

import pytest

from tests.unit.echo import Echo, Plain, understood
from tests.unit.listening import port
from twitch.listener import lifetime, room
from twitch.listener.exchange import Request, Response
from twitch.listener.pause import Pause
from twitch.listener.server import Listener

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
WAIT = b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"


@contextlib.asynccontextmanager
async def serving(
    idle_exit_s: Optional[float] = 3600,
    service: Optional[Echo] = None,
    contexts: Optional[Plain] = None,
    opened: Optional[socket.socket] = None,
) -> AsyncIterator[tuple[socket.socket, asyncio.Task[None]]]:
    """A listener in this process, and its listening socket. At the end it must have left or be told to.

    `opened` is a listening socket with visitors, who are there before the listener can be idle or old.
    """
    with contextlib.nullcontext(opened) if opened else port() as listening:
        listening.setblocking(False)
        one = Listener(service or Echo(), contexts or Plain(), [listening], idle_exit_s)
        running = asyncio.create_task(one.run())
        yield listening, running
        if not running.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await running


async def visitor(listening: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*listening.getsockname())


async def asked(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes = GET) -> bytes:
    """Ask, and return the body of the answer."""
    reader, writer = connection
    writer.write(request)
    return await answered(reader)


async def answered(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)


async def test_it_leaves_when_nobody_has_come() -> None:
    async with serving(idle_exit_s=0.01) as (_, running):
        await running


async def test_it_leaves_after_that_time_and_not_after_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(idle_exit_s=30) as (_, running):
        await asyncio.sleep(0)
        loop, now = asyncio.get_running_loop(), asyncio.get_running_loop().time
        monkeypatch.setattr(loop, "time", lambda: now() + 31)
        done, _ = await asyncio.wait(
            {running}, timeout=25
        )  # after 29 s, it has been idle for twice that time
        assert done


async def test_it_stays_while_somebody_is_there_and_leaves_after_the_last() -> None:
    with port() as opened:
        first, second = await visitor(opened), await visitor(opened)
        async with serving(idle_exit_s=0.01, opened=opened) as (_, running):
            assert await asked(first) == understood("GET", "/")
            first[1].close()
            assert await asked(second) == understood("GET", "/")
            assert not running.done()
            second[1].close()
            await running


async def test_in_the_foreground_it_stays() -> None:
    async with serving(idle_exit_s=None) as (listening, running):
        connection = await visitor(listening)
        assert await asked(connection) == understood("GET", "/")
        connection[1].close()
        done, _ = await asyncio.wait({running}, timeout=0.05)
        assert not done


async def test_an_old_one_leaves_when_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "MAX_AGE_S", 0.01)
    async with serving() as (_, running):
        await running


async def test_an_old_one_ends_connections_that_are_only_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "MAX_AGE_S", 0.05)
    with port() as opened:
        connection = await visitor(opened)
        async with serving(opened=opened) as (_, running):
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:  # it would go on asking for ever
                    assert await asked(connection) == understood("GET", "/")
            connection[1].close()
            await running


@pytest.mark.parametrize(
    ("idle_exit_s", "age_s", "leaves"),
    [(30, 11, True), (30, 9, False), (None, 11, False)],
    ids=["old", "young", "foreground"],
)
async def test_one_without_a_run_socket_leaves_unless_it_is_young(
    monkeypatch: pytest.MonkeyPatch, idle_exit_s: Optional[float], age_s: float, leaves: bool
) -> None:
    with port() as listening:
        listening.setblocking(False)
        one = Listener(Echo(), Plain(), [listening], idle_exit_s)
        running = asyncio.create_task(one.run())
        await asyncio.sleep(0)
        with monkeypatch.context() as later:
            later.setattr(asyncio.get_running_loop(), "time", lambda: one.lifetime._started_at + age_s)
            one.lifetime.lost()
        await asyncio.sleep(0)
        assert running.done() == leaves
        if not leaves:
            os.kill(os.getpid(), signal.SIGTERM)
        await running


async def test_an_old_one_lets_its_waiting_callers_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "RETIRE_LOOK_S", 0.01)
    with port() as listening:
        listening.setblocking(False)
        one = Listener(Echo(), Plain(), [listening], 3600)
        running = asyncio.create_task(one.run())
        reader, writer = await visitor(listening)
        writer.write(WAIT)
        while not any(connection.waiting for connection in one._connections):
            await asyncio.sleep(0)
        one.lifetime._retire()  # as its timer does
        # It is old, and still there for others.
        for _ in range(5):
            await asyncio.sleep(0.02)  # it looks again in this time
            other = await visitor(listening)
            assert await asked(other) == understood("GET", "/")
            other[1].close()
        assert not running.done()
        writer.write_eof()
        assert await answered(reader) == understood("GET", "/wait")
        writer.close()
        await running


async def test_where_a_newer_crl_needs_another_listener_nobody_waits_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifetime, "MAX_AGE_S", 0.05)
    contexts = Plain()
    monkeypatch.setattr(contexts, "lasting", lambda: False)
    with port() as opened:
        reader, writer = await visitor(opened)
        writer.write(WAIT)
        async with serving(contexts=contexts, opened=opened) as (_, running):
            assert await answered(reader) == understood("GET", "/wait")
            assert await reader.read() == b""
            writer.close()
            await running


async def alone(echo: Echo) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, asyncio.Task[None]]:
    """A listener for one connection, and that connection."""
    with port() as listening:
        visit = await visitor(listening)
        accepted, _ = listening.accept()
    one = Listener(echo, Plain(), [], 3600)
    return (*visit, asyncio.create_task(one.run(accepted)))


@pytest.mark.parametrize("request_", [GET, WAIT], ids=["kept", "waiting"])
async def test_one_for_a_single_connection_grows_no_older(
    monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    monkeypatch.setattr(lifetime, "MAX_AGE_S", 0.05)
    reader, writer, running = await alone(Echo())
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:  # it would go on asking for ever
            assert await asked((reader, writer), request_)
    writer.close()
    await running


async def test_whoever_comes_when_it_leaves_is_left_for_the_next() -> None:
    async with serving(idle_exit_s=0) as (listening, running):
        await running
        reader, writer = await visitor(listening)
        writer.write(GET)
        next_one = Listener(Echo(), Plain(), [listening], 0)
        serving_next = asyncio.create_task(next_one.run())
        assert await answered(reader) == understood("GET", "/")
        writer.close()
        await serving_next


async def test_a_client_that_is_gone_before_it_is_looked_at_is_nobody() -> None:
    async with serving(idle_exit_s=0.01) as (listening, running):
        client = socket.create_connection(listening.getsockname())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        await running


class NamedEcho(Echo):
    """An Echo whose callers are named: they make no room for others."""

    async def respond(self, request: Request, pause: Pause) -> Response:
        pause.named = True
        return await super().respond(request, pause)


async def test_where_everybody_is_being_answered_the_next_is_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "MAX_SERVED", 1)
    echo = NamedEcho()
    async with serving(service=echo) as (listening, _):
        first = await visitor(listening)
        first[1].write(WAIT)
        while not echo.seen:
            await asyncio.sleep(0)
        reader, writer = await visitor(listening)
        refused = await reader.read()
        assert refused.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 2\r\n" in refused
        assert refused.endswith(b"Too many connections")
        for connection in (first[1], writer):
            connection.close()


async def test_a_listener_without_memory_exits_with_an_error() -> None:
    # Each connection would fail alike, and while they come the listener would never be idle.
    class NoMemory(Echo):
        def admit(self, address: str) -> None:
            raise MemoryError

    with pytest.raises(MemoryError):
        async with serving(idle_exit_s=None, service=NoMemory()) as (listening, running):
            _, writer = await visitor(listening)
            writer.write(GET)
            await asyncio.wait({running})
            writer.close()
