"""How many runs there may be at once, by the queues of the servers."""

from __future__ import annotations

import asyncio
from typing import Optional

import pytest

from tests.fleet_nodes.web import Reply
from tests.unit.fleet import servers
from tests.unit.fleet.puppetserver.site import Site, play
from tests.unit.fleet.puppetserver.status import status
from twitch.fleet.puppetdb.client import PuppetDB
from twitch.fleet.puppetdb.settings import Settings as Where
from twitch.fleet.puppetserver.queue import Look, Queues, ServerQueue, Unreadable
from twitch.fleet.puppetserver.settings import Settings
from twitch.fleet.puppetserver.throttle import Rules, Throttle

IDLE = ServerQueue("https://a:8140", jrubies=4, free=4, waiting=0, oldest_s=0, turned_away=0)
BUSY = IDLE._replace(free=0, waiting=4, oldest_s=3)
FULL = IDLE._replace(free=0, waiting=14, oldest_s=9)
DOWN = Unreadable("https://a:8140", "connection refused")
LATE = Unreadable("https://a:8140", "no answer in 5 s", late=True)
CLOSED = Unreadable("https://a:8140", "403: …", closed=True)


def rules(*looks: Look, at_once: int = 20, running: Optional[int] = None) -> Rules:
    """Return the rules after some looks at one server; there are always as many runs as there may be."""
    rules = Rules(at_once)
    for look in looks:
        rules.take([look], rules.limit if running is None else running)
    return rules


def in_full_use(at_once: int = 20) -> Rules:
    """Return the rules when the window has grown to its size."""
    return rules(*[IDLE] * at_once, at_once=at_once)


def test_runs_begin_with_two_for_each_jruby() -> None:
    begun = Rules(20)
    begun.take([IDLE], 0)
    assert (begun.limit, begun.reason) == (8, "4 JRubies; more runs while no request waits")
    assert rules(IDLE, at_once=5, running=0).limit == 5


def test_runs_are_added_up_to_at_once_while_no_request_waits() -> None:
    assert [rules(*[IDLE] * looks).limit for looks in (1, 2, 3)] == [12, 16, 20]
    assert [rules(*[IDLE] * looks, at_once=50).limit for looks in (4, 5, 6, 9)] == [25, 32, 40, 50]
    assert in_full_use().reason is None


def test_runs_are_added_only_if_those_that_may_be_are_there() -> None:
    assert rules(IDLE, IDLE, IDLE, running=3).limit == 8


def test_a_queue_not_longer_than_the_jrubies_is_full_use() -> None:
    assert rules(IDLE, BUSY, BUSY).limit == 12


@pytest.mark.parametrize(
    ("look", "limit", "reason"),
    [
        (FULL, 8, "a has 14 in its queue, oldest 9 s"),  # 14 wait, and two may
        (BUSY._replace(waiting=5), 17, "a has 5 in its queue, oldest 3 s"),
        (BUSY._replace(waiting=1, oldest_s=6), 19, "a has 1 in its queue, oldest 6 s"),
        (IDLE._replace(waiting=99), 1, "a has 99 in its queue, oldest 0 s"),
        (LATE, 10, "a has no answer: no answer in 5 s"),
        (IDLE._replace(turned_away=2), 10, "a has turned away 2 requests"),
    ],
)
def test_an_overload_reduces_the_runs_at_once(look: Look, limit: int, reason: str) -> None:
    throttled = in_full_use()
    throttled.take([look], 20)
    assert (throttled.limit, throttled.reason) == (limit, reason)


def test_a_wait_is_long_by_what_a_run_costs() -> None:
    slow = BUSY._replace(waiting=1, oldest_s=11, jruby_s=6.0)
    assert rules(IDLE, slow).limit == 12
    assert rules(IDLE, slow._replace(oldest_s=13)).limit == 11


def test_the_runs_that_there_are_count_and_not_those_that_may_be() -> None:
    throttled = in_full_use(500)
    throttled.take([FULL], 40)
    assert throttled.limit == 28


def test_runs_are_reduced_again_only_when_the_others_have_ended() -> None:
    throttled = in_full_use()
    for running in (20, 17, 9):
        throttled.take([FULL], running)
    assert throttled.limit == 8
    throttled.take([FULL._replace(waiting=5)], 8)
    assert throttled.limit == 5


def test_one_run_is_always_possible() -> None:
    assert rules(*[FULL] * 9).limit == 1
    assert rules(FULL, running=0).limit == 1


