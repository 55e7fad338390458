"""The sockets of simulated nodes: each listens on its own address, and its faults are those of a network."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Callable, Optional, TypeVar, cast

from tests.fleet_nodes.node import MemoryRecords, SimulatedRoot
from tests.fleet_nodes.scene import Fault, NodeSpec
from twitch.config import Config
from twitch.listener.api.routes import API
from twitch.listener.connection import NEW, Connection
from twitch.listener.exchange import HTTPError, Request, Response
from twitch.listener.pause import Pause
from twitch.listener.refusal_log import Refusals
from twitch.listener.tokens import Token
from twitch.listener.watched import Watched
from twitch.records import Record

Content = TypeVar("Content")

ADDRESS = "127.0.0.1"  # of every client, for access and records
GARBAGE = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\r\n\x00\x00\x04\xec\x0a\x14"
# How long a caller waits for a run until a node with Fault.LEAVE or Fault.BLIP sends it away.
SENT_AWAY_S = 0.1


class Constant(Watched[Content]):
    """A file that does not change."""

    def __init__(self, content: Content) -> None:
        self._content = content

    def current(self) -> Content:
        """Return the content."""
        return self._content


class Site:
    """What all nodes of a process have in common."""

    def __init__(
        self,
        port: int,
        config: Config,
        tokens: tuple[Token, ...],
        context: Optional[ssl.SSLContext],
        impostor: Optional[ssl.SSLContext],
    ) -> None:
        self.port = port
        self.config = Constant(config)
        self.denying = Constant(config._replace(grants={"anonymous": ()}))
        self.tokens = Constant(tokens)
        self.context = context
        self.impostor = impostor
        self.refusals = cast(Refusals, Silent())


class Silent:
    """No refusal is logged."""

    def add(self, *what: str) -> None:
        """Do nothing."""


class ServedNode:
    """A node with its socket and its connections."""

    root_class: type[SimulatedRoot] = SimulatedRoot

    def __init__(self, spec: NodeSpec, site: Site, reported: Callable[[NodeSpec, Record], None]) -> None:
        self.spec = spec
        self.root = self.root_class(spec, reported, self.die)
        self._site = site
        config = site.denying if spec.fault is Fault.DENY else site.config
        records = MemoryRecords(self.root)
        self._api = API(config, site.tokens, self.root, records, site.refusals)
        self._connections: set[Connection] = set()
        self._server: Optional[asyncio.AbstractServer] = None

    async def listen(self) -> None:
        """Listen, unless this node refuses connections."""
        fault, context = self.spec.fault, self._site.context
        if fault is Fault.REFUSE:
            return
        if fault is Fault.IMPOSTOR:
            context = self._site.impostor
        protocol: Callable[[], asyncio.BaseProtocol] = self._connection
        if fault is Fault.HANG:
            protocol, context = asyncio.Protocol, None
        elif fault is Fault.GARBAGE:
            protocol = Garbage
        listening = socket.create_server((self.spec.address, self._site.port), backlog=64)
        self._server = await asyncio.get_running_loop().create_server(protocol, sock=listening, ssl=context)

    def die(self) -> None:
        """Go away: no connection is left, and none is accepted."""
        if self._server:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """Reset all connections."""
        for connection in list(self._connections):
            if connection.state != NEW:  # one that asyncio has accepted a moment ago
                connection.abort()

    def _connection(self) -> Connection:
        connection = Connection(ADDRESS, self, self._connections.discard)
        self._connections.add(connection)
        return connection

    # ---- what a connection asks of the API, with the faults that a client sees there

    def admit(self, address: str) -> None:
        """Accept every client."""

    async def respond(self, request: Request, pause: Pause) -> Response:
        """Answer, or cut the connection before or after that."""
        triggers = request.target.startswith("/puppet/twitch")
        if triggers and self.root.passes(Fault.CUT):
            self.cut()
            return Response(503, b"")
        if "wait=" in request.target and not triggers:
            self._send_away()
        response = await self._api.respond(request, pause)
        if triggers and self.root.passes(Fault.RESET):
            self.cut()
        return response

    def _send_away(self) -> None:
        loop = asyncio.get_running_loop()
        if self.root.passes(Fault.BLIP):
            loop.call_later(SENT_AWAY_S, self.cut)
        elif self.root.passes(Fault.LEAVE):
            for connection in self._connections:
                loop.call_later(SENT_AWAY_S, connection.stop_waiting)

    def dropped(self, address: str, why: str) -> None:
        """Count nothing."""

    def explain(self, address: str, request: Optional[Request], error: HTTPError) -> Response:
        """Return the response for an error."""
        return self._api.explain(address, request, error)


class Garbage(asyncio.Protocol):
    """Something that does not speak HTTP."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(GARBAGE)
        self._transport.close()
