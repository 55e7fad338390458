"""The event loop of a command: asyncio's, with less memory for TLS, and errors on one line.

A TLS connection costs 323 KiB in asyncio from Python 3.11 on, because `SSLProtocol` has a buffer of 256 KiB
(python/cpython#109534), which is also filled with zeros for each. With 16 KiB it costs 80, and a third less
CPU (measured with 1,000 held connections).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

from twitch.fleet.notes import say

Result = TypeVar("Result")

TLS_RECORD_BYTES = 16 * 1024  # RFC 8446 section 5.1


def run(command: Coroutine[Any, Any, Result]) -> Result:
    """Run a command to its end, and return its result."""
    _small_tls_buffers()
    return asyncio.run(_watched(command))


async def _watched(command: Coroutine[Any, Any, Result]) -> Result:
    """Run a command while errors that nobody waits for are one line, and not a traceback."""
    asyncio.get_running_loop().set_exception_handler(_unforeseen)
    return await command


def _unforeseen(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, (OSError, asyncio.TimeoutError)):
        return  # of a connection that has had its answer, such as a reset while TLS is closed
    what = f"{type(error).__name__}: {error}" if error else context.get("message")
    say(f"an error in this program, please report it: {what}")
    if os.environ.get("PUPPET_TWITCH_DEBUG") == "1":
        loop.default_exception_handler(context)


def _small_tls_buffers() -> None:
    """Let the TLS connections of this process read as much at once as one TLS record has.

    The name is not documented. Nothing depends on it: where it is not there, memory is what it was.
    """
    from asyncio import sslproto

    if isinstance(getattr(sslproto.SSLProtocol, "max_size", None), int):
        sslproto.SSLProtocol.max_size = TLS_RECORD_BYTES  # type: ignore[attr-defined]
