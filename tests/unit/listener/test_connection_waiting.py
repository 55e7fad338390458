"""A request that waits for a run: it ends when the run does, and when there is no point in waiting."""

from __future__ import annotations

import asyncio
from typing import Callable

import pytest

from tests.unit.echo import Echo, understood
from tests.unit.wire import Client, visit
from twitch.listener import connection
from twitch.listener.exchange import Request, Response
from twitch.listener.pause import Pause

WAIT = b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"
QUICK = b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_a_pause_that_nobody_ends_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(Echo):
        async def respond(self, request: Request, pause: Pause) -> Response:
            self.pauses.append(await pause(0.001))
            return await super().respond(request, pause)

    echo = Short()
    async with visit(echo) as client:
        await client.ask(QUICK)
    assert echo.pauses == [False]


@pytest.mark.parametrize("request_", [QUICK, WAIT], ids=["a-quick-request", "one-that-waits"])
async def test_a_client_that_is_done_with_sending_is_answered(
    request_: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `nc -N` sends its end-of-file with the request and stays to hear the answer, and then the end of
    # the connection: that must not be a timeout of ours.
    monkeypatch.setattr(connection, "KEEP_ALIVE_S", 3600)
    monkeypatch.setattr(connection, "LINGER_S", 3600)
    echo = Echo()
    async with visit(echo) as client:
        await client.send(request_)
        client.half_close()
        answer = await client.answer()
        await client.end()
        await client.gone
    assert answer.body.startswith(b"GET ")
    assert echo.pauses == ([True] if request_ == WAIT else [])


@pytest.mark.parametrize("leave", [Client.close, Client.reset], ids=["fin", "rst"])
async def test_a_client_that_leaves_ends_its_waiting(
    leave: Callable[[Client], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER_S", 3600)
    echo = Echo()
    async with visit(echo) as client:
        await client.send_and_wait(WAIT)
        leave(client)
        while not echo.pauses:
            await asyncio.sleep(0)
    assert echo.pauses == [True]


async def test_a_client_that_leaves_is_heard_behind_the_start_of_a_next_request() -> None:
    echo = Echo()
    async with visit(echo) as client:
        await client.send_and_wait(WAIT)
        await client.send(b"\r\n")  # some clients end every request with a line of their own
        client.close()
        await client.gone
    assert echo.pauses == [True]


async def test_a_listener_that_must_leave_ends_the_waiting_and_the_connection() -> None:
    echo = Echo()
    async with visit(echo) as client:
        await client.send_and_wait(WAIT)
        client.connection.stop()
        answer = await client.answer()
        await client.end()
    assert (answer.body, answer.headers["connection"]) == (understood("GET", "/wait"), "close")
    assert echo.pauses == [True]


async def test_a_listener_that_must_leave_lets_no_later_pause_begin() -> None:
    class Twice(Echo):
        async def respond(self, request: Request, pause: Pause) -> Response:
            await super().respond(request, pause)
            return await super().respond(request, pause)

    echo = Twice()
    async with visit(echo) as client:
        await client.send_and_wait(WAIT)
        client.connection.stop()
        await client.answer()
    assert echo.pauses == [True, True]


async def test_every_request_of_a_connection_waits_for_itself() -> None:
    class Short(Echo):
        async def respond(self, request: Request, pause: Pause) -> Response:
            self.pauses.append(await pause(0))
            return await super().respond(request, pause)

    echo = Short()
    async with visit(echo) as client:
        await client.ask(QUICK)
        await client.ask(QUICK)
    assert echo.pauses == [False, False]
