"""One invocation, once it may start: the canaries, the rest, and what stops them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, Optional

from twitch.fleet import question
from twitch.fleet.events import Summary
from twitch.fleet.node.api import NodeApi
from twitch.fleet.nodes import Node
from twitch.fleet.puppetdb.client import PuppetDB
from twitch.fleet.puppetserver.queue import Queues
from twitch.fleet.puppetserver.throttle import Throttle
from twitch.fleet.run import canary, exit_status, introduction
from twitch.fleet.run.budget import Budget
from twitch.fleet.run.command_line import one_per
from twitch.fleet.run.following import MAX_HELD, Following, Held, LetGo
from twitch.fleet.run.job import Job
from twitch.fleet.run.ledger import Ledger
from twitch.fleet.run.outputs import Outputs
from twitch.fleet.run.proving import Proving
from twitch.fleet.run.stage import Stages
from twitch.fleet.run.start_once import Asking
from twitch.fleet.run.surprise import Surprise
from twitch.fleet.run.window import Window
from twitch.fleet.show.digest import cancel_command
from twitch.fleet.stopping import Stop, signals


class Invocation:
    """Runs Puppet on all nodes of a job, as far as the rules allow."""

    def __init__(
        self,
        options: Namespace,
        todo: Job,
        api: NodeApi,
        database: Optional[PuppetDB],
        queues: Optional[Queues],
        outputs: Outputs,
    ) -> None:
        plan = todo.plan
        self._options = options
        self._todo = todo
        self._api = api
        self._database = database
        self._outputs = outputs
        self._timeout_s = float(options.timeout)
        self._stop = Stop()
        self._budget = Budget(plan.max_failures, plan.max_unreachable, count_old=options.count_old_failures)
        self._ledger = Ledger(outputs.event, self._budget, self._stop, plan.failed_before)
        stop_on_surprise = self._stop if options.stop_on_surprise else None
        self._surprise = Surprise(outputs.note, stop_on_surprise, canaries=plan.canary)
        self._window = Window((), at_once=plan.at_once)  # of the stage that goes on
        self._watchers: list[asyncio.Task[None]] = []
        self._throttle: Optional[Throttle] = None
        if queues is not None:
            self._throttle = Throttle(queues, plan.at_once, running=self._running, database=self._database)

    async def to_the_end(self) -> int:
        """Start and follow, until nothing more will happen; return the exit status."""
        stop = self._stop
        self._outputs.broken = stop.stop
        stop.on_first_interrupt = self._interrupted
        if self._options.until is not None:
            stop.at(self._options.until, time.time(), "--until: its time has come")
        self._adopt()
        with signals(stop):
            async with self._stages() as stages:
                await _first_of(self._all(stages), stop.left.wait(), *self._watchers)
        return exit_status.of(self._budget, left_by=stop.left_by, exit_pending=self._options.exit_pending)

    def summary(self, status: int) -> Summary:
        """Return the last line of the result."""
        results = self._outputs.results
        said = self._surprise.summary()
        if said is not None:
            self._outputs.note(said)
        return Summary(
            time.time(),
            {outcome: number for outcome, number in results.outcomes.items() if number},
            results.failed_new,
            results.failed_before,
            results.fixed,
            status,
            self._stop.reason,
        )

    # ---- the stages

    async def _all(self, stages: Stages) -> None:
        """Run the canaries, and then the rest."""
        stage = functools.partial(self._stage, stages)
        rest = self._todo.nodes
        if self._todo.plan.canary:
            rest = await canary.go_first(rest, self._todo.plan.canary, stage, self._ledger, self._stop)
            self._surprise.compare()
            self._confirm(len(rest))
        await stage(rest)

    async def _stage(self, stages: Stages, nodes: Sequence[Node]) -> None:
        _, per_group = one_per(self._options)
        throttle = self._throttle
        limit = None if throttle is None else lambda: throttle.limit
        self._window = Window(
            nodes,
            at_once=self._todo.plan.at_once,
            begun=self._todo.earlier.nodes,
            per_group=per_group,
            limit=limit,
        )
        await stages.stage(self._window)

    def _confirm(self, rest: int) -> None:
        if not self._options.confirm or self._stop.reason is not None or not rest:
            return
        self._outputs.pause()
        if not question.agreed(introduction.after_canaries(self._outputs.results, rest), self._options):
            self._stop.stop("not confirmed after the canaries")

    @contextlib.asynccontextmanager
    async def _stages(self) -> AsyncIterator[Stages]:
        """Yield what takes nodes through the stages; after this context, no run is followed any more."""
        async with contextlib.AsyncExitStack() as until_end:
            plan = self._todo.plan
            let_go = LetGo(self._api, self._database, noop=plan.ask.noop, note=self._outputs.note)
            await until_end.enter_async_context(let_go.following())
            proving = None
            if self._database is not None:
                proving = Proving(self._database, self._ledger)
                self._watch(proving.run(), until_end)
            if self._throttle is not None:
                await self._throttle.look()  # it says with how many runs to begin
                for watcher in (self._throttle.run(), self._follow_throttle(self._throttle)):
                    self._watch(watcher, until_end)
            following = self._following(let_go)
            asking = Asking(
                self._api, plan.ask, self._stop,
                label_is_unique=self._todo.label_is_unique, busy_limit_s=self._timeout_s,
                keep=isinstance(following, Held),
            )  # fmt: skip
            stages = Stages(
                asking, following, let_go if self._database else None, proving,
                self._ledger, self._stop, self._surprise,
                timeout_s=self._timeout_s, earlier=self._todo.earlier,
            )  # fmt: skip
            until_end.push_async_callback(stages.leave)
            yield stages

    def _watch(self, watcher: Coroutine[Any, Any, None], until_end: contextlib.AsyncExitStack) -> None:
        """Run a task that ends only with an error, which is one of the command."""
        task = _task(watcher)
        self._watchers.append(task)
        until_end.push_async_callback(_cancel, task)

    def _following(self, let_go: LetGo) -> Following:
        """Return how runs are followed: by connections while they are few enough, else without any."""
        plan, how = self._todo.plan, self._options.follow
        # With fewer connections than slots, runs that are followed would keep others from being started.
        many = plan.at_once > min(MAX_HELD, self._api.connections)
        if how == "puppetdb" or (how is None and many):
            return let_go
        return Held(self._api, noop=plan.ask.noop, timeout_s=self._timeout_s)

    # ---- what comes from outside

    def _adopt(self) -> None:
        """Take over what an earlier invocation has done, so that this result is whole."""
        for node, known in self._todo.kept:
            self._ledger.adopt(node, known)
            if known.canary:
                self._surprise.expect(node, known.changes)
        for node in self._todo.nodes:
            self._ledger.adopt_open(node, self._todo.earlier)

    async def _follow_throttle(self, throttle: Throttle) -> None:
        while True:
            await throttle.changed.wait()
            throttle.changed.clear()
            self._window.look_again()
            self._outputs.window(throttle.limit, self._todo.plan.at_once, throttle.reason)

    def _running(self) -> int:
        return self._window.running

    def _interrupted(self) -> None:
        runs = f"{self._window.running} runs are" if self._window.running != 1 else "1 run is"
        self._outputs.note(f"Nothing more is started; {runs} followed to the end. Ctrl-C again leaves.")
        if self._outputs.file is not None and self._window.running:
            self._outputs.note(f"To stop these runs: {cancel_command(self._outputs.file)}")


async def _first_of(
    work: Coroutine[Any, Any, None], end: Coroutine[Any, Any, Any], *watchers: asyncio.Task[None]
) -> None:
    """Do the work until it is done, or until the end comes; raise its error, or that of a watcher.

    Without a watcher, the work could wait for ever: for a proof, or for a slot.
    """
    tasks = _task(work), _task(end)
    done, _ = await asyncio.wait((*tasks, *watchers), return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for one in done:
        one.result()


def _task(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(coroutine)


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
