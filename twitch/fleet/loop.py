"""The event loop of a command: uvloop where it is installed, and else asyncio's, with less memory for TLS.

A TLS connection costs 323 KiB in asyncio from Python 3.11 on, because `SSLProtocol` has a buffer of 256 KiB
(python/cpython#109534), which is also filled with zeros for each. With 16 KiB it costs 80, and a third less
CPU; with uvloop 68 (each measured with 1,000 held connections).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any, Callable, Optional, TypeVar

Result = TypeVar("Result")

TLS_RECORD_BYTES = 16 * 1024  # RFC 8446 section 5.1


def run(command: Coroutine[Any, Any, Result]) -> Result:
    """Run a command to its end, and return its result."""
    new_loop = _uvloop()
    if new_loop is None:
        _small_tls_buffers()
        return asyncio.run(_watched(command))
    loop = new_loop()
    try:
        asyncio.set_event_loop(loop)
        return _to_the_end(loop, _watched(command))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _watched(command: Coroutine[Any, Any, Result]) -> Result:
    """Run a command while errors that nobody waits for are one line, and not a traceback."""
    asyncio.get_running_loop().set_exception_handler(_unforeseen)
    return await command


def _unforeseen(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, (OSError, asyncio.TimeoutError)):
        return  # of a connection that has had its answer, such as a reset while TLS is closed
    what = f"{type(error).__name__}: {error}" if error else context.get("message")
    print(f"puppet-twitch-fleet: an error in this program, please report it: {what}", file=sys.stderr)
    if os.environ.get("PUPPET_TWITCH_DEBUG") == "1":
        loop.default_exception_handler(context)


def _small_tls_buffers() -> None:
    """Let the TLS connections of this process read as much at once as one TLS record has.

    The name is not documented. Nothing depends on it: where it is not there, memory is what it was.
    """
    from asyncio import sslproto

    if isinstance(getattr(sslproto.SSLProtocol, "max_size", None), int):
        sslproto.SSLProtocol.max_size = TLS_RECORD_BYTES  # type: ignore[attr-defined]


def _uvloop() -> Optional[Callable[[], asyncio.AbstractEventLoop]]:
    # uvloop.install() is deprecated, and uvloop.run() is not in Debian 12's 0.17.
    try:
        import uvloop
    except ImportError:
        return None
    new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return new_loop


def _to_the_end(loop: asyncio.AbstractEventLoop, command: Coroutine[Any, Any, Result]) -> Result:
    """Do what asyncio.run does: whatever the command has left behind is cancelled."""
    task = loop.create_task(command)
    try:
        return loop.run_until_complete(task)
    finally:
        rest = asyncio.all_tasks(loop)
        for one in rest:
            one.cancel()
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
