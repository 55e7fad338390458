"""A small HTTP server for what stands beside the nodes: PuppetDB and puppetserver, in JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Callable, NamedTuple, Optional
from urllib.parse import parse_qsl, urlsplit

ADDRESS = "127.0.0.1"
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 503: "Service Unavailable"}


class Reply(NamedTuple):
    """An answer: text as it is, and anything else as JSON."""

    status: int
    body: Any


class Web:
    """One server, which can go away, come back at the same port, and be slow.

    `answer` gets the path and the parameters, of the query or of a JSON object in the body.
    """

    def __init__(self, answer: Callable[[str, dict[str, Any]], Reply]) -> None:
        self._answer = answer
        self._server: Optional[asyncio.AbstractServer] = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = 0
        self.slow_s = 0.0
        self.requests = 0

    @property
    def url(self) -> str:
        """The URL that clients use."""
        return f"http://{ADDRESS}:{self._port}"

    async def start(self) -> None:
        """Listen, at the same port as before."""
        self._server = await asyncio.start_server(self._serve, ADDRESS, self._port, limit=1 << 24)
        self._port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Go away: no connection is left, and none is accepted."""
        if self._server:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await _head(reader):
                await self._one(head, reader, writer)
        self._writers.discard(writer)
        writer.close()

    async def _one(self, head: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = urlsplit(head[0].split()[1])
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        self.requests += 1
        await asyncio.sleep(self.slow_s)
        reply = self._answer(target.path, json.loads(body) if body else dict(parse_qsl(target.query)))
        text = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
        kind = "text/plain" if isinstance(reply.body, str) else "application/json"
        lines = f"HTTP/1.1 {reply.status} {REASONS[reply.status]}\r\nContent-Type: {kind}\r\n"
        writer.write(f"{lines}Content-Length: {len(text)}\r\n\r\n".encode() + text)
        await writer.drain()


async def _head(reader: asyncio.StreamReader) -> list[str]:
    """Return the lines of a head; none at the end of the connection."""
    try:
        data = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return []
    return data.decode("latin-1").split("\r\n")[:-2]
