"""From an accepted socket to a connection: over plain HTTP, or after a TLS handshake."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Callable, Optional, Protocol

from twitch.errors import MISCONFIGURED, ConfigError
from twitch.listener import tls
from twitch.listener.connection import Connection
from twitch.listener.exchange import HTTPError, unread
from twitch.listener.refusal_log import MISCONFIGURED_REASON, kind

if TYPE_CHECKING:
    import ssl

    from twitch.listener.tls_context import Trust

# From the first moment to the end of the handshake; the client's request then has a deadline of its own.
HANDSHAKE_TIMEOUT_S = 10
# The first byte of a TLS handshake record (RFC 8446 section 5.1); no HTTP request begins with it.
HANDSHAKE = b"\x16"
MAX_HELLO_BYTES = 64 * 1024
# The fatal alert internal_error (80), as a record (RFC 8446 sections 5.1 and 6.2).
INTERNAL_ERROR = bytes((21, 3, 3, 0, 2, 2, 80))


class Contexts(Protocol):
    """What a handshake needs to know of TLS (`contexts.Contexts`)."""

    async def current(self) -> Optional[Trust]:
        """Return what a new connection is served with, or None for plain HTTP; raises `ConfigError`."""

    async def vet(self, then: Trust, certificate: Mapping[str, Any]) -> None:
        """Raise `HTTPError` if a client that has connected under `then` would not be served now."""

    def refusing(self) -> AbstractContextManager[Optional[ssl.SSLContext]]:
        """Provide a context for telling a client why it is not served; raises `HTTPError`."""

    def lasting(self) -> bool:
        """Return whether a newer CA or CRL takes effect in this process, however long it stays."""


async def begin(
    connection: Connection, accepted: socket.socket, contexts: Contexts, admit: Callable[[str], None]
) -> None:
    """Connect a socket as the configuration says now; raises `OSError`, `asyncio.TimeoutError`, or what
    `admit` raises.

    Over plain HTTP `admit` is called after the head of a request, and its refusal is an answer. With TLS it
    is called first: an address outside `[access] from` must not cost us a handshake. Handshakes do not wait
    for each other: their rounds are events of the loop.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + HANDSHAKE_TIMEOUT_S
    try:
        trust = await contexts.current()
    except ConfigError:
        # Even if the file was about to turn TLS off: until it can be read, no client is accepted.
        error = HTTPError(503, MISCONFIGURED, close=True, reason=MISCONFIGURED_REASON)
        await refuse(connection, accepted, contexts, error)
        return
    if trust is None:
        await plain(connection, accepted)
        return
    admit(connection.address)
    if await _first_byte(accepted) == HANDSHAKE:
        connection.vet = functools.partial(contexts.vet, trust)
        await _secure(connection, accepted, trust.context, until - loop.time())
    else:
        await plain(connection, accepted)
        text = "This port speaks TLS: use https://"
        connection.refuse(HTTPError(400, text, reason="plain HTTP at a port that speaks TLS"))


async def refuse(
    connection: Connection, accepted: socket.socket, contexts: Contexts, error: HTTPError
) -> None:
    """Tell a client why it is not served, over TLS if that is what it speaks. Raises as `begin` does, and
    `HTTPError` where nothing can be told."""
    with contexts.refusing() as context:
        if context is None:
            if _speaks_tls(accepted):
                _send_alert(accepted)
                raise error
            await plain(connection, accepted)
            connection.refuse(error)
        elif await _first_byte(accepted) == HANDSHAKE:
            # The answer to its request, not one before it: a client may take that for an error of TLS.
            connection.vet = functools.partial(_refuse_request, error)
            await _secure(connection, accepted, context, HANDSHAKE_TIMEOUT_S)
        else:
            await plain(connection, accepted)
            connection.refuse(error)


async def _refuse_request(error: HTTPError, _certificate: Mapping[str, Any]) -> None:
    raise error


async def plain(connection: Connection, accepted: socket.socket) -> None:
    """Serve without TLS; raises `OSError` if the client has gone."""
    await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted)


async def _secure(
    connection: Connection, accepted: socket.socket, context: ssl.SSLContext, timeout_s: float
) -> None:
    await asyncio.get_running_loop().connect_accepted_socket(
        lambda: connection,
        accepted,
        ssl=context,
        ssl_handshake_timeout=max(timeout_s, 0.1),  # asyncio takes no 0
    )


def turn_away(accepted: socket.socket, error: HTTPError) -> None:
    """Tell a client that has sent something why it is not served, without waiting for it, and close.

    A client of TLS gets an alert, because more would cost a handshake.
    """
    with contextlib.suppress(OSError):
        if _speaks_tls(accepted):
            _send_alert(accepted)
        elif accepted.recv(MAX_HELLO_BYTES):  # unread, it would make the kernel send a reset
            accepted.send(unread(error))
    accepted.close()


def _speaks_tls(accepted: socket.socket) -> bool:
    """Return whether a handshake has arrived; DeferAcceptSec= of the socket waits for it."""
    try:
        return accepted.recv(1, socket.MSG_PEEK) == HANDSHAKE
    except OSError:
        return False


def _send_alert(accepted: socket.socket) -> None:
    """End a handshake for which there is no certificate: curl then says `tlsv1 alert internal error`."""
    with contextlib.suppress(OSError):
        accepted.recv(MAX_HELLO_BYTES)  # unread, it would make the kernel send a reset after the alert
        accepted.send(INTERNAL_ERROR)
        accepted.shutdown(socket.SHUT_WR)


def reason(failure: BaseException) -> str:
    """Return what a failed handshake is counted as, `TLS certificate revoked`; empty for a client that left.

    A client that is not accepted counts as the refusal that plain HTTP would have had. The others are texts
    of OpenSSL, of which there are not many; none is the client's.
    """
    if isinstance(failure, HTTPError):
        return kind(failure)
    text = tls.failure(failure)
    if text:
        return f"TLS {text}"
    # asyncio raises ConnectionAbortedError for a handshake that is too slow.
    slow = isinstance(failure, (asyncio.TimeoutError, ConnectionAbortedError))
    return "TLS handshake too slow" if slow else ""


async def _first_byte(accepted: socket.socket) -> bytes:
    """Return the first byte without taking it, when it has arrived; raises `OSError` if none will."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        if not arrived.done():
            arrived.set_result(None)

    loop.add_reader(accepted, readable)
    try:
        # Not wait_for(), which before Python 3.12 can swallow a cancellation (bugs.python.org/issue37658).
        await asyncio.wait({arrived}, timeout=HANDSHAKE_TIMEOUT_S)
    finally:
        loop.remove_reader(accepted)
    if not arrived.done():
        raise asyncio.TimeoutError
    first = accepted.recv(1, socket.MSG_PEEK)
    if not first:
        raise ConnectionResetError("the client has sent nothing")
    return first
