"""The listener process: it accepts connections within limits, in one thread, until its lifetime ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from typing import Optional

from twitch import config, sd_notify
from twitch.listener import access, activation, handshake, room, tokens
from twitch.listener.api.parameters import MAX_WAIT_S
from twitch.listener.api.routes import API, MAX_WAIT_ALONE_S
from twitch.listener.connection import NEW, STOP_GRACE_S, Connection, Service
from twitch.listener.contexts import Contexts
from twitch.listener.exchange import HTTPError
from twitch.listener.lifetime import Lifetime
from twitch.listener.line import Newcomer
from twitch.listener.loop_pace import Pace
from twitch.listener.refusal_log import Refusals
from twitch.listener.room import Pick, Room
from twitch.listener.root_client import RootClient
from twitch.listener.watched import Watched
from twitch.record_files import Records

log = logging.getLogger(__name__)

# In one pass of the loop; the rest waits in the backlog meanwhile.
ACCEPT_AT_ONCE = 16
ACCEPT_AGAIN_S = 0.1
# When no newcomer could be served, the line is looked at again after this time, or when a connection ends.
LOOK_AGAIN_S = 0.01
# In one pass of the loop: requests that are not the first of their connection.
LATER_REQUESTS_AT_ONCE = 4
# In one pass of the loop: newcomers that are served if the last pass was short; else one. With one in each
# pass, an answer takes 370 us of CPU instead of 290 (measured with 16 clients that connect for each request).
# With TLS passes are long, because each newcomer costs a handshake of 2 to 7 ms.
NEWCOMERS_AT_ONCE = 4
SHORT_PASS_S = 0.005
RETRY_CROWDED_S = 2


def main(sockets: activation.Inherited, idle_exit_s: Optional[float]) -> None:
    """Serve these sockets until there is nothing left to do; with `idle_exit_s` None until a signal comes."""
    asyncio.run(_serve(sockets, idle_exit_s))


async def _serve(sockets: activation.Inherited, idle_exit_s: Optional[float]) -> None:
    configuration = Watched(config.CONFIG_FILE, config.load)
    known_tokens = Watched(config.TOKENS_FILE, tokens.load)
    refusals, records = Refusals(), Records()
    wait_s = MAX_WAIT_ALONE_S if sockets.connection else MAX_WAIT_S
    root = RootClient(records, joined=refusals.joined, lost=lambda: listener.lifetime.lost())
    service = API(configuration, known_tokens, root, records, refusals, longest_wait_s=wait_s)
    listener = Listener(service, Contexts(configuration), sockets.listening, idle_exit_s)
    await listener.run(sockets.connection)
    refusals.flush()


class Listener:
    """Accepts connections, as far as there is room (room.py), and exits. `service` answers requests."""

    def __init__(
        self,
        service: Service,
        contexts: handshake.Contexts,
        sockets: Sequence[socket.socket],
        idle_exit_s: Optional[float],
    ) -> None:
        self._service = service
        self._contexts = contexts
        self._sockets = sockets
        self._connections = Room(self._close, self._drop)
        self.lifetime = Lifetime(
            idle_exit_s,
            self._connections,
            shared=bool(sockets),
            lasting=contexts.lasting,
            accept_no_more=lambda: self._listen(on=False),
            end_connections=self._end_connections,
        )
        self._later_requests = Pace(LATER_REQUESTS_AT_ONCE)
        self._next_look: Optional[asyncio.Handle] = None
        self._looked_at = 0.0  # by the loop's clock
        self._handshakes: dict[Connection, asyncio.Task[None]] = {}  # of those that are not connected yet
        self._listening = False

    async def run(self, connection: Optional[socket.socket] = None) -> None:
        """Serve until idle for long enough, too old, or stopped by SIGTERM or SIGINT.

        Raises `MemoryError` when there is not enough memory to serve a connection.
        """
        self._loop = asyncio.get_running_loop()
        self.lifetime.begin()
        self._listen(on=bool(self._sockets))
        if connection:
            with contextlib.suppress(OSError):  # reset since systemd accepted it: there is no client
                self._arrive(connection, connection.getpeername()[0])
        sd_notify.notify("READY=1")
        self.lifetime.rest()
        await self.lifetime.end()

    # ---- accepting

    def _listen(self, *, on: bool) -> None:
        if on and not self._listening:
            for listening in self._sockets:
                self._loop.add_reader(listening, self._accept_ready, listening)
        elif self._listening and not on:
            for listening in self._sockets:
                self._loop.remove_reader(listening)
        self._listening = on

    def _accept_ready(self, listening: socket.socket) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                accepted, peer = listening.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError as error:
                # Out of descriptors or memory. The backlog would wake us again at once, without end.
                log.warning("cannot accept: %s", error.strerror)
                self._listen(on=False)
                self._connections.shrink()
                self._loop.call_later(ACCEPT_AGAIN_S, self._listen_again)
                return
            self._arrive(accepted, peer[0])

    def _listen_again(self) -> None:
        if not self.lifetime.over and not self.lifetime.leaving:
            self._listen(on=True)

    def _arrive(self, accepted: socket.socket, peer: str) -> None:
        """Let an accepted connection stand in line for a place."""
        accepted.setblocking(False)
        self.lifetime.wake()
        self._connections.arrive(accepted, access.normalise(peer))
        self._look_at_line(0)

    def _look_at_line(self, delay_s: float) -> None:
        """Look for a newcomer to serve after this time; with 0 in the next pass of the loop."""
        if self._next_look:
            self._next_look.cancel()
            self._next_look = None
        if self._connections.line:
            look = self._serve_next
            self._next_look = self._loop.call_later(delay_s, look) if delay_s else self._loop.call_soon(look)

    def _serve_next(self) -> None:
        """Serve or refuse a few newcomers, so that what is under way goes on."""
        before, self._looked_at = self._looked_at, self._loop.time()
        at_once = NEWCOMERS_AT_ONCE if self._looked_at - before < SHORT_PASS_S else 1
        for _ in range(at_once):
            pick = self._connections.pick()
            self._look_at_line(0 if pick else LOOK_AGAIN_S)
            if not pick:
                return
            self._begin(pick)

    def _begin(self, pick: Pick) -> None:
        accepted, address = pick.newcomer.accepted, pick.newcomer.address
        connection = Connection(
            address,
            self._service,
            self._connection_closed,
            local=room.is_local(address, access.normalise(accepted.getsockname()[0])),
            may_wait=self._connections.may_wait,
            pace=self._later_requests,
        )
        self._connections.enter(connection, accepted)
        if pick.refusal:
            connection.leave()
        if self.lifetime.leaving:
            connection.stop()
        task = self._loop.create_task(self._handshake(connection, accepted, pick.refusal))
        self._handshakes[connection] = task
        # A done-callback, not a `finally`: a task that is cancelled before its first step never reaches one.
        task.add_done_callback(lambda task: self._handshake_done(connection, accepted, task))

    def _drop(self, newcomer: Newcomer) -> None:
        """Close a newcomer for which there is no descriptor."""
        handshake.turn_away(newcomer.accepted, _no_room("Too many connections"))
        self._service.dropped(newcomer.address, room.DROPPED)
        self.lifetime.rest()

    async def _handshake(self, connection: Connection, accepted: socket.socket, refusal: str) -> None:
        """Connect an accepted socket: to be served, or to be told why it is refused."""
        if refusal:
            await handshake.refuse(connection, accepted, self._contexts, _no_room(refusal))
        else:
            await handshake.begin(connection, accepted, self._contexts, self._service.admit)

    def _handshake_done(
        self, connection: Connection, accepted: socket.socket, task: asyncio.Task[None]
    ) -> None:
        """Drop a connection whose handshake failed."""
        self._handshakes.pop(connection, None)
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        if failure is None:
            return
        # The client has sent a reset, or nothing, or is not accepted; or its place was needed.
        accepted.close()
        if isinstance(failure, MemoryError):
            self.lifetime.fail(failure)
        elif not isinstance(failure, (OSError, HTTPError, asyncio.TimeoutError, asyncio.CancelledError)):
            log.error("a connection could not be made", exc_info=failure)
        why = handshake.reason(failure)
        log.debug("%s: no handshake: %s", connection.address, why or repr(failure))
        if why:
            self._service.dropped(connection.address, why)
        self._connection_closed(connection)

    def _close(self, connection: Connection) -> bool:
        """Close a connection that makes room; return False if its handshake is almost done."""
        if connection.state == NEW:
            if not self._cancel_handshake(connection):
                return False
        else:
            connection.abort()
        if not connection.answers and not connection.leaving:
            self._service.dropped(connection.address, room.DISPLACED)
        return True

    def _cancel_handshake(self, connection: Connection) -> bool:
        """Cancel the handshake of a connection; return False if it is done, or almost."""
        task = None if connection.state != NEW else self._handshakes.pop(connection, None)
        return task is not None and task.cancel()

    # ---- leaving

    def _connection_closed(self, connection: Connection) -> None:
        self._connections.remove(connection)
        self._look_at_line(0)
        self.lifetime.rest()

    def _end_connections(self) -> None:
        """Tell callers who wait where to look, and let requests that have come be answered."""
        for connection in self._connections:
            connection.stop()
        self._loop.call_later(STOP_GRACE_S, self._close_unserved)

    def _close_unserved(self) -> None:
        """Cancel unfinished handshakes, because those clients have not sent a request, and end the line."""
        for connection in list(self._handshakes):
            self._cancel_handshake(connection)
        for newcomer in self._connections.line:
            self._connections.line.remove(newcomer)
            self._drop(newcomer)


def _no_room(text: str) -> HTTPError:
    retry = ("Retry-After", str(RETRY_CROWDED_S))
    return HTTPError(503, text, headers=(retry,), close=True, reason="no room")
