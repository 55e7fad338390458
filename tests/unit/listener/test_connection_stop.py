"""A connection that is told to end: what has been asked is answered, nothing else is waited for."""

from __future__ import annotations

import pytest

from tests.unit.echo import Echo, understood
from tests.unit.wire import reaches, visit
from twitch.listener import connection
from twitch.listener.exchange import HTTPError

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the grace of stop() is short: what ends here was not ended by another limit."""
    for limit in ("REQUEST_TIMEOUT_S", "KEEP_ALIVE_S", "LINGER_S", "WRITE_TIMEOUT_S"):
        monkeypatch.setattr(connection, limit, 3600)
    monkeypatch.setattr(connection, "STOP_GRACE_S", 0.05)


async def test_a_kept_connection_ends() -> None:
    async with visit(Echo()) as client:
        await client.ask(GET)
        client.connection.stop()
        await client.end()


async def test_a_request_that_is_in_the_kernel_already_is_answered() -> None:
    async with visit(Echo()) as client:
        client.socket.send(GET)  # the loop has not looked at it yet
        client.connection.stop()
        answer = await client.answer()
        await client.end()
    assert (answer.body, answer.headers["connection"]) == (understood("GET", "/"), "close")


async def test_half_a_request_is_given_a_moment() -> None:
    async with visit(Echo()) as client:
        await client.send(GET[:9])
        await reaches(client, "reading")
        client.connection.stop()
        await client.send(GET[9:])
        answer = await client.answer()
        await client.end()
    assert answer.body == understood("GET", "/")


async def test_half_a_request_is_given_no_more_than_a_moment() -> None:
    async with visit(Echo()) as client:
        await client.send(GET[:9])
        await reaches(client, "reading")
        client.connection.stop()
        assert (await client.answer()).status == 408
        await client.end()


async def test_a_client_that_has_said_nothing_yet_is_given_a_moment() -> None:
    async with visit(Echo()) as client:
        client.connection.stop()
        await client.end()


async def test_a_connection_that_is_told_before_it_is_made_ends_as_well() -> None:
    async with visit(Echo(), stopped=True) as client:
        await client.end()


async def test_stop_leaves_an_answer_alone_that_is_on_its_way() -> None:
    async with visit(Echo(), small_buffers=True) as client:
        await client.send(b"GET /long HTTP/1.0\r\n\r\n")
        await reaches(client, "sending", "lingering")
        client.connection.stop()
        assert len((await client.answer()).body) == Echo.LONG
        await client.end()


async def test_stop_leaves_an_answer_alone_that_blocks_a_kept_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "STOP_GRACE_S", 3600)
    async with visit(Echo(), small_buffers=True) as client:
        await client.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        await reaches(client, "sending", "lingering")
        client.connection.stop()
        assert len((await client.answer()).body) == Echo.LONG
        await client.end()


async def test_a_client_that_does_not_take_its_answer_is_given_no_more_than_a_moment() -> None:
    async with visit(Echo(), small_buffers=True) as client:
        await client.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        await reaches(client, "sending", "lingering")
        client.connection.stop()
        await client.gone


async def test_abort_ends_at_once() -> None:
    async with visit(Echo()) as client:
        client.connection.abort()
        await client.gone


async def test_refuse_says_why_and_ends() -> None:
    async with visit(Echo()) as client:
        client.connection.refuse(HTTPError(503, "full", headers=(("Retry-After", "2"),)))
        answer = await client.answer()
        await client.end()
    assert (answer.status, answer.text, answer.headers["retry-after"]) == (503, "full", "2")


async def test_only_a_connection_on_which_nothing_is_answered_is_idle() -> None:
    async with visit(Echo()) as client:
        assert client.connection.idle
        await client.send_and_wait(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        assert not client.connection.idle
        client.half_close()
        await client.answer()
        client.connection.abort()
        assert not client.connection.idle
