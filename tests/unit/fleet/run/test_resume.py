"""Going on after a kill: what was begun is followed, and what may have been begun is looked for first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest

from tests import fleet_nodes
from tests.fleet_nodes import Fleet
from tests.unit.fleet.run.running import Operator, most_at_once
from twitch.errors import UsageError
from twitch.fleet.events import ENDED, QUEUED, RUNNING, Ask, NodeEvent, Plan
from twitch.fleet.node.access import Access
from twitch.fleet.node.api import NodeApi
from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import Outcome
from twitch.fleet.run.resume import resume
from twitch.fleet.show.result_file import ResultWriter
from twitch.fleet.show.results import Results

OWN, OF_OPERATOR = "fleet-0badcafe", "CHG-123"
RUN = "1" * 32


def plan(names: list[str], label: str = OWN, when: float = 1000.0, **ask: object) -> Plan:
    return Plan(
        when, tuple(names), Ask(label=label, **ask), "names", 20, 0, 0, None, 1,  # type: ignore[arg-type]
        failed_before=("old",),
    )  # fmt: skip


def results(*events: NodeEvent, names: list[str]) -> Results:
    found = Results()
    found.add(plan(names))
    for event in events:
        found.add(event)
    return found


def ended(name: str, outcome: Outcome, run: Optional[str] = RUN) -> NodeEvent:
    return NodeEvent(1002.0, name, ENDED, run, outcome)


def test_a_node_is_kept_followed_looked_for_or_asked_by_what_the_file_says() -> None:
    names = ["good", "failed", "off", "late", "unproven", "running", "asked", "doubt", "stopped", "new"]
    known = results(
        ended("good", Outcome.CHANGED),
        ended("failed", Outcome.FAILED),
        ended("off", Outcome.UNREACHABLE, None),
        ended("late", Outcome.LATE),
        ended("unproven", Outcome.UNPROVEN),
        NodeEvent(1001.0, "running", RUNNING, RUN),
        NodeEvent(1001.0, "asked", QUEUED),
        NodeEvent(1001.0, "doubt", QUEUED),
        ended("doubt", Outcome.LOST, None),
        ended("stopped", Outcome.NOT_STARTED, None),
        names=names,
    )
    found = resume(known, [Node(name) for name in names], Ask())
    assert [node.name for node, _ in found.kept] == ["good", "failed", "off"]
    assert set(found.earlier.runs) == {"late", "unproven", "running"}
    assert found.earlier.in_doubt == {"asked": 1001.0, "doubt": 1001.0}
    assert [node.name for node in found.nodes] == names[3:]
    assert found.ask.label == OWN and found.failed_before == {"old"}


@pytest.mark.parametrize("ask", [Ask(noop=True), Ask(tags=("ntp",)), Ask(label="CHG-9"), Ask(queue=False)])
def test_a_resumed_run_cannot_ask_for_something_else(ask: Ask) -> None:
    with pytest.raises(UsageError, match="goes on with"):
        resume(results(names=["a"]), [Node("a")], ask)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with fleet_nodes.start(2, run_s=(0.05, 0.1)) as started:
        yield started


@pytest.mark.parametrize("label", [OWN, OF_OPERATOR])
def test_a_node_that_was_asked_before_a_kill_is_not_started_again(
    fleet: Fleet, tmp_path: Path, label: str
) -> None:
    operator = Operator(fleet, tmp_path)
    before, now = operator.started(), time.time()
    _trigger(fleet, fleet.nodes[0], label)
    _write(operator, label, [(fleet.nodes[0], now - 1), (fleet.nodes[1], now - 1)])
    resumed = operator.run(who=["--from", str(operator.json)])
    assert (resumed.status, resumed.outcomes()) == (0, {"changed": 2})
    after = operator.started()
    assert {after[node.name] - before[node.name] for node in fleet.nodes} == {1}


@pytest.mark.parametrize("label", ["CHG-124", "fleet-upgrade"])
def test_an_older_run_with_the_same_label_is_not_taken_for_ours(
    fleet: Fleet, tmp_path: Path, label: str
) -> None:
    operator = Operator(fleet, tmp_path)
    _trigger(fleet, fleet.nodes[0], label)
    _write(operator, label, [(fleet.nodes[0], time.time() + 10)])
    resumed = operator.run(who=["--from", str(operator.json)])
    assert (resumed.status, resumed.runs[fleet.nodes[0].name]) == (0, 1)


def _write(operator: Operator, label: str, asked: list[tuple[Node, float]]) -> None:
    writer = ResultWriter(operator.json)
    writer.write(plan([node.name for node, _ in asked], label, time.time() - 2))
    for node, when in asked:
        writer.write(NodeEvent(when, node.name, QUEUED))
    writer.close()


def _trigger(fleet: Fleet, node: Node, label: str) -> None:
    async def trigger() -> None:
        async with NodeApi(Access(fleet.port, token=fleet.credentials.token), connections=1) as api:
            answer = await api.trigger(node, Ask(label=label))
            assert answer.status == 202

    asyncio.run(trigger())


def test_a_result_on_standard_input_can_be_resumed(fleet: Fleet, tmp_path: Path) -> None:
    operator = Operator(fleet, tmp_path)
    _trigger(fleet, fleet.nodes[0], "CHG-125")
    _write(operator, "CHG-125", [(fleet.nodes[0], time.time() - 10)])
    before = operator.started()
    with operator.json.open("rb") as stdin:
        operator.anew()
        process = operator.start(who=["--from", "-"], stdin=stdin)
        assert process.wait(60) == 0
    assert operator.read().nodes[fleet.nodes[0].name].outcome is Outcome.CHANGED
    assert operator.started() == before


def test_runs_that_go_on_are_followed_even_if_the_budget_is_used_up(fleet: Fleet, tmp_path: Path) -> None:
    operator = Operator(fleet, tmp_path)
    first, second = (node.name for node in fleet.nodes)
    _trigger(fleet, fleet.nodes[0], OWN)
    writer = ResultWriter(operator.json)
    writer.write(plan(["gone", first, second]))
    writer.write(NodeEvent(1001.0, first, QUEUED))
    writer.write(ended("gone", Outcome.FAILED))
    writer.close()
    resumed = operator.run(who=["--from", str(operator.json)])
    assert resumed.status == 2 + 8
    assert resumed.outcomes() == {"failed": 1, "changed": 1, "not started": 1}
    assert resumed.runs[second] == 0
    allowed = operator.run("--max-failures", "1", who=["--from", str(operator.json)])
    assert (allowed.status, allowed.outcomes()) == (0, {"failed": 1, "changed": 2})
    assert allowed.results.plan is not None and allowed.results.plan.max_failures == 1


def test_a_resumed_run_has_the_limits_of_the_first_one(fleet: Fleet, tmp_path: Path) -> None:
    operator = Operator(fleet, tmp_path)
    names = [node.name for node in fleet.nodes]
    writer = ResultWriter(operator.json)
    writer.write(plan(["gone", *names])._replace(max_failures=1, at_once=1))
    writer.write(ended("gone", Outcome.FAILED))
    writer.close()
    resumed = operator.run(who=["--from", str(operator.json)])
    assert (resumed.status, resumed.outcomes()) == (0, {"failed": 1, "changed": 2})
    assert most_at_once(operator.json) == 1


def test_the_nodes_of_one_cluster_take_turns_when_a_run_goes_on(tmp_path: Path) -> None:
    """With the options of the earlier run, which the command to paste does not repeat."""
    with fleet_nodes.start(14, run_s=(0.1, 0.2)) as fleet:
        operator = Operator(fleet, tmp_path)
        operator.access = operator.access[:-2]  # --address-fact
        names = [node.name for node in fleet.nodes]
        killed = plan(names)._replace(
            one_per="facts.cluster", address_fact="networking.ip", count_old_failures=True
        )
        writer = ResultWriter(operator.json)
        writer.write(killed)
        writer.close()
        resumed = operator.run(who=["--from", str(operator.json)])
        assert (resumed.status, resumed.outcomes()) == (0, {"changed": 14})
        assert resumed.results.plan is not None
        assert resumed.results.plan.one_per == "facts.cluster" and resumed.results.plan.count_old_failures
        clusters = [{name for name in names if int(name[4:9]) % 7 == number} for number in range(7)]
        assert [most_at_once(operator.json, cluster) for cluster in clusters] == [1] * 7


def test_a_run_that_was_not_proven_before_the_kill_is_proven_now(tmp_path: Path) -> None:
    with fleet_nodes.start(3, run_s=(0.05, 0.1)) as fleet:
        operator = Operator(fleet, tmp_path)
        operator.run()
        lines = operator.json.read_text().splitlines(keepends=True)
        later = ('"proven"', '"summary"')
        operator.json.write_text("".join(line for line in lines if not any(word in line for word in later)))
        resumed = operator.run(who=["--from", str(operator.json)])
        assert (resumed.status, resumed.outcomes(), sum(resumed.runs.values())) == (0, {"changed": 3}, 0)
        assert all(node.proven for node in resumed.results.nodes.values())
