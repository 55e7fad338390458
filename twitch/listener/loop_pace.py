"""Steps that are spread over passes of the loop, so that a pass is short and new connections are answered.

A pass of asyncio's loop runs everything that is ready. When 224 clients pipeline, a pass that answered one
request of each took 90 ms, and a new connection needs four passes, with TLS ten.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Callable


class Pace:
    """Runs the steps that it is given in their order, so many in each pass of the loop."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._steps: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def __call__(self, step: Callable[[], None]) -> None:
        """Run this step in one of the next passes."""
        self._steps.append(step)
        self._schedule()

    def _schedule(self) -> None:
        if self._steps and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        try:
            for _ in range(min(self._at_once, len(self._steps))):
                self._steps.popleft()()
        finally:
            self._schedule()
