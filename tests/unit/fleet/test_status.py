"""`status` of many nodes: each has one state, and one command shows them all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.fleet_nodes import fleet
from tests.fleet_nodes.fleet import Fleet
from tests.fleet_nodes.scene import Fault
from tests.unit.fleet.commands import who
from twitch.fleet import exits, main
from twitch.fleet.show.folding import fold

Run = Callable[..., tuple[int, str]]

FAULTS = dict.fromkeys(("refuse", "deny", "garbage", "disabled"), 0.1)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Fleet]:
    with fleet.start(20, faults=FAULTS) as started:
        yield started


@pytest.fixture
def run(nodes: Fleet, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command `status` with these options on all nodes; its exit status and output."""

    def run(*words: str) -> tuple[int, str]:
        return main.main(["status", *words, *who(nodes)]), capsys.readouterr().out

    return run


def test_each_node_has_one_state(nodes: Fleet, run: Run) -> None:
    status, text = run("--json")
    found: dict[str, set[str]] = {}
    for node in json.loads(text)["nodes"]:
        found.setdefault(node["state"], set()).add(node["node"])
    assert found == {
        "idle": nodes.with_fault(),
        "disabled": nodes.with_fault(Fault.DISABLED),
        "refused": nodes.with_fault(Fault.DENY),
        "unreachable": nodes.with_fault(Fault.REFUSE, Fault.GARBAGE),
    }
    assert status == exits.UNREACHABLE


def test_the_numbers_alone(run: Run) -> None:
    _, text = run("--count")
    assert text == "      12  idle\n       2  disabled\n       2  refused\n       4  unreachable\n"
    _, text = run("--count", "--json")
    assert json.loads(text)["counts"] == {"idle": 12, "disabled": 2, "refused": 2, "unreachable": 4}


def test_the_text_groups_the_nodes_that_need_attention(run: Run) -> None:
    _, text = run()
    assert "\n\ndisabled: 2 nodes\n       2  no reason is shown" in text
    assert "refused: 2 nodes\n       2  401: " in text
    assert "unreachable: 4 nodes\n" in text


def test_a_few_nodes_are_named(nodes: Fleet, run: Run) -> None:
    few = ("--limit", "10", "--exclude", ",".join(nodes.with_fault(Fault.DISABLED, Fault.DENY, Fault.REFUSE)))
    names = fold(
        node["node"] for node in json.loads(run(*few, "--json")[1])["nodes"] if node["state"] == "idle"
    )
    assert run(*few)[1].splitlines()[0].endswith(f"  idle         {names}")
    assert names not in run(*few, "--count")[1]


def test_nodes_that_all_answer_are_a_success(nodes: Fleet, run: Run) -> None:
    troubled = ",".join(node.name for node in nodes.nodes if node.name not in nodes.with_fault())
    assert run("--exclude", troubled) == (exits.OK, "      12  idle\n")
