"""One connection in time: deadlines, waiting for a run, answers in order, and a clean end.

Everything that a client can make slow is bounded here. The bytes are `exchange.py`'s, and what a request
means is the service's. A connection is in one of eight states:

    NEW        not connected yet: the listener checks the client, or TLS shakes hands
    FRESH      connected; no byte of a request has arrived
    READING    a part of a request has arrived
    ANSWERING  a request is complete, and the service answers it
    SENDING    the answer is written, and the client has not taken all of it
    KEPT       the client has the answer; no byte of the next request has arrived
    LINGERING  our half is shut down; the client may still read, and has to shut down its own
    LOST       the connection is gone

What each event does in each state (a dash: nothing):

    state      bytes arrive   end-of-file        answer     deadline               stop()
    NEW        -              -                  -          (the handshake's)      FRESH gets STOP_GRACE_S
    FRESH      READING        LINGERING          -          LINGERING              STOP_GRACE_S
    READING    ANSWERING, if  400, LINGERING     -          408, LINGERING         STOP_GRACE_S
               complete
    ANSWERING  read ahead     stop waiting       SENDING    LOST (of a part)       stop waiting
    SENDING    read ahead     remembered         -          LOST                   STOP_GRACE_S
    KEPT       READING        LINGERING          -          LINGERING              LINGERING
    LINGERING  -              LOST               -          LOST                   -

When the client has taken the answer, SENDING is followed by READING if bytes of the next request have been
read ahead, by LINGERING if no request may follow, and else by KEPT. LOST may follow every state.

A request that is not the first of its connection is paced: READING becomes ANSWERING only when `pace` calls,
because the bytes that have arrived may be a complete request. A connection that has ended by then executes
no request, and one that was told to leave and has only a part of a request is followed by LINGERING.

The service may answer with a body in parts (`Response.body`). They are sent in ANSWERING, each when the
client has taken the one before; a client that takes nothing for WRITE_TIMEOUT_S is LOST. If the service
fails between two parts, the connection is aborted, so that the client cannot take what it has for all. A
body that ends too early (`Unfinished`) is sent as far as it goes, and LINGERING follows without the last
chunk, for the same reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Any, Callable, Optional, Protocol

from twitch.listener import tls
from twitch.listener.exchange import Exchange, HTTPError, Request, Response, Unfinished
from twitch.listener.pause import RUN, Pause

log = logging.getLogger(__name__)

# From the first moment of a request (or of the connection) to its last byte. The limit is for the total,
# not from byte to byte: a client that sends one byte in nine seconds could stay for two days.
REQUEST_TIMEOUT_S = 10
# Between two requests of a connection that is kept alive.
KEEP_ALIVE_S = 5
# For the client to take an answer that did not fit into the kernel's buffer.
WRITE_TIMEOUT_S = 10
# For a request that is on its way when the listener stops.
STOP_GRACE_S = 1
# After our half of the connection is shut down, for the client to shut down its own. Closing at
# once would send a reset over unread input, and the reset can destroy the answer on its way
# (RFC 9112 section 9.6).
LINGER_S = 2
# Requests that arrive while another one is answered: about one, at its largest.
MAX_AHEAD_BYTES = 32 * 1024

TOO_SLOW = (408, f"The request was not complete after {REQUEST_TIMEOUT_S} s")

NEW, FRESH, READING, ANSWERING = "new", "fresh", "reading", "answering"
SENDING, KEPT, LINGERING, LOST = "sending", "kept", "lingering", "lost"
# state -> the states that may follow it.
MAY_FOLLOW = {
    NEW: (FRESH, LOST),
    FRESH: (READING, LINGERING, LOST),
    READING: (ANSWERING, LINGERING, LOST),
    ANSWERING: (SENDING, LOST),
    SENDING: (READING, KEPT, LINGERING, LOST),
    KEPT: (READING, LINGERING, LOST),
    LINGERING: (LOST,),
    LOST: (),
}

# Raises `HTTPError` if the certificate that the client has shown, or its connection, is good no longer.
Vet = Callable[[Mapping[str, Any]], Awaitable[None]]


class Service(Protocol):
    """What a connection needs from the API."""

    def admit(self, address: str) -> None:
        """Raise `HTTPError` if no client at this address is accepted."""

    async def respond(self, request: Request, pause: Pause) -> Response:
        """Return the answer to a complete request; may raise `HTTPError`."""

    def dropped(self, address: str, why: str) -> None:
        """Count a connection that ended before its first request, such as after a failed handshake."""

    def explain(self, address: str, request: Optional[Request], error: HTTPError) -> Response:
        """Return the answer for an error in a request, or (None) in bytes that never became a request."""


class Connection(asyncio.Protocol):
    """A connection from the first byte to the last; `closed` is called once, when it is gone."""

    def __init__(
        self,
        address: str,
        service: Service,
        closed: Callable[[Connection], None],
        *,
        local: bool = False,
        may_wait: Callable[[Connection], bool] = lambda connection: True,
        pace: Callable[[Callable[[], None]], None] = lambda step: step(),
    ) -> None:
        """`may_wait` says whether a request of this connection may wait for a run (room.py); `pace` calls
        what reads a request that is not the first one (loop_pace.py)."""
        self.address = address
        self.state = NEW
        self.answers = 0  # that have been given on this connection
        self.leaving_since = 0.0  # by the loop's clock; 0 while it stays
        self.vet: Optional[Vet] = None  # for each request over TLS
        self._may_wait = may_wait
        self._pace = pace
        self._paced = False  # `pace` is going to call
        self._named_before = False  # the last request was that of a named caller
        self._last_one = False  # close after the next answer
        self._blocked = False  # the client does not take our bytes
        self._lost = False  # connection_lost() is going to be called
        self._local = local  # the client is on this machine
        self._service = service
        self._closed = closed
        self._exchange = Exchange(address, lambda: service.admit(address))
        self._answering: Optional[asyncio.Task[None]] = None
        self._taken: Optional[asyncio.Future[None]] = None  # done when the client has taken a part
        self._pause: Optional[Pause] = None  # of the request that is being answered

    # ---- what asyncio calls (asyncio.Protocol)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._enter(FRESH)
        self._secure = transport.get_extra_info("ssl_object") is not None
        self._certificate = transport.get_extra_info("peercert")  # None if the client has shown none
        # pause_writing() is to be called for the first byte that the client does not take.
        if self._secure:
            # asyncio.sslproto pauses at its limit, not beyond it (Python >= 3.11): with 0 it would
            # pause for ever. And it still holds the end of the handshake here.
            self._loop.call_soon(transport.set_write_buffer_limits, 1, 0)
            tls.bound_ahead(transport)
        else:
            transport.set_write_buffer_limits(high=0)
        patience_s = STOP_GRACE_S if self._last_one else REQUEST_TIMEOUT_S
        self._timer = self._loop.call_later(patience_s, self._too_slow)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        if self.state == LINGERING:
            return
        self._exchange.receive(data)
        if self.state in (ANSWERING, SENDING):
            # The next request has come early. We read on for as long as that is little, or the end of the
            # connection would not be noticed; the rest stays in the kernel.
            if self._exchange.ahead > MAX_AHEAD_BYTES:
                self._read_from_client(on=False)
            return
        if self.state == KEPT:
            self._set_timer(REQUEST_TIMEOUT_S, self._too_slow)
        if self.state != READING:
            self._enter(READING)
        self._read_on()

    def eof_received(self) -> bool:  # noqa: D102
        if self.state == LINGERING:
            return False
        self._exchange.receive(b"")
        if self.state == ANSWERING:
            # Gone, or only done with sending (`nc -N`): a caller who waits is told where to look.
            self.stop_waiting()
        elif self.state != SENDING:
            self._read()
        return not self._secure  # TLS, in asyncio, knows no half of a connection

    def pause_writing(self) -> None:  # noqa: D102
        self._blocked = True
        if self.state != READING:  # there it is `100 Continue`, and the deadline of the request holds
            self._set_timer(WRITE_TIMEOUT_S, self.abort)

    def resume_writing(self) -> None:  # noqa: D102
        self._blocked = False
        if self.state == LINGERING:
            self._set_timer(LINGER_S, self.abort)
        elif self.state == SENDING:
            self._next()
        elif self.state == ANSWERING:
            self._timer.cancel()
            self._part_taken()

    def connection_lost(self, exc: Optional[Exception]) -> None:  # noqa: D102
        self._enter(LOST)
        self._timer.cancel()
        self.stop_waiting()
        self._part_taken()
        self._closed(self)

    # ---- what the listener calls

    @property
    def idle(self) -> bool:
        """Whether no request is unanswered, so that this connection can be closed."""
        if self.unanswered:
            return False
        return self.state == NEW or (self.state != LOST and not self._transport.is_closing())

    @property
    def paced(self) -> bool:
        """Whether bytes have arrived, perhaps a complete request, and `pace` is going to call."""
        return self._paced and self.state == READING

    @property
    def unanswered(self) -> bool:
        """Whether a complete request has, or may have, arrived and is not answered. One whose anonymous
        caller does not take a part of the answer does not count."""
        if self.state == ANSWERING:
            stuck = self._taken is not None and not self._taken.done()
            return self.named or not stuck
        return self.paced

    @property
    def waits_for(self) -> Optional[str]:
        """What the request that is being answered waits for: RUN, ROOT or None."""
        return self._pause.waits_for if self._pause else None

    @property
    def waiting(self) -> bool:
        """Whether a complete request waits for a run to end."""
        return self.waits_for == RUN

    @property
    def named(self) -> bool:
        """Whether the request that is being answered is that of a named caller, or, while the next one is
        paced, whether the last one was."""
        return self._pause.named if self._pause else self.paced and self._named_before

    @property
    def shakes_hands(self) -> bool:
        """Whether the client has begun a TLS handshake, and no byte of a request has been decrypted."""
        return self.vet is not None and self.state in (NEW, FRESH)

    @property
    def leaving(self) -> bool:
        """Whether it ends with the answer that is being given, or has ended on our side."""
        return self.leaving_since > 0

    @property
    def answered(self) -> bool:
        """Whether the client, or the kernel, has the last answer to a request, so that it can be closed."""
        return self.state == LINGERING and self.answers > 0 and not self._blocked

    def leave(self) -> None:
        """Make room for another connection: end with the answer to the request that has arrived, and wait for
        nothing."""
        self._last_one = True
        self.leaving_since = asyncio.get_running_loop().time()
        if self._pause:
            self._pause.end(displaced=True)

    def stop_waiting(self) -> None:
        """Tell a caller that waits for a run where to look."""
        if self._pause:
            self._pause.end()

    def stop(self) -> None:
        """Tell a caller who waits where to look, answer what has been asked already, and end."""
        self._last_one = True
        self.stop_waiting()
        if self.state == KEPT:
            self._linger()
        elif self.state == SENDING:
            self._set_timer(STOP_GRACE_S, self.abort)
        elif self.state in (FRESH, READING):
            self._set_timer(STOP_GRACE_S, self._too_slow)  # its request may be in the kernel already

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()

    def refuse(self, error: HTTPError) -> None:
        """Answer with an error where no request is being answered, and end."""
        response = self._service.explain(self.address, None, error)
        self._transport.write(self._exchange.send(response._replace(close=True), last=self._last_one))
        self._linger()

    # ---- one request after the other

    @property
    def _open(self) -> bool:
        # Up to Python 3.10 a TLS transport does not report that it is closing, hence the first two.
        return self.state != LOST and not self._lost and not self._transport.is_closing()

    def _enter(self, state: str) -> None:
        assert state in MAY_FOLLOW[self.state], f"{state} does not follow {self.state}"
        log.debug("%s: %s", self.address, state)
        self.state = state

    def _read(self) -> None:
        try:
            request = self._exchange.next_request()
        except HTTPError as error:
            self.refuse(error)
            return
        if request:
            self._timer.cancel()
            self._enter(ANSWERING)
            self._pause = Pause(lambda: self._may_wait(self))
            if self._last_one:
                self._pause.end()
            complete = request._replace(local=self._local, secure=self._secure)
            self._answering = self._loop.create_task(self._answer(complete))
        elif self._exchange.closed:
            self._linger()
        else:
            self._transport.write(self._exchange.go_on())

    async def _answer(self, request: Request) -> None:
        assert self._pause is not None
        response, whole = await self._response(request, self._pause), True
        if not isinstance(response.body, bytes):
            whole = await self._send_parts(request, response, response.body)
        self._named_before, self._pause = self._pause.named, None
        self.answers += 1
        if not self._open:
            return
        self._enter(SENDING)
        if isinstance(response.body, bytes):
            self._transport.write(self._exchange.send(response, last=self._last_one))
        elif whole:
            self._transport.write(self._exchange.end())
        if not self._exchange.reusable:
            self._linger()
        elif not self._blocked:
            self._next()

    async def _send_parts(
        self, request: Request, response: Response, parts: AsyncGenerator[bytes, None]
    ) -> bool:
        """Send the head and the parts of a body, each when the client has taken the one before.

        Return whether the client has all of it.
        """
        try:
            if self._open:
                self._transport.write(self._exchange.begin(response, last=self._last_one))
            while self._open and request.method != "HEAD":
                if self._blocked:
                    self._taken = self._loop.create_future()
                    await self._taken
                    continue
                self._transport.write(self._exchange.part(await parts.__anext__()))
        except StopAsyncIteration:
            pass
        except Unfinished:
            return False
        except Exception:
            log.exception("%s %s failed after the head of the answer", request.method, ascii(request.target))
            self.abort()
        finally:
            await parts.aclose()
        return True

    def _part_taken(self) -> None:
        if self._taken and not self._taken.done():
            self._taken.set_result(None)

    async def _response(self, request: Request, pause: Pause) -> Response:
        try:
            if self._certificate:
                request = request._replace(certname=tls.certname(self._certificate))
            if self.vet:
                await self.vet(self._certificate or {})
            return await self._service.respond(request, pause)
        except HTTPError as error:
            return self._service.explain(self.address, request, error)
        except Exception:
            # Our fault, not the caller's: the journal gets the traceback, the caller a sentence.
            log.exception("%s %s failed", request.method, ascii(request.target))
            text = "Internal error; journalctl -u 'puppet-twitch*' on the node says more"
            return self._service.explain(self.address, request, HTTPError(500, text, close=True))

    def _next(self) -> None:
        """Begin the next request of this connection: the client has taken the last answer."""
        begun = self._exchange.start_next()
        if self._last_one and not begun:
            self._linger()
            return
        self._enter(READING if begun else KEPT)
        self._set_timer(REQUEST_TIMEOUT_S if begun else KEEP_ALIVE_S, self._too_slow)
        if begun:
            self._read_on()
        else:
            self._read_from_client(on=True)
            self._read()  # the client's end-of-file, perhaps

    def _read_on(self) -> None:
        """Read what has arrived of a request: at once of the first one, else when `pace` says so."""
        if not self.answers:
            self._read()
            return
        if self._exchange.ahead > MAX_AHEAD_BYTES:
            self._read_from_client(on=False)
        if not self._paced:
            self._paced = True
            self._pace(self._read_paced)

    def _read_paced(self) -> None:
        self._paced = False
        if self.state != READING:
            return
        if self._exchange.ahead <= MAX_AHEAD_BYTES:
            self._read_from_client(on=True)
        if not self._open:
            return  # the room has closed the connection, or the client has: there is nobody to answer
        self._read()
        if self.state == READING and self.leaving:
            self._linger()  # a part of a request keeps no place: it may never become a whole one

    def _read_from_client(self, *, on: bool) -> None:
        """Let the transport read, or pause.

        Up to Python 3.10, SSLProtocol.connection_lost() forgets the TCP transport and has our own
        connection_lost() called in the next pass. Until then these two methods of a TLS transport raise
        AttributeError, on None, and is_closing() is false.
        """
        try:
            if on:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
        except AttributeError:
            if not self._secure:
                raise
            self._lost = True

    # ---- too slow

    def _too_slow(self) -> None:
        if self.state == READING:
            self.refuse(HTTPError(*TOO_SLOW))
        else:
            self._linger()  # no byte of a request has arrived: there is nothing to answer

    def _set_timer(self, seconds: float, action: Callable[[], None]) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_later(seconds, action)

    # ---- the end

    def _linger(self) -> None:
        """Shut our half down, wait briefly for the client to do the same, then close.

        With Accept=yes PID 1 holds a copy of this connection until the unit ends, so only
        shutdown() gives the client its end-of-file.
        """
        if self.state == LINGERING or self._transport.is_closing():
            return
        self._enter(LINGERING)
        self.leaving_since = self.leaving_since or self._loop.time()
        if self._transport.can_write_eof():
            with contextlib.suppress(OSError):  # the client has sent a reset meanwhile
                self._transport.write_eof()
        if self._exchange.ended or not self._transport.can_write_eof():
            self._transport.close()  # the client was first: there is nothing to wait for
        else:
            self._read_from_client(on=True)
        self._set_timer(WRITE_TIMEOUT_S if self._blocked else LINGER_S, self.abort)
