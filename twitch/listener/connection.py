"""One connection in time: deadlines, waiting for a run, answers in order, and a clean end.

Everything that a stranger can make slow is bounded here; the bytes are `http`'s, the meaning is the
service's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from typing import Callable, Optional, Protocol

from twitch.errors import HTTPError
from twitch.listener import tls
from twitch.listener.exchange import Exchange, Request, Response

log = logging.getLogger(__name__)

# From the first moment of a request (or of the connection) to its last byte. In total, not from
# byte to byte, or a client that sends one byte in nine seconds could stay for two days.
REQUEST_TIMEOUT_S = 10
# Between two requests of a connection that is kept alive.
KEEP_ALIVE_S = 5
# For the client to take an answer that did not fit into the kernel's buffer.
WRITE_TIMEOUT_S = 10
# For a request that is on its way when the listener is told to stop.
STOP_GRACE_S = 1
# After our half of the connection is shut down, for the client to shut down its own. Closing at
# once would send a reset over unread input, and the reset can destroy the answer on its way
# (RFC 9112 section 9.6).
LINGER_S = 2
# Of requests that come while another one is answered: about one, at its largest.
MAX_AHEAD_BYTES = 32 * 1024

TOO_SLOW = (408, f"The request was not complete after {REQUEST_TIMEOUT_S} s")

Pause = Callable[[float], Awaitable[bool]]


class Service(Protocol):
    """What a connection asks, of whoever knows what requests mean."""

    def admit(self, address: str) -> None:
        """Raise `HTTPError` if nobody at this address is to be heard."""

    async def respond(self, request: Request, pause: Pause) -> Response:
        """Answer a complete request; may raise `HTTPError`.

        `await pause(seconds)` waits, and returns True when there is no point in waiting on: the
        client has left, or has nothing more to say, or this listener must leave.
        """

    def dropped(self, address: str, why: str) -> None:
        """Note a connection that never became one, such as a handshake that failed."""

    def explain(self, address: str, request: Optional[Request], error: HTTPError) -> Response:
        """Put an error into words, for a request or (None) for bytes that never became one."""


class Connection(asyncio.Protocol):
    """A connection from the first byte to the last; `closed` is called once, when it is gone."""

    def __init__(
        self, address: str, service: Service, closed: Callable[[Connection], None], *, local: bool = False
    ) -> None:
        self.address = address
        self._local = local  # the client is on this machine
        self.last_one = False  # close after the next answer
        self.waiting = False  # a complete request waits for a run to end
        self._service = service
        self._closed = closed
        self._exchange = Exchange(address, lambda: service.admit(address))
        self._answering: Optional[asyncio.Task[None]] = None
        self._waiting_ends: Optional[asyncio.Future[None]] = None
        self._connected = False
        self._answered = False  # at least one request
        self._begun = False  # a byte of the present request has arrived
        self._blocked = False  # the client does not take our bytes
        self._lingering = False
        self._lost = False  # up to Python 3.10 a TLS transport does not say so itself

    # ---- what asyncio calls (asyncio.Protocol)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._connected = True
        self._secure = transport.get_extra_info("ssl_object") is not None
        self._certificate = transport.get_extra_info("peercert")  # None if the client has shown none
        # pause_writing() comes for the first byte not taken.
        if self._secure:
            # asyncio.sslproto pauses at its limit, not beyond it (Python >= 3.11): with 0 it would
            # pause for ever. And it still holds the end of the handshake here.
            self._loop.call_soon(transport.set_write_buffer_limits, 1, 0)
        else:
            transport.set_write_buffer_limits(high=0)
        patience_s = STOP_GRACE_S if self.last_one else REQUEST_TIMEOUT_S
        self._timer = self._loop.call_later(patience_s, self._too_slow)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        if self._lingering:
            return
        self._exchange.receive(data)
        if self._answering or self._blocked:
            # The next request has come early. We read on for as long as that is little, or the
            # client's leaving would not be heard; the rest stays in the kernel.
            if self._exchange.ahead > MAX_AHEAD_BYTES:
                self._transport.pause_reading()
            return
        if self._answered and not self._begun:
            self._set_timer(REQUEST_TIMEOUT_S, self._too_slow)
        self._begun = True
        self._read()

    def eof_received(self) -> bool:  # noqa: D102
        if self._lingering:
            return False
        self._exchange.receive(b"")
        if self._answering:
            # Gone, or only done with sending (`nc -N`): whoever waits is told where to look.
            self._stop_waiting()
        else:
            self._read()
        return not self._secure  # TLS, in asyncio, knows no half of a connection

    def pause_writing(self) -> None:  # noqa: D102
        self._blocked = True
        self._set_timer(WRITE_TIMEOUT_S, self.abort)

    def resume_writing(self) -> None:  # noqa: D102
        self._blocked = False
        if self._lingering:
            self._set_timer(LINGER_S, self.abort)
        elif not self._answering:
            self._next()

    def connection_lost(self, exc: Optional[Exception]) -> None:  # noqa: D102
        self._lost = True
        self._timer.cancel()
        self._stop_waiting()
        self._closed(self)

    # ---- what the listener calls

    @property
    def connected(self) -> bool:
        """Whether asyncio has taken it over, and will say when it is lost."""
        return self._connected

    @property
    def dispensable(self) -> bool:
        """It is there and nothing is being answered on it."""
        return self._connected and not self._answering and not self._transport.is_closing()

    def stop(self) -> None:
        """Tell who waits where to look, answer what has been asked already, and end."""
        self.last_one = True
        self._stop_waiting()
        if not self._connected or self._answering or self._lingering:
            return
        if self._blocked:
            self._set_timer(STOP_GRACE_S, self.abort)
        elif self._answered and not self._begun:
            self._linger()  # kept alive for nothing
        else:
            self._set_timer(STOP_GRACE_S, self._too_slow)  # its request may be in the kernel already

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()

    def refuse(self, error: HTTPError) -> None:
        """Answer with an error where no request is being answered, and end."""
        response = self._service.explain(self.address, None, error)
        self._send(response._replace(close=True))

    # ---- one request after the other

    def _read(self) -> None:
        try:
            request = self._exchange.next_request()
        except HTTPError as error:
            self.refuse(error)
            return
        if request:
            self._timer.cancel()
            self._waiting_ends = self._loop.create_future()
            shown = request._replace(local=self._local, secure=self._secure)
            self._answering = self._loop.create_task(self._answer(shown))
        elif self._exchange.closed:
            self._linger()
        else:
            self._transport.write(self._exchange.go_on())

    async def _answer(self, request: Request) -> None:
        try:
            name = tls.certname(self._certificate) if self._certificate else None
            response = await self._service.respond(request._replace(certname=name), self._pause)
        except HTTPError as error:
            response = self._service.explain(self.address, request, error)
        except Exception:
            # Ours, not the caller's: the journal gets the traceback, the caller a sentence.
            log.exception("%s %s failed", request.method, ascii(request.target))
            text = "Internal error; journalctl -u 'puppet-twitch*' on the node says more"
            response = self._service.explain(self.address, request, HTTPError(500, text, close=True))
        self._answering, self._answered, self.waiting = None, True, False
        if not self._lost and not self._transport.is_closing():
            self._send(response)
            self._next()

    def _send(self, response: Response) -> None:
        self._transport.write(self._exchange.send(response, last=self.last_one))
        if not self._exchange.reusable:
            self._linger()

    def _next(self) -> None:
        """Begin the next request of this connection, once the client has taken the last answer."""
        if self._blocked or self._lingering or not self._exchange.reusable:
            return
        self._begun = self._exchange.start_next()
        if self.last_one and not self._begun:
            self._linger()
            return
        self._set_timer(REQUEST_TIMEOUT_S if self._begun else KEEP_ALIVE_S, self._too_slow)
        if self._exchange.ahead <= MAX_AHEAD_BYTES:
            self._transport.resume_reading()
        self._read()

    # ---- waiting

    async def _pause(self, seconds: float) -> bool:
        assert self._waiting_ends is not None
        self.waiting = True
        await asyncio.wait({self._waiting_ends}, timeout=seconds)
        return self._waiting_ends.done() or self.last_one

    def _stop_waiting(self) -> None:
        if self._waiting_ends and not self._waiting_ends.done():
            self._waiting_ends.set_result(None)

    def _too_slow(self) -> None:
        if self._begun:
            self.refuse(HTTPError(*TOO_SLOW))
        else:
            self._linger()  # it never asked for anything: nothing to answer

    def _set_timer(self, seconds: float, action: Callable[[], None]) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_later(seconds, action)

    # ---- leaving

    def _linger(self) -> None:
        """Shut our half down, wait briefly for the client to do the same, then close.

        With Accept=yes PID 1 holds a copy of this connection until the unit ends, so only
        shutdown() gives the client its end-of-file.
        """
        if self._lingering or self._transport.is_closing():
            return
        self._lingering = True
        if self._transport.can_write_eof():
            with contextlib.suppress(OSError):  # the answer's own way there was met by a reset
                self._transport.write_eof()
        if self._exchange.ended or not self._transport.can_write_eof():
            self._transport.close()  # the client was first: there is nothing to wait for
        else:
            self._transport.resume_reading()
        self._set_timer(WRITE_TIMEOUT_S if self._blocked else LINGER_S, self.abort)
