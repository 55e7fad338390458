"""Slow clients: every wait for one has an end, and a client that is only slow is not cut short.

Limits that must strike are made short, all others so long that only the right one can have struck.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import pytest

from tests.unit.echo import Echo
from tests.unit.wire import reaches, visit
from twitch.listener import connection

SHORT, NEVER = 0.05, 3600
LIMITS = ("REQUEST_TIMEOUT_S", "KEEP_ALIVE_S", "WRITE_TIMEOUT_S", "STOP_GRACE_S", "LINGER_S")

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LONG = b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_LONG = b"GET /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Only(Protocol):
    def __call__(self, *limits: str) -> None: ...


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Only:
    """Return what makes these limits short and all others long."""

    def make(*short: str) -> None:
        for limit in LIMITS:
            monkeypatch.setattr(connection, limit, SHORT if limit in short else NEVER)

    return make


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"G", id="request-line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n", id="head"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", id="body"),
        pytest.param(
            b"POST / HTTP/1.0\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n", id="expect-1.0"
        ),
    ],
)
async def test_a_request_that_is_never_complete_gets_408(only: Only, start: bytes) -> None:
    only("REQUEST_TIMEOUT_S")
    echo = Echo()
    async with visit(echo, sent=start) as client:
        answer = await client.answer()
        await client.end()
    assert (answer.status, answer.headers["connection"], echo.seen) == (408, "close", [])


@pytest.mark.parametrize("before", [b"", GET], ids=["the-first", "the-second"])
async def test_the_time_for_a_request_counts_from_its_start_not_from_its_last_byte(
    only: Only, before: bytes
) -> None:
    head = b"GET / HTTP/1.1\r\nX: "
    only() if before else only("REQUEST_TIMEOUT_S")
    async with visit(Echo(), sent=before or head) as client:
        if before:
            await client.answer()
            only("REQUEST_TIMEOUT_S")
            await client.send(head)
        answer = asyncio.ensure_future(client.answer())
        while not answer.done():
            await client.send(b"x")
            await asyncio.sleep(SHORT / 50)  # this is what a slow client does
    assert answer.result().status == 408


async def test_a_client_that_never_says_anything_is_left_without_a_word(only: Only) -> None:
    only("REQUEST_TIMEOUT_S")
    async with visit(Echo()) as client:
        await client.end()


@pytest.mark.parametrize("together", [True, False], ids=["with-the-first", "later"])
async def test_a_second_request_that_is_never_complete_gets_408(only: Only, together: bool) -> None:
    only("REQUEST_TIMEOUT_S")
    async with visit(Echo(), sent=GET + b"GET" if together else GET) as client:
        assert (await client.answer()).status == 200
        if not together:
            await client.send(b"GET")
        assert (await client.answer()).status == 408
        await client.end()


async def test_a_next_request_that_has_begun_has_the_time_of_a_request(
    only: Only, monkeypatch: pytest.MonkeyPatch
) -> None:
    only()
    monkeypatch.setattr(connection, "KEEP_ALIVE_S", NEVER / 2)
    async with visit(Echo()) as client:
        await client.ask(GET)
        await reaches(client, "kept")
        kept = client.connection._timer
        await client.send(GET[:9])
        await reaches(client, "reading")
        assert kept.cancelled()
        assert client.connection._timer.when() > kept.when()
        await client.send(GET[9:])
        assert (await client.answer()).status == 200


async def test_a_kept_connection_without_a_next_request_ends_without_a_word(only: Only) -> None:
    only("KEEP_ALIVE_S")
    async with visit(Echo()) as client:
        assert (await client.ask(GET)).status == 200
        await client.end()


@pytest.mark.parametrize("request_", [LONG, LAST_LONG], ids=["kept", "last"])
async def test_a_client_that_does_not_take_its_answer_is_dropped(only: Only, request_: bytes) -> None:
    only("WRITE_TIMEOUT_S")
    async with visit(Echo(), small_buffers=True) as client:
        await client.send(request_)
        await client.gone
        assert len(await client.drain()) < Echo.LONG


@pytest.mark.parametrize("request_", [LONG, LAST_LONG], ids=["kept", "last"])
async def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(only: Only, request_: bytes) -> None:
    only("LINGER_S", "KEEP_ALIVE_S", "REQUEST_TIMEOUT_S")
    async with visit(Echo(), small_buffers=True, sent=request_) as client:
        await reaches(client, "sending", "lingering")
        await asyncio.sleep(2 * SHORT)  # nothing happens in this time, and that is the point
        assert len((await client.answer()).body) == Echo.LONG
        await client.end()


async def test_a_blocked_connection_goes_on_when_its_client_reads(only: Only) -> None:
    only()
    async with visit(Echo(), small_buffers=True) as client:
        await client.send(LONG * 3)
        for _ in range(3):
            assert len((await client.answer()).body) == Echo.LONG


async def test_the_answer_survives_input_that_nobody_reads(only: Only) -> None:
    only()
    # Closed at once, the connection would be reset, and the reset would overtake the answer.
    async with visit(Echo()) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n")
        await client.send(b"x" * 4 * 2**20)
        answer = await client.answer()
        await client.end()
    assert answer.status == 413


async def test_a_client_that_never_ends_its_half_is_dropped(only: Only) -> None:
    only("LINGER_S")
    async with visit(Echo()) as client:
        await client.ask(b"GET / HTTP/1.0\r\n\r\n")
        await client.end()
        await client.gone
