"""How long a run over many nodes takes at the earliest, by what a run costs the puppetservers.

A puppetserver adds up how long each kind of request has used a JRuby (`borrow-timers`). The sum of these
times, divided by the number of catalogs, is the cost of a run. A JRuby serves one request at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional

from twitch.fleet.puppetserver.queue import Look, ServerQueue

# With fewer catalogs since the start of the server, the first ones, which are slow, would decide.
ENOUGH_CATALOGS = 10


class Forecast(NamedTuple):
    """What the puppetservers can do."""

    servers: int
    jrubies: int
    jruby_s: Optional[float]  # of a run; None: no server has compiled enough catalogs to know
    runs_per_minute: Optional[float]

    def shortest_s(self, nodes: int) -> Optional[float]:
        """Return how long that many runs take at the earliest."""
        return nodes / self.runs_per_minute * 60 if self.runs_per_minute else None


def forecast(looks: Sequence[Look]) -> Optional[Forecast]:
    """Return what the puppetservers that answer can do; None if none does."""
    queues = [look for look in looks if isinstance(look, ServerQueue)]
    if not queues:
        return None
    jrubies = sum(queue.jrubies for queue in queues)
    costs = [queue for queue in queues if queue.jruby_s and queue.catalogs >= ENOUGH_CATALOGS]
    if not costs:
        return Forecast(len(queues), jrubies, None, None)
    catalogs = sum(queue.catalogs for queue in costs)
    jruby_s = sum((queue.jruby_s or 0) * queue.catalogs for queue in costs) / catalogs
    return Forecast(len(queues), jrubies, jruby_s, 60 * jrubies / jruby_s)
