"""Several requests on one connection: answers in order, and never more of them in memory than a few."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.unit.echo import Echo, understood
from tests.unit.wire import Client, visit
from twitch.listener.exchange import Request, Response
from twitch.listener.pause import Pause

# One read of asyncio takes up to 256 KiB; a second one must not be added to it.
MOST_AHEAD = 400 * 1024


def get(target: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join((f"GET {target} HTTP/{version}", "Host: a", *headers, "", "")).encode()


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with visit(Echo()) as client:
        for number in range(3):
            assert (await client.ask(get(f"/{number}"))).body == understood("GET", f"/{number}")


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(get("/", "Connection: close"), id="connection-close"),
        pytest.param(get("/", version="1.0"), id="http-1.0"),
        # h11 keeps no connection to a client that speaks 1.0, whatever it asks for.
        pytest.param(get("/", "Connection: keep-alive", version="1.0"), id="http-1.0-keep-alive"),
    ],
)
async def test_a_connection_ends_after_the_last_request(last: bytes) -> None:
    echo = Echo()
    async with visit(echo) as client:
        await client.send(last + get("/unheard"))
        answer = await client.answer()
        await client.end()
    assert answer.headers["connection"] == "close"
    assert len(echo.seen) == 1


async def test_an_error_about_a_whole_request_keeps_the_connection() -> None:
    async with visit(Echo()) as client:
        assert (await client.ask(get("/refuse"))).status == 409
        assert (await client.ask(get("/"))).status == 200


async def test_a_fault_of_ours_is_a_500_a_traceback_and_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async with visit(Echo()) as client:
        answer = await client.ask(get("/fault"))
        await client.end()
    assert (answer.status, "fault of ours" in answer.text) == (500, False)
    [record] = caplog.records
    assert record.exc_info and "a fault of ours" in str(record.exc_info[1])


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with visit(Echo()) as client:
        await client.send(b"".join(get(f"/{number}") for number in range(500)))
        for number in range(500):
            assert (await client.answer()).body == understood("GET", f"/{number}")


async def test_more_pipelined_requests_than_are_held_at_once_are_all_answered() -> None:
    requests = [get(f"/{number}", f"X: {'x' * 1000}") for number in range(1000)]
    async with visit(Echo()) as client:
        sending = asyncio.ensure_future(client.send(b"".join(requests)))
        for number in range(len(requests)):
            assert (await client.answer()).body == understood("GET", f"/{number}")
        await sending


async def test_a_request_that_comes_while_another_is_answered_waits_for_its_turn() -> None:
    echo = Echo()
    async with visit(echo) as client:
        await client.send(get("/wait"))
        await seen(echo, 1)
        await client.send(get("/next"))
        assert len(echo.seen) == 1
        client.half_close()  # ends the first one's waiting
        assert (await client.answer()).body == understood("GET", "/wait")
        assert (await client.answer()).body == understood("GET", "/next")
        await client.end()


async def test_a_client_that_does_not_read_is_not_read_from() -> None:
    async with visit(Echo(), small_buffers=True) as client:
        pusher = Pusher(client)
        while client.connection.state != "sending":
            await pusher.push()
        for _ in range(100):
            await pusher.push()
        assert client.connection._exchange.ahead < MOST_AHEAD


async def test_a_client_that_waits_is_not_read_from_without_bounds() -> None:
    class Looking(Echo):
        """Looks every moment whether the run has ended, as the API does five times a second."""

        looks = 0

        async def respond(self, request: Request, pause: Pause) -> Response:
            while not await pause(0):
                self.looks += 1
            return await super().respond(request, pause)

    service = Looking()
    async with visit(service) as client:
        await client.send(get("/"))
        pusher = Pusher(client)
        for _ in range(100):
            looks = service.looks
            await pusher.push()
            while service.looks < looks + 2:
                await asyncio.sleep(0)
        assert client.connection._exchange.ahead < MOST_AHEAD
        client.connection.stop()
        await client.drain()


async def seen(echo: Echo, number: int) -> None:
    """Return when the service has heard so many requests."""
    while len(echo.seen) < number:
        await asyncio.sleep(0)


class Pusher:
    """Sends requests without an end, as fast as they are taken, and reads no answer."""

    def __init__(self, client: Client) -> None:
        self._socket = client.socket
        self._data, self._sent = get("/") * 1000, 0

    async def push(self) -> None:
        """Fill the kernel's buffers, and let the server look."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._sent += self._socket.send(self._data[self._sent :])
                self._sent %= len(self._data)
        await asyncio.sleep(0)
