"""The session of a client of the servers beside the nodes: PuppetDB and the puppetservers."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Optional, TypeVar

import aiohttp

from twitch.fleet.node import access
from twitch.fleet.node.access import Files

Client = TypeVar("Client", bound="ServerClient")


class ServerClient:
    """Asks servers while its context lasts."""

    def __init__(self, urls: Sequence[str], files: Files, *, connections: int) -> None:
        """Use at most so many connections at once, with the certificate of `files` where a URL has TLS."""
        self._context = access.tls(files) if any(url.startswith("https") for url in urls) else None
        self._connections = connections
        self._open: Optional[aiohttp.ClientSession] = None

    async def __aenter__(self: Client) -> Client:
        """Open the session."""
        tls: dict[str, Any] = {} if self._context is None else {"ssl": self._context}
        connector = aiohttp.TCPConnector(limit=self._connections, **tls)
        self._open = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        """Close its connections."""
        if self._open is not None:
            await self._open.close()

    @property
    def _session(self) -> aiohttp.ClientSession:
        assert self._open is not None, "entered"
        return self._open
