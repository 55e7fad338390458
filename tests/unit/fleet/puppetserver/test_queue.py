"""The queue of a puppetserver, and everything that can come instead of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fleet_nodes.web import Reply
from tests.unit.fleet import servers
from tests.unit.fleet.puppetserver.status import status
from twitch.fleet.puppetserver.queue import Look, Queues, ServerQueue, Unreadable
from twitch.fleet.puppetserver.settings import Settings


async def look(*urls: str, **limits: float) -> list[Look]:
    async with Queues(Settings(urls, "test"), **limits) as queues:
        return await queues.look()


async def test_the_queue_is_read_without_credentials() -> None:
    async with servers.web(lambda path, fields: Reply(200, status(waiting_ms=(800, 6200, 40)))) as server:
        (queue,) = await look(server.url)
    # A run: (10 x 3000 + 20 x 100 + 1 x 1000 + 10 x 700) ms of a JRuby, for each of 10 catalogs.
    assert queue == ServerQueue(
        server.url, jrubies=2, free=0, waiting=3, oldest_s=6.2, turned_away=0, catalogs=10, jruby_s=4.0
    )


async def test_the_path_is_that_of_the_status() -> None:
    asked = []

    def answer(path: str, fields: dict[str, Any]) -> Reply:
        asked.append((path, fields))
        return Reply(200, status())

    async with servers.web(answer) as server:
        await look(server.url)
    assert asked == [("/status/v1/services/jruby-metrics", {"level": "debug"})]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(403, "Forbidden request"), "its auth.conf does not allow /status/v1/services"),
        (Reply(404, "Not Found"), "it is no puppetserver"),
        (Reply(200, {"status": {}}), "has no queue of JRubies"),
        (Reply(200, []), "has no queue of JRubies"),
    ],
)
async def test_a_server_that_does_not_say_it_has_a_reason(reply: Reply, words: str) -> None:
    async with servers.web(lambda path, fields: reply) as server:
        (queue,) = await look(server.url)
    assert isinstance(queue, Unreadable)
    assert words in queue.why and queue.closed and not queue.late


async def test_a_server_that_is_down_does_not_spoil_the_others() -> None:
    async with servers.web(lambda path, fields: Reply(200, status())) as server:
        down, up = await look(servers.unused_url(), server.url)
    assert down == Unreadable(servers.unused_url(), "connection refused")
    assert isinstance(up, ServerQueue)


async def test_a_status_that_comes_late_is_told_from_a_refusal() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with servers.raw(silent) as url:
        (queue,) = await look(url, answer_s=0.1)
    assert queue == Unreadable(url, "no answer in 0.1 s", late=True)


async def test_a_server_that_has_compiled_nothing_has_no_cost() -> None:
    fresh = status()
    fresh["status"]["experimental"]["metrics"]["borrow-timers"] = {}
    async with servers.web(lambda path, fields: Reply(200, fresh)) as server:
        (queue,) = await look(server.url)
    assert isinstance(queue, ServerQueue)
    assert (queue.catalogs, queue.jruby_s) == (0, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num-jrubies", float("inf")),
        ("num-jrubies", -2),
        ("num-free-jrubies", "2"),
        ("borrow-timers", [1]),
        ("borrow-timers", {"puppet-v3-catalog": {"count": float("nan"), "mean": 1}}),
        ("requested-instances", [{"duration-millis": float("nan")}]),
        ("requested-instances", {"a": 1}),
        ("queue-limit-hit-count", float("inf")),
    ],
)
async def test_a_status_with_impossible_numbers_is_not_believed(field: str, value: object) -> None:
    forged = status()
    forged["status"]["experimental"]["metrics"][field] = value
    async with servers.web(lambda path, fields: Reply(200, forged)) as server:
        (queue,) = await look(server.url)
    assert isinstance(queue, Unreadable) and queue.closed


async def test_a_status_that_is_too_deep_is_not_read() -> None:
    async with servers.web(lambda path, fields: Reply(200, "[" * 100_000)) as server:
        (queue,) = await look(server.url)
    assert isinstance(queue, Unreadable)
