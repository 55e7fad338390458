"""How a request waits: for a run, or for its turn at root; and how others end that."""

from __future__ import annotations

import asyncio
from typing import Callable, Optional

# What a complete request may wait for.
RUN, ROOT = "run", "root"


class Pause:
    """How a request waits, and for whom: an anonymous caller that waits makes room for others (room.py).

    The service sets `named` as soon as it knows the caller, before it waits for anything.
    """

    def __init__(self, may_wait: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        self.named = False  # the caller has a line with grants in [access]
        self.waits_for: Optional[str] = None  # RUN or ROOT
        self._may_wait = may_wait
        self._over: asyncio.Future[None] = loop.create_future()  # there is no point in waiting for a run
        self._displaced: asyncio.Future[None] = loop.create_future()  # the place is needed for another one

    async def __call__(self, seconds: float, event: Optional[asyncio.Future[None]] = None) -> bool:
        """Wait for a run, or for this event of it; return True when the caller must not wait any longer: the
        client has left, or has nothing more to send, or the listener must exit, or others need the place."""
        if self._over.done() or not self._may_wait():
            return True
        self.waits_for = RUN
        events = {self._over, event} if event else {self._over}
        await asyncio.wait(events, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return self._over.done()

    async def for_turn(self, turn: asyncio.Future[None]) -> bool:
        """Wait for a turn at root; return False if others need the place before it comes."""
        before, self.waits_for = self.waits_for, ROOT
        try:
            await asyncio.wait({turn, self._displaced}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.waits_for = before
        return turn.done()

    def end(self, *, displaced: bool = False) -> None:
        """End the waiting for a run; with `displaced` that for a turn at root, too."""
        for future in (self._over, self._displaced) if displaced else (self._over,):
            if not future.done():
                future.set_result(None)
