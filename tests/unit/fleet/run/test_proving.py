"""Proofs: what counts as one, and what happens if PuppetDB sends something else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.fleet import servers
from twitch.fleet.events import NodeEvent
from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import Outcome
from twitch.fleet.run.budget import Budget
from twitch.fleet.run.ledger import Ledger
from twitch.fleet.run.proving import Proving
from twitch.fleet.run.verdicts import End
from twitch.fleet.stopping import Stop

pytestmark = pytest.mark.usefixtures("impatient")

RUN = "a" * 32
ROW = {"certname": "web1.test", "job_id": RUN, "hash": "b" * 40, "status": "changed"}


async def proofs(rows: list[dict[str, Any]]) -> dict[str, NodeEvent]:
    """Return the last event of two nodes that both say they have changed something in one run."""
    events: dict[str, NodeEvent] = {}

    def record(event: NodeEvent) -> None:
        events[event.node] = event

    ledger = Ledger(record, Budget(0, None), Stop())
    async with servers.puppetdb(rows) as (database, _):
        proving = Proving(database, ledger)
        task = asyncio.ensure_future(proving.run())
        for name in ("web1.test", "evil.test"):
            proving.add(Node(name), RUN, End(Outcome.CHANGED))
        await asyncio.wait_for(proving.idle(), servers.PATIENCE_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return events


async def test_a_node_that_names_the_run_of_another_node_is_unproven() -> None:
    events = await proofs([ROW])
    assert (events["web1.test"].outcome, events["web1.test"].report) == (Outcome.CHANGED, ROW["hash"])
    assert (events["evil.test"].outcome, events["evil.test"].report) == (Outcome.UNPROVEN, None)


async def test_rows_that_are_no_reports_prove_nothing_and_are_said() -> None:
    events = await proofs([{**ROW, "hash": None}])
    assert {event.outcome for event in events.values()} == {Outcome.UNPROVEN}
    assert "a row without 'hash'" in str(events["web1.test"].error)
