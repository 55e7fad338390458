"""One question to each of many nodes, so many at once, until all have answered or Ctrl-C stops it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Callable, Optional, TypeVar

from twitch.fleet.nodes import Node
from twitch.fleet.stopping import Stop

Result = TypeVar("Result")


async def each(
    nodes: Sequence[Node], ask: Callable[[Node], Awaitable[Result]], *, at_once: int, stop: Stop
) -> AsyncIterator[tuple[Node, Result]]:
    """Yield each node with its answer, as the answers come.

    After a stop, nothing more is asked, and what was asked is waited for; after `stop.leave` not even that.
    The nodes that have no answer are then missing.
    """
    todo = iter(nodes)
    answers: asyncio.Queue[Optional[tuple[Node, Result]]] = asyncio.Queue()

    async def work() -> None:
        for node in todo:
            if stop.reason is not None:
                return
            answers.put_nowait((node, await ask(node)))

    workers = [asyncio.ensure_future(work()) for _ in range(min(at_once, len(nodes)))]
    working = asyncio.gather(*workers)
    working.add_done_callback(lambda _: answers.put_nowait(None))
    leaving = asyncio.ensure_future(stop.left.wait())
    leaving.add_done_callback(lambda _: working.cancel())
    try:
        while True:
            answer = await answers.get()
            if answer is None:
                break
            yield answer
        with contextlib.suppress(asyncio.CancelledError):  # after `stop.leave`
            working.result()  # raises what a worker has raised
    finally:
        for task in (*workers, leaving):
            task.cancel()
        await asyncio.gather(*workers, leaving, return_exceptions=True)
