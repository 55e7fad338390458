"""HTTP/1.1 without sockets or clocks: bytes in, `Request` out, `Response` in, bytes out, over h11.

Everything that a client can make large is bounded here; what can be slow is bounded in `connection.py`.
What a request means is not known here.
"""

from __future__ import annotations

import http
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Callable, NamedTuple, Optional, Union

import h11

from twitch.errors import TwitchError

# The longest honest request is a POST with tags and an environment, a few hundred bytes. The head's
# bound is h11's own default; Apache's is 8 KiB a line, node's 16 KiB a head.
MAX_HEAD_BYTES = 16 * 1024
MAX_TARGET_BYTES = 2 * 1024
MAX_BODY_BYTES = 16 * 1024

# The RFCs let a recipient repair these (RFC 9112 sections 2.2, 5.2 and 6.3, RFC 9110 section 5.5), and h11
# does. A proxy on the way that repairs them differently sees another request than we do, which is how one
# is smuggled.
AMBIGUOUS = re.compile(
    rb"""
    (?<!\r)\n                                     # a line that ends in LF alone
    | \n[ \t]                                     # a line that continues the one before
    | \ncontent-length: ([^\r]*, | .*\ncontent-length:)  # two lengths, even if they are equal
    | [\x00-\x08\x0b\x0c\x0e-\x1f\x7f]            # a control character in a value
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)

# `uri-host` (RFC 3986 section 3.2.2), which is a name, an IPv4 address or an IPv6 address in brackets.
IP_LITERAL, NAME_CHARACTER = rb"\[[0-9A-Fa-f:.]+\]", rb"([A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"

# RFC 9112 section 3.2: a path, a URL as in requests to proxies, or `*`, which only OPTIONS may name. A URL
# without a host is invalid, and one with userinfo is to be treated as an error (RFC 9110 sections 4.2.1 and
# 4.2.4), because it disguises the host.
URL = rb"https?://(%b|%b+)(:[0-9]*)?(?=[/?]|\Z)" % (IP_LITERAL, NAME_CHARACTER)
TARGET = re.compile(rb"OPTIONS \*|[^ ]+ (/|%b)[^#\\]*" % URL, re.IGNORECASE)

# RFC 9112 section 3.2: a Host that is not `uri-host [":" port]` is answered 400; it may be empty.
HOST = re.compile(rb"(%b|%b*)(:[0-9]*)?" % (IP_LITERAL, NAME_CHARACTER))

REASONS = {status.value: status.phrase for status in http.HTTPStatus}

BAD_REQUEST = (400, "Not a valid HTTP/1.1 request (RFC 9112); try curl")
NO_LENGTH = (411, "A body needs Content-Length; Transfer-Encoding is not accepted")
LONG_BODY = (413, f"The body is longer than {MAX_BODY_BYTES} bytes")
LONG_TARGET = (414, f"The request target is longer than {MAX_TARGET_BYTES} bytes")
LONG_LINE = (414, f"The request line is longer than {MAX_HEAD_BYTES} bytes")
LONG_HEAD = (431, f"The head of the request is longer than {MAX_HEAD_BYTES} bytes")
WRONG_VERSION = (505, "Only HTTP/1.0 and HTTP/1.1 are spoken here")


class HTTPError(TwitchError):
    """A request that is answered with `status` and this text.

    `headers` are added to the answer; `close` ends the connection after it, for requests after which the
    position in the byte stream is not certain. `reason` is for the journal: a few words that contain nothing
    of the request, where the status alone does not say enough (refusal_log.py).
    """

    def __init__(
        self,
        status: int,
        text: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        close: bool = False,
        reason: str = "",
    ) -> None:
        super().__init__(text)
        self.status = status
        self.headers = tuple(headers)
        self.close = close
        self.reason = reason
        self.caller = ""  # the name of the caller, if it is known when the request is refused


class Unfinished(Exception):  # no error: the client asks for the rest
    """A body in parts that ends before its end: the client must not take it for the whole."""


class Request(NamedTuple):
    """A complete request. Names of headers are in lower case; repeated ones are joined by `, `."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    address: str  # of the client
    local: bool = False  # the client is on this machine
    secure: bool = False  # it came over TLS
    certname: Optional[str] = None  # of the client's certificate, verified by TLS


class Response(NamedTuple):
    """An answer; its length, `Date` and `Connection` are added on the way out.

    A body in parts has no length beforehand: it is sent chunked, and to an HTTP/1.0 client up to the end
    of the connection.
    """

    status: int
    body: Union[bytes, AsyncGenerator[bytes, None]]
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False


class Exchange:
    """The bytes of one connection, one request after the other.

    `admit` is called after each head, before anything else of the request is looked at; it raises
    `HTTPError` if no client at this address is accepted.
    """

    def __init__(self, address: str, admit: Callable[[], None]) -> None:
        self._address = address
        self._admit = admit
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._head: Optional[h11.Request] = None
        self._body = bytearray()
        self.closed = False  # the client has ended the connection between two requests

    def receive(self, data: bytes) -> None:
        """Take bytes from the client; none at all is its end-of-file."""
        self._h11.receive_data(data)

    def next_request(self) -> Optional[Request]:
        """Return a request that is complete, or None while bytes are missing.

        Raises `HTTPError` for bytes that will never be a request we answer.
        """
        try:
            while True:
                unread = self._h11.trailing_data[0]
                event = self._h11.next_event()
                if isinstance(event, h11.Request):
                    self._head = event
                    self._check(event, unread[: len(unread) - self.ahead])
                elif isinstance(event, h11.Data):
                    self._body += event.data  # h11 holds it to the Content-Length that was checked
                elif isinstance(event, h11.EndOfMessage):
                    return self._request()
                else:
                    self.closed = isinstance(event, h11.ConnectionClosed)
                    return None
        except h11.RemoteProtocolError as error:
            raise self._fault(error) from error
        except ValueError as error:  # a Content-Length of more digits than int() takes
            raise HTTPError(*LONG_BODY) from error

    def go_on(self) -> bytes:
        """Return `100 Continue` for a client that waits for it before it sends its body, else nothing."""
        if not self._h11.they_are_waiting_for_100_continue:
            return b""
        interim = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
        return self._h11.send(interim) or b""

    def send(self, response: Response, *, last: bool) -> bytes:
        """Return the bytes of a whole answer; empty if h11 has seen that no client can read it."""
        assert isinstance(response.body, bytes)
        head = self.begin(response, last=last)
        return head and head + self.part(response.body) + self.end()

    def begin(self, response: Response, *, last: bool) -> bytes:
        """Return the bytes of the head of an answer; empty if h11 has seen that no client can read it."""
        length = [("Content-Length", str(len(response.body)))] if isinstance(response.body, bytes) else []
        headers = [*response.headers, *length, ("Date", _date())]
        if response.close or last:
            headers.append(("Connection", "close"))
        reason = REASONS.get(response.status, "").encode("ascii")
        return self._send(h11.Response(status_code=response.status, headers=headers, reason=reason))

    def part(self, data: bytes) -> bytes:
        """Return the bytes of a part of an answer's body; empty for an answer to HEAD, which has none."""
        if self._head and self._head.method == b"HEAD":
            return b""
        return self._send(h11.Data(data=data))

    def end(self) -> bytes:
        """Return the bytes that end an answer."""
        return self._send(h11.EndOfMessage())

    def _send(self, event: h11.Event) -> bytes:
        try:
            return self._h11.send(event) or b""
        except h11.LocalProtocolError:
            return b""

    @property
    def ended(self) -> bool:
        """Whether the client's end-of-file has arrived, behind unread requests or not."""
        return self._h11.trailing_data[1]

    @property
    def ahead(self) -> int:
        """How many bytes have arrived that are not part of a request yet."""
        return len(self._h11.trailing_data[0])

    @property
    def reusable(self) -> bool:
        """Whether another request may follow the one that was just answered."""
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    def start_next(self) -> bool:
        """Prepare for the next request; return whether bytes of it have arrived already."""
        self._h11.start_next_cycle()
        self._head = None
        self._body.clear()
        return self.ahead > 0

    def _check(self, head: h11.Request, raw: bytes) -> None:
        self._admit()
        headers = dict(head.headers)
        if not head.http_version.startswith(b"1."):
            raise HTTPError(*WRONG_VERSION)
        if len(head.target) > MAX_TARGET_BYTES:
            raise HTTPError(*LONG_TARGET)
        if len(raw) > MAX_HEAD_BYTES:  # h11 checks only a head that arrives in pieces
            raise HTTPError(*LONG_HEAD)
        if not TARGET.fullmatch(b"%b %b" % (head.method, head.target)):
            raise HTTPError(*BAD_REQUEST)
        if AMBIGUOUS.search(raw) or not HOST.fullmatch(headers.get(b"host", b"")):
            raise HTTPError(*BAD_REQUEST)
        if b"transfer-encoding" in headers:
            raise HTTPError(*NO_LENGTH)
        if int(headers.get(b"content-length", 0)) > MAX_BODY_BYTES:
            raise HTTPError(*LONG_BODY)

    def _request(self) -> Request:
        assert self._head is not None
        headers: dict[str, str] = {}
        for raw_name, raw_value in self._head.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        method, target = self._head.method.decode("ascii"), self._head.target.decode("ascii")
        return Request(method, target, headers, bytes(self._body), self._address)

    def _fault(self, error: h11.RemoteProtocolError) -> HTTPError:
        if error.error_status_hint == 431:
            return HTTPError(*(LONG_HEAD if b"\n" in self._h11.trailing_data[0] else LONG_LINE))
        if error.error_status_hint == 501:
            return HTTPError(*NO_LENGTH)
        return HTTPError(*BAD_REQUEST)


def unread(error: HTTPError) -> bytes:
    """Return an answer for a client whose request is not read; without h11, because crowds get it."""
    body = f"{error}\n".encode()
    fields = (
        *error.headers,
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("Content-Length", str(len(body))),
        ("Date", _date()),
        ("Connection", "close"),
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {error.status} {REASONS[error.status]}\r\n{head}\r\n".encode() + body


DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_date_cache = (0, "")


def _date() -> str:
    """Return the Date header (RFC 9110 section 5.6.7), formatted once a second.

    Unlike strftime's, its names of days and months are English in every locale.
    """
    global _date_cache
    now = int(time.time())
    if _date_cache[0] != now:
        utc = time.gmtime(now)
        day, month = DAYS[utc.tm_wday], MONTHS[utc.tm_mon - 1]
        clock = f"{utc.tm_hour:02}:{utc.tm_min:02}:{utc.tm_sec:02}"
        _date_cache = (now, f"{day}, {utc.tm_mday:02} {month} {utc.tm_year} {clock} GMT")
    return _date_cache[1]
