"""From an accepted socket to a connection: over plain HTTP, or after a TLS handshake."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Callable, Optional

from twitch.errors import MISCONFIGURED, ConfigError
from twitch.listener import tls
from twitch.listener.connection import Connection
from twitch.listener.exchange import HTTPError

if TYPE_CHECKING:
    import ssl

# From the first moment to the end of the handshake; the client's request then has a deadline of its own.
HANDSHAKE_TIMEOUT_S = 10
# The first byte of a TLS handshake record (RFC 8446 section 5.1); no HTTP request begins with it.
HANDSHAKE = b"\x16"


async def plain(connection: Connection, accepted: socket.socket) -> None:
    """Serve without TLS; raises `OSError` if the client has gone."""
    await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted)


async def begin(
    connection: Connection,
    accepted: socket.socket,
    context: Callable[[], Optional[ssl.SSLContext]],
    admit: Callable[[str], None],
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
        wanted = context()
    except ConfigError:
        await plain(connection, accepted)
        # Even if the file was about to turn TLS off: until it can be read, no client is accepted.
        connection.refuse(HTTPError(503, MISCONFIGURED))
        return
    if wanted is None:
        await plain(connection, accepted)
        return
    admit(connection.address)
    if await _first_byte(accepted) == HANDSHAKE:
        left_s = max(until - loop.time(), 0.1)  # asyncio takes no 0
        await loop.connect_accepted_socket(
            lambda: connection, accepted, ssl=wanted, ssl_handshake_timeout=left_s
        )
    else:
        await plain(connection, accepted)
        connection.refuse(HTTPError(400, "This port speaks TLS: use https://"))


def reason(failure: BaseException) -> str:
    """Return what a failed handshake is counted as, `TLS certificate revoked`; empty for a client that left.

    A client that is not accepted counts as the status that plain HTTP would have had. The others are texts
    of OpenSSL, of which there are not many; none is the client's.
    """
    if isinstance(failure, HTTPError):
        return str(failure.status)
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
