"""Answers in parts: in order, with back-pressure, and never taken for complete when they are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import h11
import pytest

from tests.unit.echo import Echo, understood
from tests.unit.wire import reaches, visit
from twitch.listener import connection
from twitch.listener.pause import Pause

PARTS = b"GET /parts HTTP/1.1\r\nHost: a\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


class Source:
    """A body that counts the parts that were asked for, and notes when it was closed."""

    def __init__(self, part: bytes, number: int = 1000) -> None:
        self.part = part
        self.number = number
        self.asked = 0
        self.closed = False

    async def __call__(self, pause: Pause) -> AsyncGenerator[bytes, None]:
        try:
            for _ in range(self.number):
                self.asked += 1
                yield self.part
        finally:
            self.closed = True


async def closes(source: Source) -> None:
    while not source.closed:
        await asyncio.sleep(0)


async def test_parts_arrive_in_order_and_the_next_request_is_answered() -> None:
    async with visit(Echo()) as client:
        answer = await client.ask(PARTS)
        assert (answer.body, answer.headers["transfer-encoding"]) == (b"onetwothree", "chunked")
        assert "content-length" not in answer.headers
        assert (await client.ask(NEXT)).body == understood("GET", "/next")


async def test_a_request_that_comes_with_the_first_is_answered_after_the_last_part() -> None:
    async with visit(Echo()) as client:
        await client.send(PARTS + NEXT)
        assert (await client.answer()).body == b"onetwothree"
        assert (await client.answer()).body == understood("GET", "/next")


async def test_an_http_1_0_client_gets_the_parts_up_to_the_end_of_the_connection() -> None:
    async with visit(Echo()) as client:
        await client.send(b"GET /parts HTTP/1.0\r\n\r\n")
        answer = await client.drain()
    assert answer.endswith(b"\r\n\r\nonetwothree")
    assert b"chunked" not in answer


async def test_head_gets_no_part_and_none_is_asked_for() -> None:
    echo = Echo()
    echo.parts = source = Source(b"x")
    async with visit(echo) as client:
        answer = await client.ask(b"HEAD /parts HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (answer.status, answer.body) == (200, b"")
        assert (await client.ask(NEXT)).body == understood("GET", "/next")
    assert source.asked == 0


async def test_no_part_is_asked_for_while_the_client_does_not_take_the_last_one() -> None:
    echo = Echo()
    echo.parts = source = Source(b"x" * 4096)
    async with visit(echo, small_buffers=True) as client:
        await client.send(PARTS)
        while not client.connection._blocked:
            await asyncio.sleep(0)
        asked = source.asked
        for _ in range(100):
            await asyncio.sleep(0)
        assert source.asked == asked < 50
        assert len((await client.answer()).body) == 1000 * 4096
    assert source.closed


async def test_a_client_that_takes_no_part_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WRITE_TIMEOUT_S", 0.05)
    echo = Echo()
    echo.parts = source = Source(b"x" * 4096)
    async with visit(echo, small_buffers=True) as client:
        await client.send(PARTS)
        await client.gone
        await closes(source)


async def test_the_source_is_closed_when_the_client_leaves() -> None:
    echo = Echo()
    echo.parts = source = Source(b"x" * 4096, number=1_000_000)
    async with visit(echo) as client:
        await client.send(PARTS)
        await client.receive()
        client.reset()
        await client.gone
        await closes(source)


async def test_an_answer_that_fails_between_two_parts_is_not_complete() -> None:
    async def fails(pause: Pause) -> AsyncGenerator[bytes, None]:
        yield b"one"
        raise RuntimeError("a fault of ours")

    echo = Echo()
    echo.parts = fails
    async with visit(echo) as client:
        await client.send(PARTS)
        with pytest.raises((h11.RemoteProtocolError, ConnectionError)):
            await client.answer()


async def test_stop_ends_the_waiting_of_a_source_and_its_answer_is_complete() -> None:
    async def waits(pause: Pause) -> AsyncGenerator[bytes, None]:
        yield b"begun "
        while not await pause(3600):
            yield b"never "
        yield b"ended"

    echo = Echo()
    echo.parts = waits
    async with visit(echo) as client:
        await client.send_and_wait(PARTS)
        client.connection.stop()
        assert (await client.answer()).body == b"begun ended"
        await client.end()


async def test_a_client_that_leaves_ends_the_waiting_of_a_source() -> None:
    pauses: list[bool] = []

    async def waits(pause: Pause) -> AsyncGenerator[bytes, None]:
        yield b"begun"
        pauses.append(await pause(3600))

    echo = Echo()
    echo.parts = waits
    async with visit(echo) as client:
        await client.send_and_wait(PARTS)
        client.reset()
        await reaches(client, "lost")
    while not pauses:
        await asyncio.sleep(0)
    assert pauses == [True]
