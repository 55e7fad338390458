"""The state of a node, and the states of many as text."""

from __future__ import annotations

import time

import pytest

from twitch.fleet import states
from twitch.fleet.node.answers import Disabled, LastRun, NodeStatus
from twitch.fleet.nodes import Before, Node
from twitch.fleet.states import NodeState

NOW = 1_800_000_000.0
DAY_S = 86_400
NODE = Node("web1.test")
LONG_AGO = LastRun("changed", ended=NOW - 9 * DAY_S, duration_s=30)


@pytest.mark.parametrize(
    ("status", "state", "why"),
    [
        (NodeStatus("idle"), "idle", None),
        (NodeStatus("idle", last=LastRun("failed", ended=NOW - DAY_S)), "idle", None),
        (NodeStatus("idle", last=LONG_AGO), "silent", "its last run ended 9 days ago"),
        (NodeStatus("disabled", reason="CHG-1"), "disabled", "CHG-1"),
        (NodeStatus("disabled"), "disabled", "no reason is shown"),
        (NodeStatus("disabled", disabled=Disabled("cert:anna", "CHG-1")), "disabled", "CHG-1 (by cert:anna)"),
        (NodeStatus("running"), "running", "a run is under way"),
        (NodeStatus("queued", phase="starting", elapsed_s=3), "running", "starting 3s"),
        (
            NodeStatus("running", phase="applying", elapsed_s=720, usual_s=40, doing="apt-get", doing_s=480),
            "running",
            "applying 12m, usually 40s; apt-get for 8m",
        ),
        (NodeStatus("stuck", age_s=7200, doing="mount"), "stuck", "its run goes on for 2h; mount"),
    ],
)  # fmt: skip
def test_a_status_is_a_state_with_a_reason(status: NodeStatus, state: str, why: str) -> None:
    assert states.of_status(NODE, status, NOW)[1:3] == (state, why)


def test_a_report_in_puppetdb_is_a_run_as_well() -> None:
    known = NODE._replace(before=Before("changed", NOW - DAY_S))
    assert states.of_status(known, NodeStatus("idle", last=LONG_AGO), NOW).state == "idle"
    known = NODE._replace(before=Before("changed", NOW - 8 * DAY_S))
    assert states.of_status(known, NodeStatus("idle"), NOW).state == "silent"


def test_an_end_of_a_hold_is_in_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "localtime", time.gmtime)
    status = NodeStatus("disabled", disabled=Disabled(reason="CHG-1", until=NOW))
    assert states.of_status(NODE, status, NOW).why == "CHG-1, until 2027-01-15 08:00"


def test_states_are_counted_in_their_order() -> None:
    found = [NodeState(NODE, state) for state in ("unreachable", "idle", "disabled", "idle")]
    assert list(states.counted(found).items()) == [("idle", 2), ("disabled", 1), ("unreachable", 1)]


def test_nodes_with_one_reason_are_one_group() -> None:
    found = [
        NodeState(Node(f"web{number}.test"), "unreachable", f"DNS: web{number}.test: unknown")
        for number in range(1, 8)
    ]
    found.append(NodeState(Node("db1.test"), "unreachable", "port 2023: connection refused"))
    assert states.section(found, "unreachable", 100) == [
        "       7  DNS: NODE: unknown",
        "          web[1-7].test",
        "       1  port 2023: connection refused",
        "          db1.test",
    ]


def test_ten_nodes_with_one_reason_are_named_whatever_the_width() -> None:
    names = [f"{letter * 40}.example.com" for letter in "abcdefghij"]
    found = [NodeState(Node(name), states.UNREACHABLE, "DNS") for name in names]
    assert states.section(found, states.UNREACHABLE, 80)[1].strip().split(",") == names


def test_of_many_reasons_the_most_frequent_are_shown() -> None:
    found = [NodeState(Node(f"web{number}"), "disabled", f"CHG-{number}") for number in range(100, 120)]
    lines = states.section(found, "disabled", 100)
    assert len(lines) == 2 * states.EXAMPLES + 1
    assert lines[-1] == "          and 12 more nodes, for other reasons"


def test_lines_of_long_reasons_are_bounded() -> None:
    long = "x" * 256 * 1024
    for state in (states.REFUSED, states.STUCK):
        found = states.section([NodeState(Node("a"), state, long)], state, 80)
        assert max(map(len, found)) < 500


def test_the_longest_run_is_the_first() -> None:
    found = [
        states.of_status(Node(f"web{number}"), NodeStatus("running", phase="applying", elapsed_s=number), NOW)
        for number in range(10, 20)
    ]
    lines = states.section(found, "running", 100)
    assert lines[0] == "          web19  applying 19s"
    assert lines[-1] == "          and 2 more, for less time"
