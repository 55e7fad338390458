"""A run that was started, until it is known what became of it.

Up to MAX_HELD runs at once, a connection to each node waits for the end of its run (`Held`). Above that,
there are no connections (`LetGo`): a TLS connection costs 80 KiB (loop.py), so 10,000 are 800 MiB, while one
query to PuppetDB about 10,000 runs takes 0.26 s (PuppetDB 8.4.1). PuppetDB is asked about all runs at once,
and a node only when PuppetDB has been silent about its run for a minute. Without a PuppetDB, the nodes are
asked in turn. `--follow`, or fewer connections than slots, decide otherwise (`Invocation._following`).

    following ──verdict──▶ End
      │   ├─ another Puppet run was first ──▶ Overtaken: back to the window
      │   ├─ the caller may not read runs ──▶ Unreadable: followed by PuppetDB
      │   └─ node out of reach for OUT_OF_REACH_S, or it knows no such run ──▶ Gone: PuppetDB may know
      └─ after --timeout: late, and followed further (see stage.py)
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
import random
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, Callable, NamedTuple, Optional, Protocol, Union

from twitch import durations
from twitch.fleet.events import Change
from twitch.fleet.node.answers import Answer, NotReached
from twitch.fleet.node.api import NodeApi
from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import GOOD, Outcome
from twitch.fleet.puppetdb.changes import changes_of
from twitch.fleet.puppetdb.client import PuppetDB, PuppetDBError
from twitch.fleet.puppetdb.reports import Report, reports_of
from twitch.fleet.run import verdicts
from twitch.fleet.run.verdicts import BUSY, End

MAX_HELD = 500  # connections, 72 MiB with TLS
WAIT_S = 60  # of one request for the end of a run
OUT_OF_REACH_S = 120.0  # a reboot, or an upgrade of the network, in the middle of a run
AGAIN_S = (1.0, 15.0)  # before a node that did not answer is asked again: at first, and at most

# PuppetDB is asked again after five times the time that its last answer took, but after these at least and at
# most: so it spends at most a sixth of one connection's time on us. A slot stays taken until the end of its
# run is known, so with 5 s fixed, runs of 5 to 60 s would take 8 % longer (2.5 s of 32).
LOOK_S = (1.0, 5.0)
LOOK_FACTOR = 5

SILENT_S = 60.0  # PuppetDB about a run; then the node itself is asked
TURN_S = 10.0  # between two looks at a node, if there is no PuppetDB
LOOKS_AT_ONCE = 100  # nodes that are asked at the same time about runs that PuppetDB does not know


class Gone(NamedTuple):
    """The node does not say any more what became of the run."""

    why: str


class Unreadable(NamedTuple):
    """The caller may start runs on the node, and may not read what became of them."""

    why: str


class Overtaken(NamedTuple):
    """The run has not begun, because another Puppet run had: the node can be asked anew."""

    why: str


Followed = Union[End, Gone, Unreadable, Overtaken]


class Following(Protocol):
    """A way to learn what becomes of runs."""

    async def end_of(self, node: Node, run: str) -> Followed:
        """Return what became of a run, as soon as that is known. There is no limit of time."""


class Held:
    """Follows each run on a connection to its node."""

    def __init__(self, api: NodeApi, *, noop: bool, timeout_s: float) -> None:
        """Follow late runs, after `timeout_s`, without a connection that waits."""
        self._api = api
        self._noop = noop
        self._timeout_s = timeout_s

    async def end_of(self, node: Node, run: str) -> Followed:
        """Return what became of a run, as soon as the node says so."""
        loop = asyncio.get_running_loop()
        began = heard = loop.time()
        again_s = AGAIN_S[0]
        while True:
            asked = loop.time()
            late_s = began + self._timeout_s - asked
            try:
                answer = await self._api.run(node, run, wait_s=max(1, min(WAIT_S, math.ceil(late_s))))
                found = _read(answer, noop=self._noop)
                if found is not None:
                    return found
                why = answer.message
            except NotReached as error:
                answer, why = None, str(error)
            if answer is not None and answer.status in (200, 202):
                heard, again_s = loop.time(), AGAIN_S[0]
                if late_s <= 0:
                    await asyncio.sleep(WAIT_S)
                elif loop.time() - asked < AGAIN_S[0]:
                    # The listener was stopped, or needs its places: a new one answers in a moment.
                    await asyncio.sleep(AGAIN_S[0])
                continue
            if loop.time() - heard > OUT_OF_REACH_S:
                return Gone(f"out of reach for {durations.shown(OUT_OF_REACH_S)}: {why}")
            await asyncio.sleep(again_s)
            again_s = min(AGAIN_S[1], again_s * 2)


class _Open:
    """A run that goes on."""

    def __init__(self, node: Node, run: str, heard: float) -> None:
        self.node = node
        self.run = run
        self.heard = heard  # loop.time() of the last answer of the node
        self.end: asyncio.Future[Followed] = asyncio.get_running_loop().create_future()


class LetGo:
    """Follows all runs without connections, by PuppetDB if there is one, and by looks at the nodes."""

    def __init__(
        self, api: NodeApi, database: Optional[PuppetDB], *, noop: bool, note: Callable[[str], None]
    ) -> None:
        self._api = api
        self._database = database
        self._noop = noop
        self._note = note
        self._first_look_s = SILENT_S if database is not None else TURN_S
        self._open: dict[str, _Open] = {}  # name of a node -> its run
        self._due: list[tuple[float, str]] = []  # a heap of looks at nodes: when, name
        self._changed = asyncio.Event()
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def end_of(self, node: Node, run: str) -> Followed:
        """Return what became of a run, as soon as PuppetDB or the node says so."""
        now = asyncio.get_running_loop().time()
        one = self._open[node.name] = _Open(node, run, now)
        self._look_later(one, self._first_look_s * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
        if len(self._open) == 1:
            self._changed.set()
        try:
            return await one.end
        finally:
            self._open.pop(node.name, None)

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[LetGo]:
        """Follow while this context lasts."""
        loop = asyncio.get_running_loop()
        followers = [loop.create_task(self._look_at_nodes())]
        if self._database is not None:
            followers.append(loop.create_task(self._look_at_database(self._database)))
        try:
            yield self
        finally:
            for task in (*followers, *self._tasks):
                task.cancel()
            await asyncio.gather(*followers, *self._tasks, return_exceptions=True)

    # ---- PuppetDB

    async def _look_at_database(self, database: PuppetDB) -> None:
        loop, silent = asyncio.get_running_loop(), False
        while True:
            while not self._open:
                self._changed.clear()
                await self._changed.wait()
            began = loop.time()
            try:
                runs = {name: one.run for name, one in self._open.items()}
                reports = await reports_of(database, runs)
            except PuppetDBError as error:
                if not silent:
                    self._note(f"{error}. The nodes are asked in turn until PuppetDB answers again.")
                silent, reports = True, {}
            else:
                silent = False
            await self._reported(database, reports)
            await asyncio.sleep(pause_s(loop.time() - began))

    async def _reported(self, database: PuppetDB, reports: Mapping[str, Report]) -> None:
        """Take in the reports that have come, with the changes that are in them."""
        ends = {name: verdicts.of_report(report) for name, report in reports.items() if name in self._open}
        hashes = {name: end.report for name, end in ends.items() if end.report and not _is_unchanged(end)}
        changes: Mapping[str, tuple[Change, ...]] = {}
        if hashes:
            with contextlib.suppress(PuppetDBError):  # the outcome is known all the same
                changes = await changes_of(database, hashes)
        for name, end in ends.items():
            end = verdicts.with_changes(end, changes.get(name, ()))
            one = self._open.get(name)
            if one is None:
                continue
            if end.outcome in GOOD or end.changes:
                _set(one.end, end)
            else:
                # There was no catalog, so no event says why; the record of the node does.
                self._start(self._look_at(one, instead=end))

    # ---- the nodes

    def _look_later(self, one: _Open, delay_s: float) -> None:
        heapq.heappush(self._due, (asyncio.get_running_loop().time() + delay_s, one.node.name))
        if self._due[0][1] == one.node.name:
            self._changed.set()

    async def _look_at_nodes(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._due and self._due[0][0] <= loop.time():
                one = self._open.get(heapq.heappop(self._due)[1])
                if one is not None:
                    await self._looks.acquire()
                    self._start(self._look_and_release(one))
            self._changed.clear()
            until_s = self._due[0][0] - loop.time() if self._due else None
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), until_s)

    async def _look_and_release(self, one: _Open) -> None:
        try:
            await self._look_at(one)
        finally:
            self._looks.release()

    async def _look_at(self, one: _Open, instead: Optional[End] = None) -> None:
        """Ask a node for its run. If it has no verdict, `instead` is what became of the run."""
        loop = asyncio.get_running_loop()
        found: Optional[Followed] = None
        why = ""
        try:
            answer = await self._api.run(one.node, one.run)
            found = _read(answer, noop=self._noop)
            why = answer.message
            if answer.status in (200, 202):
                one.heard = loop.time()
        except NotReached as error:
            why = str(error)
        if instead is not None:
            same = isinstance(found, End) and found.outcome is instead.outcome
            found = found._replace(report=instead.report) if isinstance(found, End) and same else instead
        if isinstance(found, Unreadable) and self._database is not None:
            found, one.heard = None, loop.time()  # PuppetDB will say it
        if found is None and loop.time() - one.heard > OUT_OF_REACH_S:
            found = Gone(f"out of reach for {durations.shown(OUT_OF_REACH_S)}: {why}")
        if found is not None:
            _set(one.end, found)
        else:
            # A node that does not answer is asked again soon.
            quiet = loop.time() - one.heard < AGAIN_S[0]
            self._look_later(one, self._first_look_s if quiet else AGAIN_S[1])

    def _start(self, look: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(look)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def pause_s(took_s: float) -> float:
    """Return how long PuppetDB is left alone after an answer that took `took_s`."""
    return min(LOOK_S[1], max(LOOK_S[0], LOOK_FACTOR * took_s))


def _read(answer: Answer, *, noop: bool) -> Optional[Followed]:
    """Return what a node says of a run; None if the run goes on, or the node cannot say it now."""
    verdict = answer.verdict or (answer.record.verdict if answer.record else None)
    if verdict == BUSY:
        return Overtaken(answer.message)
    if answer.status in (200, 500):
        return verdicts.of_answer(answer, noop=noop)
    if answer.status in (401, 403):
        return Unreadable(f"{answer.status}: {answer.message}")
    if answer.status == 404:
        return Gone(f"{answer.status}: {answer.message}")
    return None


def _is_unchanged(end: End) -> bool:
    return end.outcome is Outcome.UNCHANGED


def _set(future: asyncio.Future[Followed], value: Followed) -> None:
    if not future.done():
        future.set_result(value)
