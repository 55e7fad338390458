"""A Listener that speaks TLS with certificates like Puppet's, and clients that are not asyncio's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple, Optional
from unittest import mock

from tests.unit.echo import Echo
from tests.unit.pki import PKI
from twitch import config
from twitch.listener import tls
from twitch.listener.contexts import Contexts
from twitch.listener.server import Listener
from twitch.listener.watched import Watched

GET = b"GET / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"


class Service(Echo):
    """An Echo that notes the handshakes that failed."""

    def __init__(self) -> None:
        super().__init__()
        self.drops: list[str] = []

    def dropped(self, address: str, why: str) -> None:
        self.drops.append(why)


class Node(NamedTuple):
    """A listener under way."""

    service: Service
    listener: Listener
    port: int
    pki: PKI
    conf: Path

    async def ask(
        self, certificate: Optional[tuple[Path, Path]] = None, request: bytes = GET, source: str = "127.0.0.1"
    ) -> bytes:
        """Return all that comes back over TLS; raises what a client hears instead."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.pki.root.cert)
        context.load_verify_locations(self.pki.authority.cert)
        if certificate:
            context.load_cert_chain(*certificate)
        return await asyncio.to_thread(self._ask, context, request, source)

    def _ask(self, context: ssl.SSLContext, request: bytes, source: str) -> bytes:
        with self.connect(source) as plain, context.wrap_socket(plain) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    async def first_drops(self) -> list[str]:
        """Return what has been counted as dropped, when that is something: a client can hear it before."""
        while not self.service.drops:
            await asyncio.sleep(0.001)
        return self.service.drops

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """Return a TCP connection that has said nothing yet."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30, source_address=(source, 0))


@contextlib.asynccontextmanager
async def node(
    pki: PKI, directory: Path, *, client: str = "optional", settings: str = ""
) -> AsyncIterator[Node]:
    """A listener with these credentials; at the end it is told to stop, and must."""
    with (
        tempfile.TemporaryDirectory() as etc,
        mock.patch.dict(os.environ, {tls.DIRECTORY: os.fspath(directory)}),
        socket.create_server(("127.0.0.1", 0), backlog=512) as listening,
    ):
        conf = Path(etc, "puppet-twitch.conf")
        conf.write_text(f"[tls]\nenabled = yes\nclient = {client}\n{settings}\n")
        listening.setblocking(False)
        service = Service()
        contexts = Contexts(Watched(os.fspath(conf), config.load))
        listener = Listener(service, contexts, (listening,), None)
        running = asyncio.get_running_loop().create_task(listener.run())
        try:
            yield Node(service, listener, listening.getsockname()[1], pki, conf)
        finally:
            listener.lifetime.stop()
            await running
