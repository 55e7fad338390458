from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest

from tests import fleet_nodes
from tests.unit.fleet.run.running import Operator
from twitch.fleet.events import Ask
from twitch.fleet.node.answers import RESET, Answer, NotReached, RunRecord
from twitch.fleet.node.api import NodeApi
from twitch.fleet.nodes import Node
from twitch.fleet.run.start_once import Asking, Started
from twitch.fleet.stopping import Stop


def test_an_anonymous_caller_who_sees_no_label_starts_no_run_twice(tmp_path: Path) -> None:
    faults = {"reset": 0.5, "cut": 0.3}
    with fleet_nodes.start(10, faults=faults, run_s=(0.05, 0.1), anonymous="trigger status") as fleet:
        operator = Operator(fleet, tmp_path)
        operator.access = ("--port", str(fleet.port), "--plain-http", "--address-fact", "networking.ip")
        ended = operator.run("--at-once", "10")
        assert (ended.status, ended.outcomes()) == (0, {"changed": 10})
        assert set(ended.runs.values()) == {1}


class OneNode:
    """A node that starts our run, or not, and answers nothing the first time."""

    def __init__(self, colleague: RunRecord) -> None:
        self.list = [colleague]
        self.asked = 0

    async def trigger(self, node: Node, ask: Ask, *, keep: bool) -> Answer:
        self.asked += 1
        if self.asked == 1:
            raise NotReached("the connection was closed", RESET, sent=True)
        return Answer(202, "", run="b" * 32)

    async def runs(self, node: Node, **query: Any) -> list[RunRecord]:
        return self.list

    async def run(self, node: Node, run: str) -> Answer:
        return Answer(200, "", record=self.list[0], date=time.time())


@pytest.mark.parametrize(("noop", "run", "asked"), [(True, "b" * 32, 2), (False, "a" * 32, 1)])
async def test_a_dry_run_of_a_colleague_is_not_taken_for_ours(noop: bool, run: str, asked: int) -> None:
    """Without our answer, a run with our label is ours, if it was asked for at that time, and applies."""
    colleague = RunRecord("a" * 32, "running", label="CHG-1", asked=time.time(), noop=noop)
    node = OneNode(colleague)
    asking = Asking(cast(NodeApi, node), Ask(label="CHG-1"), Stop(), label_is_unique=False, busy_limit_s=9)
    assert (await asking.ask(Node("web1")), node.asked) == (Started(run), asked)
