"""The listener process: connections within bounds, in one thread, and leaving when nobody asks.

It leaves so that an idle node has no process of ours, and so that new configuration, certificates
and code always arrive. systemd keeps the listening sockets, so whoever connects meanwhile waits in
the kernel's backlog and is served by the next listener.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Callable, Optional

from twitch import config
from twitch.errors import ConfigError, HTTPError
from twitch.listener import access, activation, handshake, tls, tokens
from twitch.listener.api.parameters import MAX_WAIT_S
from twitch.listener.api.routes import API, MAX_WAIT_ALONE_S
from twitch.listener.connection import STOP_GRACE_S, Connection, Service
from twitch.listener.refusals import Refusals
from twitch.listener.root_client import Handler
from twitch.listener.watched import Watched
from twitch.runs import Store

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)

# LimitNOFILE= of the unit is 512; the rest is for questions to the handler and for files.
MAX_CONNECTIONS = 256
# Honest callers behind a proxy fit; one address cannot take all places.
MAX_CONNECTIONS_PER_ADDRESS = 32
# Of those beyond, so many at a time are told so. That takes up to LINGER_S each, so the others are closed
# without a word: told all, 250 a second from one address would take every descriptor.
MAX_TOLD_PER_ADDRESS = 8
# At one wake-up of the loop; the rest waits in the backlog until these have been looked at.
ACCEPT_AT_ONCE = 64
ACCEPT_AGAIN_S = 0.1
RETRY_CROWDED_S = 2

IDLE_EXIT_S = 30.0
MAX_AGE_S = 600.0
# With callers who wait for a run; Puppet's own limit for one is an hour.
MAX_WAITED_AGE_S = 4200.0
AGED_LOOK_S = 1.0


def main(given: activation.Inherited, idle_exit_s: Optional[float]) -> None:
    """Serve what was given until there is nothing left to do; `idle_exit_s` None stays."""
    asyncio.run(_serve(given, idle_exit_s))


async def _serve(given: activation.Inherited, idle_exit_s: Optional[float]) -> None:
    settings = Watched(config.CONFIG_FILE, config.Loader())
    known = Watched(config.TOKENS_FILE, tokens.load)
    refusals, store = Refusals(), Store()
    wait_s = MAX_WAIT_ALONE_S if given.connection else MAX_WAIT_S
    service = API(settings, known, Handler(store), store, refusals, longest_wait_s=wait_s)
    listener = Listener(service, tls.Contexts(settings).current, given.listening, idle_exit_s)
    await listener.run(given.connection)
    refusals.flush()


class Listener:
    """Accepts, counts, makes room and leaves. What is asked is for `service` to answer."""

    def __init__(
        self,
        service: Service,
        context: Callable[[], Optional[ssl.SSLContext]],
        sockets: Sequence[socket.socket],
        idle_exit_s: Optional[float],
    ) -> None:
        self._service = service
        self._context = context  # what TLS needs, or None for plain HTTP
        self._sockets = sockets
        self._idle_exit_s = idle_exit_s
        self._connections: dict[Connection, None] = {}  # oldest first
        self._beginning: dict[Connection, asyncio.Task[None]] = {}  # those that are not connected yet
        self._per_address: Counter[str] = Counter()
        self._idle_timer: Optional[asyncio.TimerHandle] = None
        self._accepting = False
        self._aged = False

    async def run(self, connections: Sequence[socket.socket] = ()) -> None:
        """Serve until idle for long enough, too old, or told to stop by SIGTERM or SIGINT."""
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._done = self._loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop)
        if self._idle_exit_s is not None:
            self._loop.call_later(MAX_AGE_S, self._age)
        self._accept(on=bool(self._sockets))
        for connection in connections:
            with contextlib.suppress(OSError):  # reset since systemd accepted it: there is nobody to serve
                self._take(connection, connection.getpeername()[0])
        activation.notify("READY=1")
        self._rest()
        await self._done

    # ---- in

    def _accept(self, *, on: bool) -> None:
        if on and not self._accepting:
            for listening in self._sockets:
                self._loop.add_reader(listening, self._welcome, listening)
        elif self._accepting and not on:
            for listening in self._sockets:
                self._loop.remove_reader(listening)
        self._accepting = on

    def _welcome(self, listening: socket.socket) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                accepted, peer = listening.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError as error:
                # Out of descriptors or memory. The backlog would wake us again at once and for ever.
                log.warning("cannot accept: %s", error.strerror)
                self._accept(on=False)
                self._make_room()
                self._loop.call_later(ACCEPT_AGAIN_S, self._accept_again)
                return
            self._take(accepted, peer[0])

    def _accept_again(self) -> None:
        if not self._done.done() and not self._aged:
            self._accept(on=True)

    def _take(self, accepted: socket.socket, peer: str) -> None:
        """Count a connection at once, so that no exit can overlook it, and see whether it fits in."""
        address = access.normalise(peer)
        group = access.group(address)
        if self._per_address[group] >= MAX_CONNECTIONS_PER_ADDRESS + MAX_TOLD_PER_ADDRESS:
            accepted.close()
            self._service.dropped(address, "too many connections")
            return
        accepted.setblocking(False)
        if self._idle_timer:
            self._idle_timer.cancel()
        ours = access.normalise(accepted.getsockname()[0])
        local = address == ours or ipaddress.ip_address(address).is_loopback
        connection = Connection(address, self._service, self._gone, local=local)
        self._connections[connection] = None
        self._per_address[group] += 1
        refusal = ""
        if self._per_address[group] > MAX_CONNECTIONS_PER_ADDRESS:
            refusal = f"More than {MAX_CONNECTIONS_PER_ADDRESS} connections from one address"
        elif len(self._connections) > MAX_CONNECTIONS and not self._make_room():
            refusal = "Too many connections"
        beginning = self._loop.create_task(self._begin(connection, accepted, refusal))
        self._beginning[connection] = beginning
        beginning.add_done_callback(lambda task: self._begun(connection, accepted, task))

    async def _begin(self, connection: Connection, accepted: socket.socket, refusal: str) -> None:
        """Make a connection of an accepted socket, refused or not."""
        if refusal:
            retry = ("Retry-After", str(RETRY_CROWDED_S))
            await handshake.plain(connection, accepted)
            connection.refuse(HTTPError(503, refusal, headers=(retry,)))
        else:
            await handshake.begin(connection, accepted, self._context, self._service.admit)

    def _begun(self, connection: Connection, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        """It is made, or it is nothing. As a callback, for a task may be cancelled before it runs."""
        self._beginning.pop(connection, None)
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        if failure is None:
            return
        # Reset before we looked at it, silent, no client that we know or admit, or sent away to make room.
        accepted.close()
        if not isinstance(failure, (OSError, HTTPError, asyncio.TimeoutError, asyncio.CancelledError)):
            log.error("a connection could not be made", exc_info=failure)
        why = handshake.reason(failure)
        if why:
            self._service.dropped(connection.address, why)
        self._gone(connection)

    def _make_room(self) -> bool:
        """The oldest that is not being answered goes, so that slow clients by the thousand cannot
        keep a quick one out. Returns False if all are being answered."""
        for connection in self._connections:
            if connection.dispensable:
                connection.abort()
                return True
            if self._give_up(connection):
                return True
        return False

    def _give_up(self, connection: Connection) -> bool:
        """Cancel the making of a connection; False if it is made, or almost."""
        beginning = None if connection.connected else self._beginning.pop(connection, None)
        return beginning is not None and beginning.cancel()

    # ---- out

    def _gone(self, connection: Connection) -> None:
        if connection not in self._connections:
            return  # lost while it was being made: asyncio says so, and so does what made it
        del self._connections[connection]
        group = access.group(connection.address)
        self._per_address[group] -= 1
        if not self._per_address[group]:
            del self._per_address[group]
        if not self._connections:
            self._rest()

    def _rest(self) -> None:
        """Nobody is here: wait for the next one, but not for ever."""
        if self._connections:
            return
        if self._aged or not self._accepting:
            self._leave()
        elif self._idle_exit_s is not None:
            self._idle_timer = self._loop.call_later(self._idle_exit_s, self._leave)

    def _age(self) -> None:
        """Too old: leave at the next quiet moment, and if there is none, make one.

        Callers who wait for a run are let wait where that does no harm, but not for ever. Nobody else is
        owed more than an answer to what has come already.
        """
        if self._waited_for() and self._loop.time() < self._began + MAX_WAITED_AGE_S:
            self._loop.call_later(AGED_LOOK_S, self._age)
        else:
            self._stop()

    def _waited_for(self) -> bool:
        """Whether somebody waits who may wait on. With TLS nobody may: one after the other could keep
        a newer CRL out. With a process of its own neither: it holds a place that others need."""
        try:
            shared = bool(self._sockets) and self._context() is None
        except ConfigError:
            shared = False
        return shared and any(connection.waiting for connection in self._connections)

    def _stop(self) -> None:
        """Told to stop, or too old: who waits is told where to look, what has come is answered."""
        self._aged = True
        self._accept(on=False)
        for connection in list(self._connections):
            connection.stop()
        self._loop.call_later(STOP_GRACE_S, self._give_up_all)
        self._rest()

    def _give_up_all(self) -> None:
        """Who has not come through the handshake by now has not asked for anything."""
        for connection in list(self._beginning):
            self._give_up(connection)

    def _leave(self) -> None:
        """End. Nothing is accepted from here on; what arrives stays in the backlog, and STOPPING=1
        makes systemd queue the start that it causes."""
        if not self._done.done():
            self._accept(on=False)
            activation.notify("STOPPING=1")
            self._done.set_result(None)
