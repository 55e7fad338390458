"""From an accepted socket to a connection: in plain, or after a TLS handshake."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Callable, Optional

from twitch.errors import MISCONFIGURED, ConfigError, HTTPError
from twitch.listener.connection import Connection

if TYPE_CHECKING:
    import ssl

# From the first moment to the end of the handshake; the client's request then has a time of its own.
HANDSHAKE_TIMEOUT_S = 10
# The first byte of a TLS record that is a handshake (RFC 8446 section 5.1); no HTTP begins so.
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
    """Serve as the configuration says now; raises `OSError`, `asyncio.TimeoutError`, or what `admit` raises.

    Over plain HTTP `admit` is asked after the head, and its refusal is an answer. With TLS it is asked
    first: nobody outside of `[access] from` is owed the work of a handshake.
    Nobody else waits for a handshake: its rounds are events of the loop like all others.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + HANDSHAKE_TIMEOUT_S
    try:
        wanted = context()
    except ConfigError:
        await plain(connection, accepted)
        # Also where the file may only be about to say that there is no TLS: nobody is let in meanwhile.
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
    """What to count a failed handshake as, `TLS certificate revoked`; empty for a client that left.

    Who was not admitted counts as the answer that plain HTTP would have had. The others are texts of
    OpenSSL's, of which there are not many; none is the client's.
    """
    if isinstance(failure, HTTPError):
        return str(failure.status)
    # An ssl.SSLError, by what only that has: without TLS there is no ssl here.
    if hasattr(failure, "library"):
        reason = getattr(failure, "reason", "") or "handshake failed"  # PEER_DID_NOT_RETURN_A_CERTIFICATE
        return f"TLS {getattr(failure, 'verify_message', '') or reason.lower().replace('_', ' ')}"
    # asyncio's own word for a handshake that is too slow is ConnectionAbortedError.
    slow = isinstance(failure, (asyncio.TimeoutError, ConnectionAbortedError))
    return "TLS handshake too slow" if slow else ""


async def _first_byte(accepted: socket.socket) -> bytes:
    """Return the first byte without taking it, once it has come; raises `OSError` if none will."""
    loop = asyncio.get_running_loop()
    come: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        if not come.done():
            come.set_result(None)

    loop.add_reader(accepted, readable)
    try:
        # Not wait_for(), which before Python 3.12 can swallow a cancellation (bugs.python.org/issue37658).
        await asyncio.wait({come}, timeout=HANDSHAKE_TIMEOUT_S)
    finally:
        loop.remove_reader(accepted)
    if not come.done():
        raise asyncio.TimeoutError
    first = accepted.recv(1, socket.MSG_PEEK)
    if not first:
        raise ConnectionResetError("left without a word")
    return first
