"""How many runs there may be at once, by the queues of the puppetservers.

The queue of a server has the requests of everybody: other operators, the agents' own runs. So no limits have
to be agreed upon. The rules:

- Begin with two runs for each JRuby, and with each look add one for each JRuby, or a quarter if that is more,
  as long as no request waits and all runs that may be there are there.
- A server is overloaded if more requests wait than it has JRubies, or one has waited for five seconds and
  twice as long as a run uses a JRuby. Then there are fewer runs, by those that wait beyond half of the
  JRubies, and from now on more are added slowly.
- If a server turns requests away or its status comes late, or if the queue of PuppetDB is long and grows,
  half as many.
- There are never fewer than one. They are not reduced again before the runs that were there have ended,
  because a run that was started cannot be taken back.
- If a server cannot be asked three times, or says no, this is said, and the number stays as it is.

A run needs a JRuby only seconds after its start, so a window that is halved is too small for minutes:
halving, with one more each second, took 15 to 96 % longer than the best fixed number in a simulation of
nine sites (1 to 16 JRubies, runs of 6 to 130 s), and began with requests that waited for minutes. These rules
took at most 20 % longer in eight of the nine, and 29 % in one, and no request waited for more than 26 s.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional

from twitch.fleet.puppetdb.client import PuppetDB
from twitch.fleet.puppetserver.queue import ANSWER_S, Look, Queues, ServerQueue, jrubies, name

LOOK_S = 2.0
FIRST_RUNS_PER_JRUBY = 2
LONG_WAIT_S = 5.0
LONG_WAIT_COSTS = 2  # times what a run uses a JRuby: a server with slow catalogs always has such waits
LONG_QUEUE = 1_000  # commands of PuppetDB; a run is three: facts, catalog, report
FAILURES = 3  # in succession, until it is said that a server cannot be asked


class Overload(NamedTuple):
    """Why there are to be fewer runs at once."""

    server: str
    what: str  # that it has
    surplus: Optional[int] = None  # by how many runs there are too many; None: half of them

    def __str__(self) -> str:
        """Return it as it is now."""
        return f"{self.server} has {self.what}"

    @property
    def over(self) -> str:
        """Return it as it was, when runs are added again."""
        return f"{self.server} had {self.what}"


class Rules:
    """The number of runs at once, after each look at the servers."""

    def __init__(self, at_once: int) -> None:
        self.limit = at_once
        self.reason: Optional[str] = None  # why the limit is below at_once, or does not follow the queues
        self._at_once = at_once
        self._jrubies = 0  # of all servers that say so; 0: none has yet
        self._overload: Optional[Overload] = None  # the latest
        self._turned_away: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._depth = 0

    def take(self, looks: Sequence[Look], running: int, depth: Optional[int] = None) -> None:
        """Take in a look at the servers, the number of runs at once, and the queue of PuppetDB."""
        queues = [look for look in looks if isinstance(look, ServerQueue)]
        self._begin(queues)
        overloads = [one for one in (*map(self._overload_of, looks), self._of_puppetdb(depth)) if one]
        unreadable = [why for why in map(self._unreadable, looks) if why]
        if overloads:
            self._overload = overloads[0]
            if running <= self.limit:
                self.limit = max(1, running - self._surplus(overloads, running))
        elif queues and all(map(_idle, looks)) and (depth or 0) <= LONG_QUEUE and running >= self.limit:
            self.limit = min(self._at_once, self.limit + self._more())
        self.reason = self._reason(overloads, unreadable)

    def _begin(self, queues: Sequence[ServerQueue]) -> None:
        jrubies = sum(queue.jrubies for queue in queues)
        if jrubies and not self._jrubies:
            self.limit = min(self._at_once, FIRST_RUNS_PER_JRUBY * jrubies)
        self._jrubies = max(self._jrubies, jrubies)

    def _more(self) -> int:
        """Return how many runs are added with a look."""
        if self._overload:
            return math.ceil(max(1, self._jrubies / 4, self.limit / 50))
        return math.ceil(max(1, self._jrubies, self.limit / 4))

    def _surplus(self, overloads: Sequence[Overload], running: int) -> int:
        """Return how many runs there are too many."""
        half = running - running // 2
        return max(half if one.surplus is None else one.surplus for one in overloads)

    def _reason(self, overloads: Sequence[Overload], unreadable: Sequence[str]) -> Optional[str]:
        if overloads:
            return str(overloads[0])
        if unreadable:
            return unreadable[0]
        if self.limit == self._at_once:
            return None
        before = self._overload.over if self._overload else jrubies(self._jrubies)
        return f"{before}; more runs while no request waits"

    def _overload_of(self, look: Look) -> Optional[Overload]:
        server = name(look.url)
        before = self._turned_away.get(look.url)
        if not isinstance(look, ServerQueue):
            # A server that has never answered is rather out of reach than overloaded.
            late = look.late and before is not None
            return Overload(server, f"no answer: {look.why}") if late else None
        self._turned_away[look.url] = look.turned_away
        long_s = max(LONG_WAIT_S, LONG_WAIT_COSTS * (look.jruby_s or 0))
        if before is not None and look.turned_away > before:
            return Overload(server, f"turned away {look.turned_away - before} requests")
        if look.waiting > look.jrubies or look.oldest_s > long_s:
            surplus = max(1, math.ceil(look.waiting - look.jrubies / 2))
            return Overload(server, f"{look.waiting} in its queue, oldest {look.oldest_s:.0f} s", surplus)
        return None

    def _of_puppetdb(self, depth: Optional[int]) -> Optional[Overload]:
        if depth is None:
            return None
        grows, self._depth = depth > max(self._depth, LONG_QUEUE), depth
        return Overload("PuppetDB", f"{depth:,} commands in its queue") if grows else None

    def _unreadable(self, look: Look) -> Optional[str]:
        """Return that a server cannot be asked, if that is certain."""
        if isinstance(look, ServerQueue):
            self._failures[look.url] = 0
            return None
        failures = self._failures[look.url] = self._failures.get(look.url, 0) + 1
        if failures < FAILURES and not look.closed:
            return None
        return f"the queue of {name(look.url)} cannot be read: {look.why}"


def _idle(look: Look) -> bool:
    """Return whether no request waits at a server; one that never says so does not count."""
    return look.waiting == 0 if isinstance(look, ServerQueue) else look.closed


class Throttle:
    """Looks at the servers every two seconds, and says how many runs there may be at once."""

    def __init__(
        self,
        queues: Queues,
        at_once: int,
        *,
        running: Callable[[], int],
        database: Optional[PuppetDB] = None,
        look_s: float = LOOK_S,
    ) -> None:
        self.changed = asyncio.Event()  # set whenever `limit` or `reason` has changed; cleared by the reader
        self._queues = queues
        self._rules = Rules(at_once)
        self._running = running
        self._database = database
        self._look_s = look_s

    @property
    def limit(self) -> int:
        """Return how many runs there may be at once, from 1 to at_once."""
        return self._rules.limit

    @property
    def reason(self) -> Optional[str]:
        """Return why the limit is below at_once, or why it does not follow the queues."""
        return self._rules.reason

    async def run(self) -> None:
        """Look at the servers, until the task is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._look_s)

    async def look(self) -> None:
        """Look at the servers once. Before the first run, this says with how many to begin."""
        looks, depth = await asyncio.gather(self._queues.look(), self._depth())
        before = self.limit, self.reason
        self._rules.take(looks, self._running(), depth)
        if (self.limit, self.reason) != before:
            self.changed.set()

    async def _depth(self) -> Optional[int]:
        if self._database is None:
            return None
        try:
            return await asyncio.wait_for(self._database.queue_depth(), ANSWER_S)
        except asyncio.TimeoutError:
            return None
