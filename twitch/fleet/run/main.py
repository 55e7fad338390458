"""The command `run`, from its options to its exit status."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from typing import Optional

from twitch.fleet import exits, loop
from twitch.fleet.events import Summary
from twitch.fleet.node.access import access
from twitch.fleet.node.api import NodeApi
from twitch.fleet.nodes import Node
from twitch.fleet.puppetdb.client import PuppetDB
from twitch.fleet.run import canary, exit_status, job, question
from twitch.fleet.run.asking import Asking
from twitch.fleet.run.budget import Budget
from twitch.fleet.run.command_line import one_per, parse, who
from twitch.fleet.run.following import HELD, LOOKS_AT_ONCE, Following, Held, LetGo
from twitch.fleet.run.job import Job
from twitch.fleet.run.ledger import Ledger
from twitch.fleet.run.outputs import Outputs
from twitch.fleet.run.proving import Proving
from twitch.fleet.run.servers import open_puppetdb
from twitch.fleet.run.stage import Stages
from twitch.fleet.run.stopping import Stop, signals
from twitch.fleet.run.surprise import Surprise
from twitch.fleet.run.window import Window
from twitch.fleet.who.choice import choose

NO_PUPPETDB = "Without a PuppetDB, what the nodes say is not proven, and old failures count as new ones."


def main(arguments: Sequence[str]) -> int:
    """Run Puppet on nodes; return the exit status."""
    return loop.run(_main(parse(arguments)))


async def _main(options: Namespace) -> int:
    how = access(options)
    async with open_puppetdb(options) as database:
        chosen = await choose(who(options), database)
        todo = job.make(options, chosen, database)
        outputs = Outputs(options.json, quiet=options.quiet)
        for note in (*chosen.notes, *([NO_PUPPETDB] if database is None else [])):
            outputs.note(note)
        text = question.introduction(chosen.nodes, chosen.who, todo.plan.at_once)
        if question.must_ask(chosen.nodes, yes=options.yes):
            if not question.agreed(f"{text} Start?"):
                return exits.NOTHING_STARTED
        else:
            outputs.note(text)
        connections = min(todo.plan.at_once, HELD) + LOOKS_AT_ONCE
        async with NodeApi(how, connections=connections) as api:
            return await _Run(options, todo, api, database, outputs).to_the_end()


class _Run:
    """One invocation, once it may start."""

    def __init__(
        self, options: Namespace, todo: Job, api: NodeApi, database: Optional[PuppetDB], outputs: Outputs
    ) -> None:
        plan = todo.plan
        self._options = options
        self._todo = todo
        self._api = api
        self._database = database
        self._outputs = outputs
        self._stop = Stop()
        self._budget = Budget(plan.max_failures, plan.max_unreachable, count_old=options.count_old_failures)
        self._ledger = Ledger(outputs.event, self._budget, self._stop, plan.failed_before)
        self._surprise = Surprise(outputs.note, self._stop if options.stop_on_surprise else None)

    async def to_the_end(self) -> int:
        """Run Puppet on all nodes, as far as the rules allow; return the exit status."""
        options, stop, plan = self._options, self._stop, self._todo.plan
        self._outputs.broken = stop.stop
        self._outputs.plan(plan)
        self._adopt()
        stop.on_first_interrupt = self._interrupted
        if options.until is not None:
            stop.at(options.until, time.time(), "--until: the time is over")
        with signals(stop):
            async with self._stages() as stages:
                work = asyncio.create_task(self._all(stages))
                left = asyncio.create_task(stop.left.wait())
                await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
                left.cancel()
                work.cancel()
                await asyncio.gather(left, work, return_exceptions=True)
        if not work.cancelled() and work.exception() is not None:
            raise work.exception() or AssertionError
        status = exit_status.of(self._budget, left=stop.left.is_set(), exit_pending=options.exit_pending)
        self._finish(status)
        return status

    async def _all(self, stages: Stages) -> None:
        """Run the canaries, and then the rest."""
        stage = functools.partial(self._stage, stages)
        rest = self._todo.nodes
        if self._todo.plan.canary:
            rest = await canary.go_first(rest, self._todo.plan.canary, stage, self._ledger, self._stop)
            self._surprise.compare()
            self._confirm()
        await stage(rest)

    async def _stage(self, stages: Stages, nodes: Sequence[Node]) -> None:
        _, per_group = one_per(self._options)
        await stages.stage(Window(nodes, at_once=self._todo.plan.at_once, per_group=per_group))

    @contextlib.asynccontextmanager
    async def _stages(self) -> AsyncIterator[Stages]:
        """Give the way of a node through the stages; nothing is followed after this context."""
        plan, timeout_s = self._todo.plan, float(self._options.timeout)
        async with contextlib.AsyncExitStack() as until_end:
            following: Following
            if self._options.follow == "puppetdb" or (self._options.follow is None and plan.at_once > HELD):
                let_go = LetGo(self._api, self._database, noop=plan.ask.noop, note=self._outputs.note)
                following = await until_end.enter_async_context(let_go.following())
            else:
                following = Held(self._api, noop=plan.ask.noop, timeout_s=timeout_s)
            proving = None
            if self._database is not None:
                proving = Proving(self._database, self._ledger)
                until_end.push_async_callback(_ended, asyncio.create_task(proving.run()))
            asking = Asking(
                self._api,
                plan.ask,
                self._stop,
                label_is_unique=self._todo.label_is_unique,
                busy_limit_s=timeout_s,
            )
            stages = Stages(
                asking, following, proving, self._ledger, self._stop, self._surprise,
                timeout_s=timeout_s, earlier=self._todo.earlier,
            )  # fmt: skip
            until_end.push_async_callback(stages.leave)
            yield stages

    def _adopt(self) -> None:
        """Take over what an earlier invocation has done, so that this result is whole."""
        for node, known in self._todo.kept:
            self._ledger.adopt(node, known)
            if known.canary:
                self._surprise.expect(node, known.changes)
        for node in self._todo.nodes:
            self._ledger.adopt_open(node, self._todo.earlier)

    def _confirm(self) -> None:
        if not self._options.confirm or self._stop.reason is not None:
            return
        self._outputs.hide()
        if not question.agreed("The canaries are good. Go on with the rest?"):
            self._stop.stop("not confirmed after the canaries")
        self._outputs.show()

    def _interrupted(self) -> None:
        running = len(self._outputs.results.running)
        self._outputs.note(
            f"Nothing more is started; {running} runs are followed to their ends. Ctrl-C again leaves them."
        )

    def _finish(self, status: int) -> None:
        results = self._outputs.results
        surprise = self._surprise.summary()
        if surprise is not None:
            self._outputs.note(surprise)
        self._outputs.summary(
            Summary(
                time.time(),
                {outcome: number for outcome, number in results.outcomes.items() if number},
                results.failed_new,
                results.failed_before,
                results.fixed,
                status,
                self._stop.reason,
            )
        )


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
