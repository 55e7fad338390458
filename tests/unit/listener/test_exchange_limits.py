"""Everything that a stranger can make large is refused by its own status, and the connection ends."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from tests.unit.echo import Echo
from tests.unit.wire import visit
from twitch.listener.exchange import HTTPError

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
MANY = b"".join(b"X-%d: x\r\n" % number for number in range(2000))

REFUSED = {
    "no-http": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"),  # the first bytes of TLS
    "http-0.9": (400, b"GET /\r\n\r\n"),
    "no-host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "host-with-a-broken-escape": (400, b"GET / HTTP/1.1\r\nHost: a%zz\r\n\r\n"),
    "host-with-a-future-address": (400, b"GET / HTTP/1.1\r\nHost: [v1.a]\r\n\r\n"),
    "two-hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "blank-line-first": (400, b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "space-in-target": (400, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "non-ascii-target": (400, "GET /é HTTP/1.1\r\nHost: a\r\n\r\n".encode()),
    "nul-in-a-header": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n"),
    "lower-case-http": (400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    "http-2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "http-0.8": (505, b"GET / HTTP/0.8\r\n\r\n"),
    "chunked": (411, HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
    "body-one-byte-too-long": (413, HEAD + b"Content-Length: 16385\r\n\r\n" + b"x" * 16385),
    "length-of-20-digits": (413, HEAD + b"Content-Length: " + b"9" * 20 + b"\r\n\r\n"),
    # More digits than Python turns into a number (sys.get_int_max_str_digits); h11 0.16 refuses more than 20.
    "length-of-5000-digits": (
        400 if version("h11") >= "0.16" else 413,
        HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    ),
    "target-one-byte-too-long": (414, b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 2048)),
    "target-that-never-ends": (414, b"GET /" + b"x" * 17000),
    "method-that-never-ends": (414, b"x" * 17000),
    "header-too-long": (431, HEAD + b"X: " + b"x" * 17000 + b"\r\n\r\n"),
    "header-of-blanks": (431, HEAD + b"X:" + b" " * 17000 + b"x\r\n\r\n"),
    "header-that-never-ends": (431, HEAD + b"X: " + b"x" * 17000),
    "too-many-headers": (431, HEAD + MANY + b"\r\n"),
    "head-one-byte-too-long": (431, HEAD + b"X: " + b"x" * (16384 - len(HEAD) - 7 + 1) + b"\r\n\r\n"),
}
refused = pytest.mark.parametrize(("status", "request_"), REFUSED.values(), ids=REFUSED)


@refused
async def test_is_refused_when_it_comes_whole(status: int, request_: bytes) -> None:
    echo = Echo()
    async with visit(echo) as client:
        await client.send(request_)
        answer = await client.answer()
        await client.end()
    assert (answer.status, answer.headers["connection"], echo.seen) == (status, "close", [])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("target-one-byte-too-long", "The request target is longer than 2048 bytes"),
        ("target-that-never-ends", "The request line is longer than 16384 bytes"),
        ("method-that-never-ends", "The request line is longer than 16384 bytes"),
        ("header-that-never-ends", "The head of the request is longer than 16384 bytes"),
    ],
)
async def test_what_was_too_long_is_said(name: str, text: str) -> None:
    async with visit(Echo()) as client:
        await client.send(REFUSED[name][1])
        assert (await client.answer()).text == text


@refused
async def test_is_refused_alike_when_it_comes_byte_by_byte(status: int, request_: bytes) -> None:
    echo = Echo()
    async with visit(echo) as client:
        await client.send_bytewise(request_)
        answer = await client.answer()
        await client.end()
    assert (answer.status, answer.headers["connection"], echo.seen) == (status, "close", [])


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"GET / HT", id="in-the-request-line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n", id="in-the-head"),
        pytest.param(HEAD + b"Content-Length: 9\r\n\r\nabc", id="in-the-body"),
    ],
)
async def test_a_request_that_is_cut_short_is_refused(request_: bytes) -> None:
    echo = Echo()
    async with visit(echo) as client:
        await client.send(request_)
        client.half_close()
        answer = await client.answer()
        await client.end()
    assert (answer.status, echo.seen) == (400, [])


async def test_an_unwelcome_client_is_refused_before_its_request_is_looked_at() -> None:
    echo = Echo()
    echo.refusal = HTTPError(403, "not you", close=True)
    async with visit(echo) as client:
        answer = await client.ask(HEAD + b"Content-Length: 99999999\r\n\r\n")
        await client.end()
    assert (answer.status, answer.text) == (403, "not you")


async def test_a_refused_head_request_gets_no_body() -> None:
    async with visit(Echo()) as client:
        await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n")
        answer = await client.answer(b"HEAD")
        await client.end()
    assert (answer.status, answer.body) == (413, b"")
