"""No request can be read in two ways: what another recipient might read differently is refused, and
with it everything after it.

Each attack carries a second request in the place where a recipient with another reading would see
one. It gets one refusal and the end of the connection. The names follow the literature (James
Kettle, "HTTP Desync Attacks", 2019; RFC 9112 section 11.2).
"""

from __future__ import annotations

import pytest

from tests.unit.echo import Echo
from tests.unit.wire import visit

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
SECOND = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

ATTACKS = {
    # Content-Length and Transfer-Encoding
    "cl-te": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "te-cl": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + SECOND,
    "te-in-capitals": POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n" + SECOND,
    "te-unknown": POST + b"Content-Length: 0\r\nTransfer-Encoding: xchunked\r\n\r\n" + SECOND,
    "te-identity": POST + b"Content-Length: 0\r\nTransfer-Encoding: identity\r\n\r\n" + SECOND,
    "te-twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n" + SECOND,
    "te-list": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "te-http-1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "te-vertical-tab": POST + b"Content-Length: 0\r\nTransfer-Encoding: \x0bchunked\r\n\r\n" + SECOND,
    "te-space-before-colon": POST + b"Content-Length: 0\r\nTransfer-Encoding : chunked\r\n\r\n" + SECOND,
    "te-tab-before-colon": POST + b"Content-Length: 0\r\nTransfer-Encoding\t: chunked\r\n\r\n" + SECOND,
    "te-folded": POST + b"Content-Length: 0\r\nTransfer-Encoding:\r\n chunked\r\n\r\n" + SECOND,
    "te-in-a-folded-header": POST
    + b"Content-Length: 0\r\nX: y\r\n\tTransfer-Encoding: chunked\r\n\r\n"
    + SECOND,
    "te-behind-a-bare-lf": POST + b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "te-behind-a-bare-cr": POST + b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "chunk-extension": POST + b"Transfer-Encoding: chunked\r\n\r\n0;x=\r\n\r\n" + SECOND,
    # Content-Length
    "cl-cl": POST + b"Content-Length: 0\r\nContent-Length: 35\r\n\r\n" + SECOND,
    "cl-cl-equal": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + SECOND,
    "cl-cl-apart": POST + b"Content-Length: 0\r\nX: y\r\ncontent-length: 0\r\n\r\n" + SECOND,
    "cl-list": POST + b"Content-Length: 0, 35\r\n\r\n" + SECOND,
    "cl-list-equal": POST + b"Content-Length: 0, 0\r\n\r\n" + SECOND,
    "cl-plus": POST + b"Content-Length: +0\r\n\r\n" + SECOND,
    "cl-minus": POST + b"Content-Length: -0\r\n\r\n" + SECOND,
    "cl-negative": POST + b"Content-Length: -1\r\n\r\n" + SECOND,
    "cl-hexadecimal": POST + b"Content-Length: 0x0\r\n\r\n" + SECOND,
    "cl-underscore": POST + b"Content-Length: 0_0\r\n\r\n" + SECOND,
    "cl-fraction": POST + b"Content-Length: 0.0\r\n\r\n" + SECOND,
    "cl-empty": POST + b"Content-Length:\r\n\r\n" + SECOND,
    "cl-word": POST + b"Content-Length: none\r\n\r\n" + SECOND,
    "cl-two-numbers": POST + b"Content-Length: 0 35\r\n\r\n" + SECOND,
    "cl-arabic-digit": POST + "Content-Length: \u0660\r\n\r\n".encode() + SECOND,
    "cl-space-before-colon": POST + b"Content-Length : 35\r\n\r\n" + SECOND,
    "cl-nul": POST + b"Content-Length: 0\x00\r\n\r\n" + SECOND,
    # lines
    "lf-in-the-request-line": b"GET / HTTP/1.1\nHost: a\r\n\r\n" + SECOND,
    "lf-in-a-header": b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n" + SECOND,
    "lf-at-the-end": b"GET / HTTP/1.1\r\nHost: a\r\n\n" + SECOND,
    "lf-everywhere": b"GET / HTTP/1.1\nHost: a\n\n" + SECOND,
    "cr-in-the-request-line": b"GET / HTTP/1.1\rHost: a\r\n\r\n" + SECOND,
    "cr-in-a-value": b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n" + SECOND,
    "cr-before-crlf": b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n" + SECOND,
    "fold-after-the-request-line": b"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n" + SECOND,
    "fold-of-blanks-only": b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n" + SECOND,
    "no-colon": b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n" + SECOND,
    "no-name": b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n" + SECOND,
    "two-spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND,
    "a-second-version": b"GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND,
    "bell-in-a-value": b"GET / HTTP/1.1\r\nHost: a\r\nX: y\x07\r\n\r\n" + SECOND,
    "escape-in-a-value": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n" + SECOND,
    "delete-in-a-value": b"GET / HTTP/1.1\r\nHost: a\r\nX: y\x7f\r\n\r\n" + SECOND,
    # targets
    "target-without-its-slash": b"GET smuggled HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND,
    "target-of-connect": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND,
    "target-of-connect-with-get": b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND,
    "target-of-options": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND,
    "target-with-a-fragment": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND,
    "target-with-a-backslash": b"GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND,
    "target-of-another-scheme": b"GET file:///smuggled HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND,
    "target-without-a-host": b"GET http:/smuggled HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND,
    "two-hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + SECOND,
}
attacks = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


@attacks
async def test_gets_one_refusal_and_the_end(attack: bytes) -> None:
    echo = Echo()
    async with visit(echo) as client:
        await client.send(attack)
        answer = await client.answer()
        await client.end()
    assert answer.status in (400, 411)
    assert (answer.headers["connection"], echo.seen) == ("close", [])


@attacks
async def test_gets_no_more_byte_by_byte(attack: bytes) -> None:
    echo = Echo()
    async with visit(echo) as client:
        await client.send_bytewise(attack)
        answer = await client.answer()
        await client.end()
    assert answer.status in (400, 411)
    assert (answer.headers["connection"], echo.seen) == ("close", [])


async def test_without_a_length_there_is_no_body() -> None:
    echo = Echo()
    async with visit(echo) as client:
        await client.send(POST + b"\r\n" + SECOND)
        await client.answer(b"POST")
        await client.answer()
    assert [(seen.target, seen.body) for seen in echo.seen] == [("/", b""), ("/smuggled", b"")]


async def test_within_the_length_everything_is_body() -> None:
    echo = Echo()
    async with visit(echo) as client:
        await client.send(POST + b"Content-Length: 35\r\n\r\n" + SECOND)
        await client.answer(b"POST")
        client.half_close()
        await client.end()
    assert [(seen.target, seen.body) for seen in echo.seen] == [("/", SECOND)]
