"""Requests to nodes over HTTP: one aiohttp session for all of them, and an error that says what went wrong.

Each request has a connection of its own, because hardly any node is asked twice in a moment, and a kept one
would cost memory. Only the answer that a run has begun or goes on keeps its connection, for the next question
about this run (`keep`): a TLS handshake is more than half of what a request costs.

Answers are strangers' bytes: a node that was broken into, or another program at the port, can send what it
likes, as slowly as it likes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NamedTuple, Optional

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

import twitch
from twitch.fleet.node import open_files
from twitch.fleet.node.access import Access
from twitch.fleet.node.addresses import AddressResolver
from twitch.fleet.node.answers import DNS, GARBAGE, TIMEOUT, NotReached
from twitch.fleet.node.failures import failure
from twitch.fleet.nodes import Node

# TCP and TLS. A node in another continent needs half a second; SYN is sent again after 1, 3 and 7 s.
CONNECT_S = 10.0

# Until the answer, beyond the time that the node was asked to wait: root may need a few seconds to look at
# Puppet's locks, and a request may stand in line at the listener, or for its turn.
ANSWER_S = 60.0

# A log says something every 30 seconds at least (README, The log of a run).
SILENCE_S = 75.0

# How long a connection is kept for the next question about a run, which is asked at once; less than the
# listener keeps it (KEEP_ALIVE_S in twitch/listener/connection.py).
KEPT_S = 2.0
GOES_ON = 202  # the status of an answer about a run that has not ended

# The record of a run has up to 96 KB of resources (README, What a run did), and some more.
MAX_BODY_BYTES = 256 * 1024
MAX_LINE_BYTES = 256 * 1024  # of a log: the journal keeps lines of 48 KB (LineMax=), as JSON


class Response(NamedTuple):
    """An answer of puppet-twitch, or of any other program at the port."""

    status: int
    headers: Mapping[str, str]  # the names in any case
    body: bytes


class _Progress:
    """How far a request is."""

    connected = False  # from now on, the request may have arrived
    protocol: Optional[ResponseHandler] = None  # of the connection


_PROGRESS: ContextVar[_Progress] = ContextVar("progress")


class _Connector(aiohttp.TCPConnector):
    """Notes when a connection is there: aiohttp's errors alone do not say whether the request was sent."""

    async def connect(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        connection = await super().connect(*args, **options)
        progress = _PROGRESS.get()
        progress.connected, progress.protocol = True, connection.protocol
        return connection


class Connections:
    """All requests to nodes, at most so many at once as `limit` says."""

    def __init__(self, access: Access, wanted: int) -> None:
        self._access = access
        self.limit, self.note = open_files.connections(wanted)  # and why there are less than wanted
        self._free: asyncio.Semaphore
        self._resolver: AddressResolver
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Connections:
        """Open the session."""
        access = self._access
        self._free = asyncio.Semaphore(self.limit)
        self._resolver = AddressResolver()
        tls: dict[str, Any] = {"ssl": access.tls} if access.tls else {}
        headers = {"User-Agent": f"puppet-twitch-fleet/{twitch.__version__}"}
        if access.token:
            headers["Authorization"] = f"Bearer {access.token}"
        self._session = aiohttp.ClientSession(
            connector=_Connector(
                resolver=self._resolver,
                use_dns_cache=False,  # AddressResolver has one
                limit=0,
                keepalive_timeout=KEPT_S,
                **tls,
            ),
            headers=headers,
            skip_auto_headers=("Accept-Encoding", "Content-Type"),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # nodes are not behind the operator's proxy
        )
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        """Close the session, with what is still open."""
        await self._session.close()

    async def ask(
        self, node: Node, method: str, target: str, *, accept: str, wait_s: float = 0, keep: bool = False
    ) -> Response:
        """Return the whole answer to a request; raises `NotReached`.

        With `keep`, the connection is kept for the next request to this node, if a run goes on there.
        """
        limit_s = wait_s + ANSWER_S
        timeout = aiohttp.ClientTimeout(total=CONNECT_S + limit_s, sock_connect=CONNECT_S, sock_read=limit_s)
        async with self._request(node, method, target, accept, timeout, keep=keep) as answer:
            return Response(answer.status, answer.headers, await _body(answer))

    @contextlib.asynccontextmanager
    async def lines(self, node: Node, target: str, *, accept: str) -> AsyncIterator[Lines]:
        """Return an answer whose lines come one by one, for as long as they come; raises `NotReached`.

        Errors of the answer become `NotReached` here, also those that the caller meets while it reads.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        async with self._request(node, "GET", target, accept, timeout) as answer:
            yield Lines(answer)

    @contextlib.asynccontextmanager
    async def _request(
        self,
        node: Node,
        method: str,
        target: str,
        accept: str,
        timeout: aiohttp.ClientTimeout,
        *,
        keep: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = self._url(node, target)
        host = url.raw_host or ""
        progress = _Progress()
        headers = {"Accept": accept, **({} if keep else {"Connection": "close"})}
        async with self._free:
            attempts = await self._resolver.find(node, host)
            while True:
                _PROGRESS.set(progress)
                try:
                    async with self._session.request(
                        method, url, headers=headers, timeout=timeout, allow_redirects=False
                    ) as answer:
                        yield answer
                    # aiohttp keeps the connection of each answer that does not say `Connection: close`.
                    if not (keep and answer.status == GOES_ON) and progress.protocol is not None:
                        progress.protocol.close()
                    return
                except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as error:
                    failed = failure(
                        error,
                        port=self._access.port,
                        sent=progress.connected,
                        connect_s=CONNECT_S,
                        answer_s=timeout.sock_read or 0,
                    )
                    attempts -= 1
                    if progress.connected:
                        raise failed from error
                    if failed.kind != TIMEOUT or not attempts:
                        self._resolver.forget(host)
                        raise failed from error
                    # aiohttp before 3.10 does not try the next address after one that does not answer,
                    # such as an IPv6 address without a route.
                    self._resolver.put_last(host)

    def _url(self, node: Node, target: str) -> URL:
        path, _, query = target.partition("?")
        host = f"[{node.name}]" if ":" in node.name else node.name
        try:
            # The parts are encoded already: yarl would look at each character again.
            return URL.build(
                scheme="https" if self._access.tls else "http",
                host=host,
                port=self._access.port,
                path=path,
                query_string=query,
                encoded=True,
            )
        except ValueError as error:
            raise NotReached(f"{node.name!r} is not the name of a node", DNS, sent=False) from error


class Lines:
    """An answer that is read line by line."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers

    async def body(self) -> bytes:
        """Return the whole answer."""
        return await _body(self._answer)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the lines, without their ends; a last line without an end is none."""
        rest = bytearray()
        async for part in self._answer.content.iter_any():
            rest += part
            *whole, last = rest.split(b"\n")
            for line in whole:
                yield bytes(line)
            rest = last
            if len(rest) > MAX_LINE_BYTES:
                raise NotReached("a line of the log is too long", GARBAGE, sent=True)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > MAX_BODY_BYTES:
            text = f"the answer is longer than {MAX_BODY_BYTES // 1024} KiB; another program listens there"
            raise NotReached(text, GARBAGE, sent=True)
    return bytes(body)
