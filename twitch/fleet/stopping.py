"""When nothing more is started, and when the command leaves.

    going ──stop(reason)──▶ stopped ──leave()──▶ left
          budget, canary, surprise,   the second Ctrl-C,
          --until, the first Ctrl-C   SIGTERM, SIGHUP

A stop never ends a run: runs that have a slot are followed to their ends (rundeck#962). After the second
Ctrl-C, SIGTERM or SIGHUP, the runs go on, and are not followed any more; their ids are in the result file.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import time
from collections.abc import Iterator
from typing import Callable, Optional

# GitLab and Jenkins cancel a job with SIGTERM, and kill it some seconds later. The kernel sends SIGHUP when
# the terminal is closed, as by a connection of ssh(1) that breaks. Windows has no SIGHUP.
SIGHUP: Optional[signal.Signals] = getattr(signal, "SIGHUP", None)
REASONS = {
    signal.SIGINT: "interrupted by Ctrl-C",
    signal.SIGTERM: "ended by SIGTERM",
    **({SIGHUP: "ended by SIGHUP, as when the terminal is closed"} if SIGHUP is not None else {}),
}


class Stop:
    """Why nothing more is started; None while nothing has stopped the command."""

    def __init__(self) -> None:
        self.reason: Optional[str] = None
        self.left = asyncio.Event()
        self.left_by: Optional[signal.Signals] = None  # with `left`
        self.on_first_interrupt: Callable[[], None] = lambda: None
        self._listeners: list[Callable[[str], None]] = []
        self._interrupts = 0
        self._until: Optional[tuple[float, str]] = None  # epoch seconds, and the reason then

    def on_stop(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the reason at the stop, or now if it was before."""
        self._listeners.append(listener)
        if self.reason is not None:
            listener(self.reason)

    def stop(self, reason: str) -> None:
        """Start nothing more. The first reason is the one that is named."""
        if self.reason is not None:
            return
        self.reason = reason
        for listener in self._listeners:
            listener(reason)

    def leave(self, by: signal.Signals = signal.SIGINT) -> None:
        """Start nothing more, and do not wait for the runs that go on."""
        self.stop(REASONS[by])
        if self.left_by is None:
            self.left_by = by
        self.left.set()

    def at(self, epoch_s: float, now_s: float, reason: str) -> None:
        """Stop at a time (--until)."""
        self._until = epoch_s, reason
        asyncio.get_running_loop().call_later(max(0.0, epoch_s - now_s), self.stop, reason)

    def look_at_the_clock(self) -> None:
        """Stop if the time has come. The timer is late after a question, and after a laptop has slept."""
        if self._until is not None and time.time() >= self._until[0]:
            self.stop(self._until[1])

    def interrupted(self) -> None:
        """Take a Ctrl-C: the first one stops, the second one leaves."""
        self._interrupts += 1
        if self._interrupts > 1:
            self.leave()
        else:
            self.stop(REASONS[signal.SIGINT])
            self.on_first_interrupt()


@contextlib.contextmanager
def signals(stop: Stop) -> Iterator[None]:
    """Let signals stop the command in an orderly way while this context lasts.

    A SIGHUP that is ignored, as under nohup(1), stays ignored.
    """
    loop = asyncio.get_running_loop()
    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGINT: stop.interrupted,
        signal.SIGTERM: functools.partial(stop.leave, signal.SIGTERM),
    }
    if SIGHUP is not None and signal.getsignal(SIGHUP) is not signal.SIG_IGN:
        handlers[SIGHUP] = functools.partial(stop.leave, SIGHUP)
    before = {number: signal.getsignal(number) for number in handlers}

    def handler(number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(handlers[signal.Signals(number)])

    for number, action in handlers.items():
        try:
            loop.add_signal_handler(number, action)
        except NotImplementedError:  # Windows
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, previous)
