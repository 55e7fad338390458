"""The queue of a puppetserver: the requests that wait for a JRuby, and for how long.

GET /status/v1/services/jruby-metrics?level=debug is allowed to everyone (auth.conf of puppetserver 5.3.4 and
later, read in Debian's 7.9.5 and 8.7.0), and needs no JRuby: it was answered in 60 ms while all were busy
(8.7.0). Only the queue is a signal: no free JRuby is full use, and the averages lag by minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional, Union
from urllib.parse import urlsplit

import aiohttp

from twitch.fleet import server_failures
from twitch.fleet.puppetserver.settings import Settings
from twitch.fleet.server_client import ServerClient

PATH = "/status/v1/services/jruby-metrics?level=debug"

# A status is late when the threads of Jetty are used up, which is a sign of a long queue by itself
# (puppetserver issue 1506).
CONNECT_S = 5.0
ANSWER_S = 5.0

MAX_NUMBER = 1e15  # beyond it, floats are no longer exact to a millisecond

CATALOG = "puppet-v3-catalog"  # the timer of catalogs, of which each run has one


class ServerQueue(NamedTuple):
    """What a puppetserver says of its JRubies."""

    url: str
    jrubies: int
    free: int
    waiting: int  # requests that wait for a JRuby
    oldest_s: float  # how long the first of these has waited; 0 if there is none
    turned_away: int  # requests that waited in vain or met a full queue, since the server was started
    catalogs: int = 0  # that it has compiled since then
    jruby_s: Optional[float] = None  # how long a run needs a JRuby, in all its requests; None: not known


class Unreadable(NamedTuple):
    """A puppetserver that does not say what its queue is."""

    url: str
    why: str
    late: bool = False  # no answer in time, which a full server does not give
    closed: bool = False  # it answers, but does not let us read this


Look = Union[ServerQueue, Unreadable]


def name(url: str) -> str:
    """Return the name of a puppetserver, for people."""
    return urlsplit(url).hostname or url


def jrubies(number: int) -> str:
    """Return `1 JRuby` or `16 JRubies`."""
    return "1 JRuby" if number == 1 else f"{number:,} JRubies"


class Queues(ServerClient):
    """The queues of some puppetservers."""

    def __init__(
        self, settings: Settings, *, connect_s: float = CONNECT_S, answer_s: float = ANSWER_S
    ) -> None:
        super().__init__(settings.urls, settings.files, connections=max(1, len(settings.urls)))
        self.urls = settings.urls
        self._connect_s, self._answer_s = connect_s, answer_s

    async def look(self) -> list[Look]:
        """Return the queue of each puppetserver, in the order of the URLs."""
        return list(await asyncio.gather(*(self._of(url) for url in self.urls)))

    async def _of(self, url: str) -> Look:
        timeout = aiohttp.ClientTimeout(total=self._answer_s, sock_connect=self._connect_s)
        try:
            async with self._session.get(url + PATH, timeout=timeout, allow_redirects=False) as answer:
                if answer.status != 200:
                    return Unreadable(url, _refusal(answer.status), closed=True)
                value = await answer.json(content_type=None)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError, RecursionError) as error:
            why = server_failures.reason(
                error, url, certificate=None, connect_s=self._connect_s, answer_s=self._answer_s
            )
            return Unreadable(url, why, late=isinstance(error, asyncio.TimeoutError))
        try:
            return of_status(url, value)
        except (KeyError, TypeError, ValueError, AttributeError):
            return Unreadable(
                url, "its status has no queue of JRubies, so it is no puppetserver", closed=True
            )


def _refusal(status: int) -> str:
    if status in (401, 403):
        return (
            f"{status}: its auth.conf does not allow /status/v1/services to everyone, as it does by default"
        )
    if status == 404:
        return "404: it has no status of JRubies, so it is no puppetserver"
    return str(status)


def of_status(url: str, status: Mapping[str, Any]) -> ServerQueue:
    """Return the queue in a status; raises the error of Python if there is none in it."""
    metrics = status["status"]["experimental"]["metrics"]
    waiting = [_number(request["duration-millis"]) / 1000 for request in metrics["requested-instances"]]
    timers = metrics.get("borrow-timers", {})
    catalogs = sum(
        int(_number(timer["count"])) for route, timer in timers.items() if route.startswith(CATALOG)
    )
    total_s = sum(
        _number(timer["count"]) * _number(timer["mean"]) / 1000
        for route, timer in timers.items()
        if route != "total"
    )
    return ServerQueue(
        url=url,
        jrubies=int(_number(metrics["num-jrubies"])),
        free=int(_number(metrics["num-free-jrubies"])),
        waiting=len(waiting),
        oldest_s=max(waiting, default=0.0),
        turned_away=int(
            _number(metrics.get("borrow-timeout-count", 0)) + _number(metrics.get("queue-limit-hit-count", 0))
        ),
        catalogs=catalogs,
        jruby_s=total_s / catalogs if catalogs else None,
    )


def _number(value: object) -> float:
    """Return a count or a time; raises ValueError for NaN, infinities and what is less than nothing."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < MAX_NUMBER:
        raise ValueError("not a number of a puppetserver")
    return value
