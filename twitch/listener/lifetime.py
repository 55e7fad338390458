"""When a listener exits: when it is idle, when it is old, and when it cannot go on.

It exits so that an idle node has no process of ours, and so that new configuration, certificates and
code take effect. systemd keeps the listening sockets, so a client that connects meanwhile waits in the
kernel's backlog and is served by the next listener.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any, Callable, Optional

from twitch import sd_notify
from twitch.listener.room import Room

log = logging.getLogger(__name__)

IDLE_EXIT_S = 30.0
MAX_AGE_S = 600.0
# The least age of a listener that leaves because it has no run socket, so that a flood does not start one for
# each request.
LOST_AGE_S = 10.0
# The same with callers that wait for a run; Puppet's own limit for a run is an hour.
MAX_WAITED_AGE_S = 4200.0
RETIRE_LOOK_S = 1.0


class Lifetime:
    """The time from the start of a listener to its exit.

    `accept_no_more` and `end_connections` are called when it is about to exit; `shared` says whether it may
    serve several connections, and `lasting` whether a newer CRL takes effect in this process.
    """

    def __init__(
        self,
        idle_exit_s: Optional[float],
        connections: Room,
        *,
        shared: bool,
        lasting: Callable[[], bool],
        accept_no_more: Callable[[], None],
        end_connections: Callable[[], None],
    ) -> None:
        self.leaving = False  # nothing is accepted any more
        self._idle_exit_s = idle_exit_s
        self._connections = connections
        self._shared = shared
        self._lasting = lasting
        self._accept_no_more = accept_no_more
        self._end_connections = end_connections
        self._idle_timer: Optional[asyncio.TimerHandle] = None

    def begin(self) -> None:
        """Begin, in the loop of the listener."""
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._end = self._loop.create_future()
        self._report = (
            self._loop.get_exception_handler() or asyncio.AbstractEventLoop.default_exception_handler
        )
        self._loop.set_exception_handler(self._unforeseen)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop)
        if self._idle_exit_s is not None:
            self._loop.call_later(MAX_AGE_S, self._retire)

    async def end(self) -> None:
        """Return when the listener is to exit. Raises `MemoryError` as `fail` has it."""
        await self._end

    @property
    def over(self) -> bool:
        """Whether the listener is to exit now."""
        return self._end.done()

    # ---- idle

    def wake(self) -> None:
        """Stay, because a client has connected."""
        if self._idle_timer:
            self._idle_timer.cancel()

    def rest(self) -> None:
        """Exit after a while if there is no connection; at once if none can come."""
        if self._connections or self.over:
            return
        if self.leaving or not self._shared:
            self._finish()
        elif self._idle_exit_s is not None:
            if self._idle_timer:
                self._idle_timer.cancel()
            self._idle_timer = self._loop.call_later(self._idle_exit_s, self._finish)

    # ---- old

    def _retire(self) -> None:
        """Exit because of age: callers who wait for a run may go on waiting for a while, nothing else may."""
        if self._may_wait_on() and self._loop.time() < self._started_at + MAX_WAITED_AGE_S:
            self._loop.call_later(RETIRE_LOOK_S, self._retire)
        else:
            self.stop()

    def _may_wait_on(self) -> bool:
        """Return whether a waiting caller may keep this process alive past MAX_AGE_S.

        Not where the CRL is a credential: a chain of waiting callers could keep an old one in use. Not with
        Accept=yes: the process occupies one of 64 places.
        """
        shared = self._shared and self._lasting()
        return shared and any(connection.waiting for connection in self._connections)

    def lost(self) -> None:
        """Exit if there is no run socket: this process may only see a run directory that was replaced since.

        The sandbox shows that directory alone, as it was at the start (BindReadOnlyPaths=).
        """
        if self._idle_exit_s is not None and self._loop.time() > self._started_at + LOST_AGE_S:
            self.stop()

    def stop(self) -> None:
        """Stop accepting; callers who wait are told where to look, requests that have come are answered."""
        log.debug("stopping")
        self.leaving = True
        self._accept_no_more()
        self._end_connections()
        self.rest()

    # ---- the exit

    def _unforeseen(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle an exception that no code of ours has caught."""
        if isinstance(context.get("exception"), MemoryError):
            self.fail(context["exception"])
        else:
            self._report(loop, context)

    def fail(self, error: MemoryError) -> None:
        """Exit with an error. Without memory every further connection would fail in the same way, and as
        long as they come this process would not be idle; systemd starts a new one (Restart=)."""
        if not self.over:
            self._end.set_exception(error)

    def _finish(self) -> None:
        """Exit. What arrives from here on stays in the backlog; STOPPING=1 makes systemd queue the start
        that it causes."""
        if not self.over:
            log.debug("exiting")
            self._accept_no_more()
            sd_notify.notify("STOPPING=1")
            self._end.set_result(None)
