"""`plan`: who would be run, in which state they are, and how long it would take."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.fleet_nodes import fleet
from tests.fleet_nodes.fleet import Fleet
from tests.fleet_nodes.scene import Fault
from tests.unit.fleet.commands import who
from twitch.fleet import exits, main, plan
from twitch.fleet.node.answers import NodeStatus
from twitch.fleet.nodes import Before, Node
from twitch.fleet.plan import Plan
from twitch.fleet.puppetserver.queue import ServerQueue, Unreadable
from twitch.fleet.show.paint import Paint
from twitch.fleet.states import NodeState
from twitch.fleet.who.choice import Chosen

Run = Callable[..., str]

SERVER = ServerQueue(
    "https://a:8140", jrubies=4, free=1, waiting=0, oldest_s=0, turned_away=0, catalogs=90, jruby_s=4.0
)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Fleet]:
    with fleet.start(20, faults={"disabled": 0.1, "refuse": 0.1}) as started:
        started.puppetdb.fail_before(*sorted(started.with_fault())[:3])
        yield started


@pytest.fixture
def run(nodes: Fleet, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command `plan` with these options on all nodes; its output."""

    def run(*words: str) -> str:
        command = ["plan", *words, *who(nodes), "--puppetserver", nodes.puppetserver.url]
        assert main.main(command) == exits.OK
        return capsys.readouterr().out

    return run


def test_a_plan_starts_nothing_and_says_what_is_known(nodes: Fleet, run: Run) -> None:
    fields = json.loads(run("--json", "--exclude", "node00001.fleet.test"))
    states = {node["node"]: node.get("state") for node in fields["nodes"]}
    assert {name for name, state in states.items() if state == "disabled"} == nodes.with_fault(Fault.DISABLED)
    assert {name for name, state in states.items() if state == "unreachable"} == nodes.with_fault(
        Fault.REFUSE
    )
    assert sum(node["last"]["status"] == "failed" for node in fields["nodes"]) == 3 - (
        "node00001.fleet.test" in sorted(nodes.with_fault())[:3]
    )
    assert fields["left_out"] == {"node00001.fleet.test": "excluded"}
    assert fields["puppetdb"] == nodes.puppetdb.url
    assert fields["puppetservers"][0]["jrubies"] == 4
    assert fields["shortest_s"] > 0
    assert not any(nodes.started().values())


def test_a_plan_need_not_ask_the_nodes(run: Run) -> None:
    fields = json.loads(run("--json", "--no-nodes"))
    assert fields["counts"] is None
    assert len(fields["nodes"]) == 20
    assert all("state" not in node for node in fields["nodes"])


def test_the_text_has_what_an_operator_asks_first(run: Run) -> None:
    text = run()
    assert text.startswith("20 nodes (nodes[certname]{})\n      16  idle\n       2  disabled\n")
    assert "\nfailed last time\n       3  " in text
    assert "\n127.0.0.1: 4 JRubies, 4 free; none waits\n" in text


# ---- the numbers, without nodes


def plan_of(number: int, **fields: object) -> Plan:
    chosen = Chosen([Node(f"web{n}", before=Before("changed", 1.0)) for n in range(number)], [], "nodes{}")
    values = {
        "chosen": chosen, "at_once": 20, "states": None, "servers": [], "puppetdb": None, "depth": None,
        **fields,
    }  # fmt: skip
    return Plan(**values)  # type: ignore[arg-type]


def with_runs_of(plan_: Plan, run_s: int) -> Plan:
    status = NodeStatus("idle", usual_s=run_s)
    return plan_._replace(states=[NodeState(node, "idle", None, status) for node in plan_.chosen.nodes])


def test_the_servers_or_the_runs_at_once_say_how_long_it_takes() -> None:
    by_servers = plan_of(600, servers=[SERVER])
    assert by_servers.shortest_s == 600  # 60 runs a minute
    assert with_runs_of(by_servers, 10).shortest_s == 600
    assert with_runs_of(by_servers, 60).shortest_s == 1800  # 20 at once
    assert with_runs_of(plan_of(1), 60).shortest_s == 60
    assert plan_of(600).shortest_s is None


def test_what_is_not_known_is_said() -> None:
    text = plan.text(plan_of(3, servers=[Unreadable("https://a:8140", "403: closed")]), Paint())
    assert "The queue of a cannot be read: 403: closed" in text
    assert "No PuppetDB is known, so runs are not proven; see --puppetdb" in text
    assert "It is not known how long all of them take" in text
    assert "silent for a week, by PuppetDB\n       3  web[0-2]" in text
    assert "No puppetserver is known" in plan.text(plan_of(3), Paint())


def test_a_few_nodes_are_named() -> None:
    text = plan.text(plan_of(3), Paint())
    assert text.startswith("3 nodes (nodes{})\n          web[0-2]\n")
    assert plan.text(plan_of(11), Paint()).startswith("11 nodes (nodes{})\n\n")
    few = with_runs_of(plan_of(10), 10)
    left_out = [(f"db{n}", "excluded") for n in range(1, 4)]
    text = plan.text(few._replace(chosen=few.chosen._replace(left_out=left_out)), Paint())
    assert "\n      10  idle         web[0-9]\n       3  left out: excluded  db[1-3]\n" in text


def test_queues_are_said() -> None:
    waiting = SERVER._replace(waiting=14, oldest_s=9.2)
    text = plan.text(plan_of(600, servers=[waiting], puppetdb="http://pdb:8080", depth=1200), Paint())
    assert "a: 4 JRubies, 1 free; 14 wait, oldest 9 s" in text
    assert "PuppetDB (http://pdb:8080): 1,200 commands in its queue" in text
    assert "A run needs a JRuby for 4.0 s, so the servers can do 60 runs a minute" in text
    assert "All of them take 10m at the earliest" in text
