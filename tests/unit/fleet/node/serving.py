"""Ports for tests of the client: the real API of a listener, or whatever else can listen at a port."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable
from typing import Callable, Optional

from tests.unit.api_under_test import ApiUnderTest
from twitch.fleet.nodes import Node
from twitch.listener.connection import NEW, Connection

NAME = "web01.example.com"
NODE = Node(NAME, "127.0.0.1")

LIMIT_S = 60  # of every wait; far beyond what any of them takes


class Listening:
    """A port with the real API."""

    def __init__(self) -> None:
        self.port = 0
        self.connections: list[Connection] = []  # also those that are closed

    def leave(self) -> None:
        """Send away the callers that wait, as a listener does before it exits."""
        for connection in self.connections:
            connection.stop_waiting()


@contextlib.asynccontextmanager
async def listener(api: ApiUnderTest, tls: Optional[ssl.SSLContext] = None) -> AsyncIterator[Listening]:
    """Serve the API. At the end, every connection must be closed."""
    listening, gone = Listening(), asyncio.Event()
    closed: list[Connection] = []

    def close(connection: Connection) -> None:
        closed.append(connection)
        gone.set()

    def connection() -> Connection:
        made = Connection("127.0.0.1", api.service, close)
        listening.connections.append(made)
        return made

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0, ssl=tls)
    listening.port = server.sockets[0].getsockname()[1]
    try:
        yield listening
    finally:
        server.close()
        # A connection whose handshake has failed was never connected.
        while len(closed) < sum(one.state != NEW for one in listening.connections):
            gone.clear()
            await asyncio.wait_for(gone.wait(), LIMIT_S)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def at_the_port(serve: Serve, tls: Optional[ssl.SSLContext] = None) -> AsyncIterator[int]:
    """Serve each connection in this way, and yield the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.close()
        tasks.discard(task)

    server = await asyncio.start_server(served, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        while tasks:
            await asyncio.sleep(0)


def answering(data: bytes, *, reset: bool = False) -> Serve:
    """Read a request, answer with these bytes, and close; with `reset` before the client has the end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        if reset:
            writer.transport.abort()

    return serve