def test_after_an_overload_runs_are_added_slowly() -> None:
    throttled = in_full_use()
    throttled.take([FULL], 20)
    throttled.take([IDLE], 8)
    assert throttled.limit == 9
    assert throttled.reason == "a had 14 in its queue, oldest 9 s; more runs while no request waits"
    for running in range(9, 20):
        throttled.take([IDLE], running)
    assert throttled.limit == 20
    assert throttled.reason is None


def test_of_several_servers_the_worst_decides() -> None:
    throttled = in_full_use()
    worst = FULL._replace(url="https://b:8140")
    throttled.take([BUSY._replace(waiting=5), worst], 20)
    assert throttled.limit == 8
    throttled.take([IDLE, BUSY._replace(url="https://b:8140")], 8)
    assert throttled.limit == 8


def test_a_server_that_cannot_be_asked_three_times_keeps_the_number() -> None:
    throttled = in_full_use()
    for look in (FULL, DOWN, DOWN):
        throttled.take([look], 8)
    limit = throttled.limit
    assert throttled.reason == "a had 14 in its queue, oldest 9 s; more runs while no request waits"
    throttled.take([DOWN], limit)
    assert (throttled.limit, throttled.reason) == (limit, "the queue of a cannot be read: connection refused")
    throttled.take([IDLE], limit)
    assert throttled.limit == limit + 1


def test_without_a_server_that_answers_all_may_run() -> None:
    throttled = rules(CLOSED)
    assert (throttled.limit, throttled.reason) == (20, "the queue of a cannot be read: 403: …")
    throttled = rules(LATE, LATE, LATE)
    assert (throttled.limit, throttled.reason) == (20, "the queue of a cannot be read: no answer in 5 s")


def test_a_server_that_says_no_does_not_hold_back_the_others() -> None:
    throttled = Rules(20)
    throttled.take([IDLE, CLOSED._replace(url="https://b:8140")], 8)
    assert throttled.limit == 12


def test_a_long_queue_of_puppetdb_that_grows_is_an_overload() -> None:
    throttled = in_full_use()
    throttled.take([IDLE], 20, 900)
    assert throttled.limit == 20
    throttled.take([IDLE], 20, 1200)
    assert (throttled.limit, throttled.reason) == (10, "PuppetDB has 1,200 commands in its queue")
    throttled.take([IDLE], 10, 1100)
    assert throttled.limit == 10  # it is being worked off, and not yet short
    throttled.take([IDLE], 10, 1000)
    assert throttled.limit == 11


@pytest.mark.parametrize(
    "site",
    [
        Site(jrubies=1, before_s=3, catalog_s=2, after_s=5, at_once=20, nodes=200),
        Site(jrubies=1, before_s=3, catalog_s=8, after_s=10, at_once=20, nodes=60),
        Site(jrubies=4, before_s=4, catalog_s=3, after_s=20, at_once=200, nodes=500),
        Site(jrubies=16, before_s=4, catalog_s=3, after_s=30, at_once=100, nodes=1000),
    ],
)
def test_the_servers_are_in_full_use_and_nobody_waits_long(site: Site) -> None:
    course = play(site)
    assert course.lasted_s <= 1.25 * site.shortest_s
    assert course.longest_wait_s <= max(12, 4 * site.catalog_s)
    assert course.longest_queue <= max(6, 3 * site.jrubies)


async def test_the_throttle_looks_until_it_is_cancelled() -> None:
    replies = [status(jrubies=10), status(jrubies=10, waiting_ms=(9000,) * 14)]
    async with (
        servers.web(lambda path, fields: Reply(200, replies[0])) as server,
        Queues(Settings((server.url,), "test")) as queues,
    ):
        throttle = Throttle(queues, 20, running=lambda: 20, look_s=0.01)
        task = asyncio.create_task(throttle.run())
        while server.requests < 2:
            await asyncio.sleep(0)
        assert (throttle.limit, throttle.reason) == (20, None)
        replies.pop(0)
        await asyncio.wait_for(throttle.changed.wait(), servers.PATIENCE_S)
        assert (throttle.limit, throttle.reason) == (11, "127.0.0.1 has 14 in its queue, oldest 9 s")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_throttle_also_watches_puppetdb() -> None:
    depth = {"status": {"queue_depth": 5000}}
    async with servers.web(lambda path, fields: Reply(200, depth)) as pdb:
        database = PuppetDB(Where((pdb.url,), ""))
        async with database, Queues(Settings((), "test")) as queues:
            throttle = Throttle(queues, 20, running=lambda: 20, database=database)
            await throttle.look()
    assert throttle.reason == "PuppetDB has 5,000 commands in its queue"
