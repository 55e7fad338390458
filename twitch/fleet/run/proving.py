"""The proof of each run: its report in PuppetDB, which has our id, and says how the run ended.

A report can be found 0.3 s after the end of a run, or when PuppetDB has worked off its queue. So PuppetDB is
asked for PROOF_S, and longer while its queue is not empty. Runs of nodes that are out of reach are looked for
as well: a node that has lost its network, or its records, has perhaps sent its report before.

Proving holds no slot. All runs that wait for a proof are one query.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Optional

from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import GOOD
from twitch.fleet.puppetdb.client import PuppetDB, PuppetDBError
from twitch.fleet.puppetdb.reports import Report, reports_of
from twitch.fleet.run import verdicts
from twitch.fleet.run.following import pause_s
from twitch.fleet.run.ledger import Ledger
from twitch.fleet.run.verdicts import End

PROOF_S = 60.0
LONGEST_S = 600.0  # while PuppetDB works off its queue


class _Open(NamedTuple):
    """A run without a proof."""

    node: Node
    run: str
    end: End  # what is known without PuppetDB
    since: float  # loop.time()


class Proving:
    """Proves the runs of a PuppetDB; `run` is a task that does nothing while there are none."""

    def __init__(self, database: PuppetDB, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._open: dict[str, _Open] = {}  # name of a node -> its run
        self._came = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, node: Node, run: str, end: End) -> None:
        """Look for the report of a run that has ended so, or whose node is out of reach."""
        self._open[node.name] = _Open(node, run, end, asyncio.get_running_loop().time())
        self._came.set()
        self._idle.clear()

    async def idle(self) -> None:
        """Wait until no run waits for its proof."""
        await self._idle.wait()

    async def run(self) -> None:
        """Look for reports until the task is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._came.wait()
            began, trouble = loop.time(), None
            try:
                runs = {name: one.run for name, one in self._open.items()}
                reports = await reports_of(self._database, runs)
            except PuppetDBError as error:
                reports, trouble = {}, str(error)
            for report in reports.values():
                self._found(report)
            await self._give_up(trouble)
            if not self._open:
                self._came.clear()
                self._idle.set()
            else:
                await asyncio.sleep(pause_s(loop.time() - began))

    def _found(self, report: Report) -> None:
        one = self._open.pop(report.node, None)
        if one is None:
            return
        end = verdicts.of_report(report)
        if one.end.outcome in GOOD and end.outcome in GOOD:
            # The line `ended` has what the node knows: what would change, numbers, resources.
            end = End(one.end.outcome, report=report.hash)
        self._ledger.proven(one.node, end)

    async def _give_up(self, trouble: Optional[str]) -> None:
        now = asyncio.get_running_loop().time()
        late = {name: one for name, one in self._open.items() if now - one.since >= PROOF_S}
        if not late:
            return
        if trouble is None and await self._database.queue_depth():
            late = {name: one for name, one in late.items() if now - one.since >= LONGEST_S}
        for name, one in late.items():
            del self._open[name]
            if one.end.outcome in GOOD:
                self._ledger.unproven(one.node, self._why(one, trouble, now))

    def _why(self, one: _Open, trouble: Optional[str], now: float) -> str:
        verdict = f"the node says {one.end.verdict or one.end.outcome.value}"
        if trouble is not None:
            return f"{verdict}, and the report cannot be looked for: {trouble}"
        return f"{verdict}, but PuppetDB has no report of the run after {now - one.since:.0f} s"
