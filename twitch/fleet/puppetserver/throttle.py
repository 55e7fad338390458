"""How many runs there may be at once, by the queues of the puppetservers.

The queue of a server has the requests of everybody: other operators, the agents' own runs. So no limits have
to be agreed upon. The rules:

- A server is overloaded if more requests wait than it has JRubies, one has waited for five seconds, some were
  turned away, or the status comes late. PuppetDB is, if its queue has a thousand commands and grows.
- If one is overloaded: half as many runs at once, and never less than one. They are halved again only when
  the runs that were there have ended, because a run that was started cannot be taken back.
- If no request waits at any: one more each second, up to --at-once.
- If a server cannot be asked three times, or says no, this is said, and the number stays as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional

from twitch.fleet.puppetdb.client import PuppetDB
from twitch.fleet.puppetserver.queue import ANSWER_S, Look, Queues, ServerQueue, name

LOOK_S = 2.0
MORE_PER_S = 1
LONG_WAIT_S = 5.0
LONG_QUEUE = 1_000  # commands of PuppetDB; a run is three: facts, catalog, report
FAILURES = 3  # in succession, until it is said that a server cannot be asked


class Overload(NamedTuple):
    """Why there are fewer runs at once."""

    server: str
    what: str  # that it has

    def __str__(self) -> str:
        """Return it as it is now."""
        return f"{self.server} has {self.what}"

    @property
    def over(self) -> str:
        """Return it as it was, when runs are added again."""
        return f"{self.server} had {self.what}; one run more each second"


class Rules:
    """The number of runs at once, after each look at the servers."""

    def __init__(self, at_once: int) -> None:
        self.limit = at_once
        self.reason: Optional[str] = None  # why the limit is below at_once, or does not follow the queues
        self._at_once = at_once
        self._overload: Optional[Overload] = None  # the latest
        self._turned_away: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._depth = 0

    def take(self, looks: Sequence[Look], running: int, depth: Optional[int] = None) -> None:
        """Take in a look at the servers, the number of runs at once, and the queue of PuppetDB."""
        late = [self._late(look) for look in looks]
        queues = [self._overload_of(look) for look in looks if isinstance(look, ServerQueue)]
        overload = next((one for one in (*queues, *late, self._of_puppetdb(depth)) if one), None)
        unreadable = [why for look in looks for why in [self._unreadable(look)] if why]
        if overload:
            if running <= self.limit:
                self.limit = max(1, min(self.limit, running) // 2)
            self._overload = overload
        elif queues and all(map(_idle, looks)) and (depth or 0) <= LONG_QUEUE:
            self.limit = min(self._at_once, self.limit + round(MORE_PER_S * LOOK_S))
        self.reason = self._reason(overload, unreadable)

    def _reason(self, overload: Optional[Overload], unreadable: Sequence[str]) -> Optional[str]:
        if overload:
            return str(overload)
        if unreadable:
            return unreadable[0]
        return self._overload.over if self._overload and self.limit < self._at_once else None

    def _overload_of(self, look: ServerQueue) -> Optional[Overload]:
        before = self._turned_away.get(look.url, look.turned_away)
        self._turned_away[look.url] = look.turned_away
        if look.waiting > look.jrubies or look.oldest_s > LONG_WAIT_S:
            what = f"{look.waiting} in its queue, oldest {look.oldest_s:.0f} s"
        elif look.turned_away > before:
            what = f"turned away {look.turned_away - before} requests"
        else:
            return None
        return Overload(name(look.url), what)

    def _late(self, look: Look) -> Optional[Overload]:
        """Return that a status comes late. A server that has never answered is rather out of reach."""
        if isinstance(look, ServerQueue) or not look.late or look.url not in self._turned_away:
            return None
        return Overload(name(look.url), f"no answer: {look.why}")

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
        """Return why the limit is below at_once, or why it is not watched."""
        return self._rules.reason

    async def run(self) -> None:
        """Look at the servers, until the task is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._look_s)

    async def look(self) -> None:
        """Look at the servers once, such as before the first run."""
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
