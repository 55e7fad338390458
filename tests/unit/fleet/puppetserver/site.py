"""A simulated site: how long its runs take, and its queue, with the rules of the throttle."""

from __future__ import annotations

import random
from typing import NamedTuple

from twitch.fleet.puppetserver.queue import ServerQueue
from twitch.fleet.puppetserver.throttle import LOOK_S, Rules

STEP_S = 0.1
LONGEST_S = 20_000


class Site(NamedTuple):
    """A puppetserver, and nodes whose runs take so long."""

    jrubies: int
    before_s: float  # of a run before its catalog: facts
    catalog_s: float
    after_s: float
    at_once: int
    nodes: int

    @property
    def shortest_s(self) -> float:
        """Return how long all runs take at the earliest, with any number at once up to at_once."""
        run_s = self.before_s + self.catalog_s + self.after_s
        by_server = self.catalog_s / self.jrubies
        return self.nodes * max(by_server, run_s / self.at_once) + self.before_s + self.after_s


class Course(NamedTuple):
    """How it went."""

    lasted_s: float
    longest_wait_s: float
    longest_queue: int


class _Run:
    def __init__(self, until: float) -> None:
        self.stage, self.until = "before", until


def play(site: Site, seed: int = 1) -> Course:
    """Run Puppet on all nodes, with as many at once as the rules say after each look."""
    chance, rules, now = random.Random(seed), Rules(site.at_once), 0.0
    runs: list[_Run] = []
    waiting: list[_Run] = []
    begun = ended = steps = longest_queue = 0
    longest_wait_s = 0.0

    def about(seconds: float) -> float:
        return now + seconds * chance.uniform(0.5, 1.5)

    while ended < site.nodes and now < LONGEST_S:
        if steps % round(LOOK_S / STEP_S) == 0:
            oldest_s = max((now - one.until for one in waiting), default=0.0)
            longest_wait_s, longest_queue = max(longest_wait_s, oldest_s), max(longest_queue, len(waiting))
            look = ServerQueue(
                "https://a:8140", site.jrubies, 0, len(waiting), oldest_s, 0, 99, site.catalog_s
            )
            rules.take([look], len(runs))
        while begun < site.nodes and len(runs) < rules.limit:
            runs.append(_Run(about(site.before_s)))
            begun += 1
        for one in runs:
            if one.stage == "before" and one.until <= now:
                one.stage = "waiting"
                waiting.append(one)
            elif one.stage == "catalog" and one.until <= now:
                one.stage, one.until = "after", about(site.after_s)
        busy = sum(one.stage == "catalog" for one in runs)
        for one in waiting[: site.jrubies - busy]:
            one.stage, one.until = "catalog", about(site.catalog_s)
        del waiting[: site.jrubies - busy]
        left = [one for one in runs if one.stage != "after" or one.until > now]
        ended, runs = ended + len(runs) - len(left), left
        now, steps = now + STEP_S, steps + 1
    return Course(now, longest_wait_s, longest_queue)
