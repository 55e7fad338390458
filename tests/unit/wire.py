"""The other end of a Connection: a client that sends what it is told to, byte for byte, and reads
answers with a parser that is not ours to begin with (h11 as a client)."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import AsyncIterator
from typing import NamedTuple, Optional

import h11

from twitch.listener.connection import Connection, Service

ADDRESS = "192.0.2.7"  # of every client, as the service hears it (RFC 5737)


class Answer(NamedTuple):
    """An answer as a client sees it; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """One client, and the server's Connection that it talks to."""

    def __init__(self, sock: socket.socket, connection: Connection, gone: asyncio.Future[None]) -> None:
        self.socket = sock
        self.connection = connection
        self.gone = gone  # done when the server has let go of the connection
        self.interim: list[int] = []
        self._parser = h11.Connection(h11.CLIENT)
        self._loop = asyncio.get_running_loop()

    async def send_and_wait(self, data: bytes) -> None:
        """Send a request, and return when its answer waits for a run or for root."""
        await self.send(data)
        while not self.connection.waiting:
            await asyncio.sleep(0)

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)

    async def send_bytewise(self, data: bytes) -> None:
        """Send it so that the server hears every byte alone: the next one follows when this one has
        been taken out of the server's socket, or when the server no longer listens."""
        for number in range(len(data)):
            try:
                await self.send(data[number : number + 1])
            except ConnectionError:
                return
            await heard(self)

    async def ask(self, data: bytes) -> Answer:
        """Send a request and return the answer to it."""
        await self.send(data)
        return await self.answer(data.partition(b" ")[0])

    async def answer(self, method: bytes = b"GET") -> Answer:
        """Return the next answer, which is to a request by this method."""
        parser = self._parser
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "node")]))
        parser.send(h11.EndOfMessage())
        head: Optional[h11.Response] = None
        body = b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(await self.receive())
            elif isinstance(event, h11.InformationalResponse):
                self.interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise AssertionError(f"no answer but {event}")
        assert head is not None
        if parser.their_state is h11.DONE:
            parser.start_next_cycle()
        headers = {name.decode(): value.decode() for name, value in head.headers}
        return Answer(head.status_code, headers, body)

    async def end(self) -> None:
        """Read on to the server's end-of-file; anything else before it is a failure."""
        rest = self._parser.trailing_data[0] + await self.receive()
        assert rest == b"", f"bytes after the last answer: {rest!r}"

    async def drain(self) -> bytes:
        """Return all bytes up to the server's end-of-file, or up to its reset."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while more := await self.receive():
                data += more
        return data

    def half_close(self) -> None:
        """Say that nothing more will be sent, like `nc -N`."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave without a word (SO_LINGER 0: the kernel sends RST instead of FIN)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    async def receive(self, size: int = 65536) -> bytes:
        """Return what has come, at most `size` bytes of it; none at the end."""
        return await self._loop.sock_recv(self.socket, size)


@contextlib.asynccontextmanager
async def visit(
    service: Service, *, small_buffers: bool = False, stopped: bool = False, sent: bytes = b""
) -> AsyncIterator[Client]:
    """A client of `service` over TCP; with small buffers over a pair of UNIX sockets, whose
    buffers stay as small as they are set. `stopped`: the server is told to end it before it begins.
    `sent` is in the kernel before the server's deadlines begin: the loop reads it before it looks at
    them, however late it is. At the end the server must let go of the connection."""
    ours, theirs = _unix_pair() if small_buffers else _tcp_pair()
    ours.sendall(sent)
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    connection = Connection(ADDRESS, service, lambda _: gone.set_result(None))
    if stopped:
        connection.stop()
    await loop.connect_accepted_socket(lambda: connection, theirs)
    client = Client(ours, connection, gone)
    try:
        yield client
    finally:
        client.close()
    await gone


async def reaches(client: Client, *states: str) -> None:
    """Return when the server's connection is in one of these states; `loops.run` ends a test that hangs."""
    while client.connection.state not in states:
        await asyncio.sleep(0)


async def heard(client: Client) -> None:
    """Return when the server has taken every byte that was sent out of its socket."""
    transport = client.connection._transport
    theirs = transport.get_extra_info("socket").fileno()
    while not transport.is_closing() and _unread(theirs):
        await asyncio.sleep(0)


def _unread(descriptor: int) -> bool:
    return struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0")) != (0,)


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def _unix_pair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair()
    for one in pair:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return pair
