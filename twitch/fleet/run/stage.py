"""One node after the other through the window to its outcome: the canary is one stage, the rest another.

    waiting ──slot──▶ asking ──id──▶ following ──verdict──▶ ended ──report──▶ proven
       ▲                │ │             │  │ │                │
       │                │ │             │  │ │                └─ no report ──▶ unproven
       │                │ │             │  │ └─ out of reach ──▶ lost ──report──▶ proven
       │                │ │             │  └─ --timeout ──▶ late ──verdict──▶ ended
       │                │ └─ disabled, refused, unreachable, not attempted, lost
       └─ busy, ────────┴─ another run was first
          or not now

    waiting ──stop──▶ not started

The slot is held from `asking` to `ended`, `late` or `lost`. Every node comes to one of the outcomes in a
bounded time: asking, following and proving have limits of their own (saltstack/salt#66249 hung for ever).
There is a task for each slot and for each late run, and none for a node that waits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Optional

from twitch import durations
from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import GOOD, Outcome
from twitch.fleet.run.following import Following, Gone, Overtaken, Unreadable
from twitch.fleet.run.ledger import NOTHING_EARLIER, Earlier, Ledger
from twitch.fleet.run.proving import Proving
from twitch.fleet.run.start_once import Asking, NotNow, Started
from twitch.fleet.run.surprise import Surprise
from twitch.fleet.run.verdicts import End
from twitch.fleet.run.window import Window
from twitch.fleet.stopping import Stop

# Another Puppet run was a moment earlier than ours: it goes on for a while. A node on which this happens
# again and again is left to its owner.
OVERTAKEN_S = 15.0
OVERTAKEN_TIMES = 5


class Stages:
    """Takes nodes to their outcomes, stage after stage."""

    def __init__(
        self,
        asking: Asking,
        following: Following,
        by_puppetdb: Optional[Following],
        proving: Optional[Proving],
        ledger: Ledger,
        stop: Stop,
        surprise: Surprise,
        *,
        timeout_s: float,
        earlier: Earlier = NOTHING_EARLIER,
    ) -> None:
        """A run that goes on for longer than `timeout_s` is late, and its slot is free."""
        self._asking = asking
        self._following = following
        self._by_puppetdb = by_puppetdb
        self._proving = proving
        self._ledger = ledger
        self._stop = stop
        self._surprise = surprise
        self._timeout_s = timeout_s
        self._runs = dict(earlier.runs)
        self._in_doubt = dict(earlier.in_doubt)
        self._overtaken: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: Optional[BaseException] = None  # an error in this program

    async def stage(self, window: Window) -> None:
        """Take all nodes of a window to an outcome, and wait for their proofs. Late runs are followed on."""
        self._stop.on_stop(lambda reason: window.close())
        async for node in window.turns():
            task = asyncio.get_running_loop().create_task(self._turn(window, node))
            self._tasks.add(task)
            task.add_done_callback(self._turned)
        for node in window.left():
            self._ledger.ended(node, End(Outcome.NOT_STARTED, self._stop.reason))
        if self._proving is not None:
            await self._proving.idle()
        if self._broken is not None:
            raise self._broken

    async def leave(self) -> None:
        """Follow nothing any more. The runs go on."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- one node

    async def _turn(self, window: Window, node: Node) -> None:
        try:
            run = self._runs.pop(node.name, None) or await self._start(window, node)
            if run is not None:
                self._ledger.running(node, run)
                await self._follow(window, node, run)
        finally:
            window.free(node)

    async def _start(self, window: Window, node: Node) -> Optional[str]:
        """Return the id of the run of a node; None if there is none, or not yet."""
        self._stop.look_at_the_clock()
        if self._stop.reason is None:
            self._ledger.queued(node)
        asked = await self._asking.ask(node, in_doubt_since=self._in_doubt.pop(node.name, None))
        if isinstance(asked, Started):
            return asked.run
        if isinstance(asked, NotNow):
            self._ledger.queued(node, asked.why)
            window.to_the_back(node, asked.delay_s)
        else:
            self._ledger.ended(node, asked)
        return None

    async def _follow(self, window: Window, node: Node, run: str) -> None:
        timer = asyncio.get_running_loop().call_later(self._timeout_s, self._is_late, window, node)
        try:
            followed = await self._following.end_of(node, run)
            if isinstance(followed, Unreadable) and self._by_puppetdb is not None:
                followed = await self._by_puppetdb.end_of(node, run)
        finally:
            timer.cancel()
        if isinstance(followed, Overtaken):
            self._was_overtaken(window, node, followed.why)
            return
        if isinstance(followed, Unreadable):
            # Without an end that can be seen, a slot means nothing.
            self._stop.stop(f"runs cannot be followed: {node.name} answers {followed.why}")
        end = End(Outcome.LOST, followed.why) if isinstance(followed, (Gone, Unreadable)) else followed
        self._ledger.ended(node, end)
        self._surprise.look(node, end)
        if self._proving is not None and end.report is None and end.outcome in (*GOOD, Outcome.LOST):
            self._proving.add(node, run, end)

    def _is_late(self, window: Window, node: Node) -> None:
        """Free the slot of a run that goes on. This is the only way in which a slot is free before a verdict.

        Otherwise a few runs that hang would keep all other nodes from their turn.
        """
        limit = durations.shown(self._timeout_s)
        self._ledger.ended(node, End(Outcome.LATE, f"still running after {limit} (--timeout); it goes on"))
        window.free(node)

    def _was_overtaken(self, window: Window, node: Node, why: str) -> None:
        self._overtaken[node.name] += 1
        late = self._ledger.outcome(node) is Outcome.LATE  # it has no slot any more, and no other turn
        if late or self._overtaken[node.name] >= OVERTAKEN_TIMES:
            self._ledger.ended(node, End(Outcome.NOT_STARTED, why))
        else:
            self._ledger.queued(node, why)
            window.to_the_back(node, OVERTAKEN_S)

    def _turned(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._broken is None:
            self._broken = error
            self._stop.stop(f"an error in puppet-twitch-fleet: {error!r}")
