"""Every valid request gets the same answer, however its bytes arrive."""

from __future__ import annotations

import re

import pytest

from tests.unit.echo import Echo, understood
from tests.unit.wire import ADDRESS, visit
from twitch.listener.exchange import Exchange, Response

LONGEST_HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n"
LONGEST_HEAD %= b"x" * (16384 - len(LONGEST_HEAD) + 2)

VALID = {
    "get": (b"GET /a?b=c HTTP/1.1\r\nHost: node\r\n\r\n", understood("GET", "/a?b=c")),
    "http-1.0-without-host": (b"GET / HTTP/1.0\r\n\r\n", understood("GET", "/")),
    "a-later-http-1": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", understood("GET", "/")),
    "absolute-form": (b"GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", understood("GET", "http://a/b")),
    "absolute-form-in-capitals": (
        b"GET HTTPS://A HTTP/1.1\r\nHost: a\r\n\r\n",
        understood("GET", "HTTPS://A"),
    ),
    "tab-and-letters-of-old": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\tb\xe4\r\n\r\n", understood("GET", "/")),
    "asterisk-form": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", understood("OPTIONS", "*")),
    "unknown-method": (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", understood("BREW", "/")),
    "upgrade-is-ignored": (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
        understood("GET", "/"),
    ),
    "body": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na=b&c",
        understood("POST", "/", b"a=b&c"),
    ),
    "empty-body": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", understood("POST", "/")),
    "zeros-before-the-length": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0002\r\n\r\nab",
        understood("POST", "/", b"ab"),
    ),
    "longest-target": (
        b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 2047),
        understood("GET", "/" + "x" * 2047),
    ),
    "longest-body": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16384\r\n\r\n" + b"x" * 16384,
        understood("POST", "/", b"x" * 16384),
    ),
    "longest-head": (LONGEST_HEAD, understood("GET", "/")),
}
valid = pytest.mark.parametrize(("request_", "body"), VALID.values(), ids=VALID)


@valid
async def test_is_answered_when_it_comes_whole(request_: bytes, body: bytes) -> None:
    async with visit(Echo()) as client:
        answer = await client.ask(request_)
    assert (answer.status, answer.body) == (200, body)


@valid
async def test_is_answered_alike_when_it_comes_byte_by_byte(request_: bytes, body: bytes) -> None:
    async with visit(Echo()) as client:
        await client.send_bytewise(request_)
        answer = await client.answer()
    assert (answer.status, answer.body) == (200, body)


async def test_head_gets_the_head_alone() -> None:
    async with visit(Echo()) as client:
        head = await client.ask(b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n")
        # What follows is the next answer, so no byte of a body was sent.
        whole = await client.ask(b"GET /ab HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]


async def test_an_answer_has_a_length_and_a_date() -> None:
    async with visit(Echo()) as client:
        answer = await client.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.headers["content-length"] == str(len(answer.body))
    # RFC 9110 section 5.6.7: IMF-fixdate
    days, months = "Mon|Tue|Wed|Thu|Fri|Sat|Sun", "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
    fixdate = rf"({days}), [0-9]{{2}} ({months}) [0-9]{{4}} [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}} GMT"
    assert re.fullmatch(fixdate, answer.headers["date"])


async def test_the_service_hears_headers_by_lower_case_names_and_repeated_ones_joined() -> None:
    echo = Echo()
    async with visit(echo) as client:
        await client.ask(b"GET / HTTP/1.1\r\nHOST: a\r\nX-One: 1\r\nx-one:  2 \r\nLatin: \xe9\r\n\r\n")
    assert echo.seen[0].headers == {"host": "a", "x-one": "1, 2", "latin": "é"}
    assert echo.seen[0].address == ADDRESS


def test_an_answer_that_nobody_can_read_any_more_is_no_bytes() -> None:
    exchange = Exchange(ADDRESS, lambda: None)
    exchange.receive(b"GET / HTTP/1.0\r\n\r\n")
    assert exchange.next_request()
    assert exchange.send(Response(200, b"once"), last=True).endswith(b"once")
    assert exchange.send(Response(200, b"twice"), last=True) == b""


class TestExpect:
    HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"

    async def test_is_told_to_go_on(self) -> None:
        async with visit(Echo()) as client:
            await client.send(self.HEAD % 3)
            told = b"HTTP/1.1 100 Continue\r\n\r\n"
            assert await client.receive(len(told)) == told
            await client.send(b"abc")
            answer = await client.answer(b"POST")
        assert answer.body == understood("POST", "/", b"abc")

    async def test_is_not_told_to_go_on_when_the_body_is_here_already(self) -> None:
        async with visit(Echo()) as client:
            answer = await client.ask(self.HEAD % 3 + b"abc")
            assert client.interim == []
        assert answer.body == understood("POST", "/", b"abc")

    async def test_is_refused_at_once_when_the_body_would_be_too_long(self) -> None:
        async with visit(Echo()) as client:
            answer = await client.ask(self.HEAD % 16385)
            assert client.interim == []
        assert answer.status == 413
