from __future__ import annotations

from typing import Optional

from twitch.fleet.events import Ask, Change, NodeEvent, Plan, Summary
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show.results import Results
from twitch.fleet.show.summary import summary_text

F, U, C = Outcome.FAILED, Outcome.UNCHANGED, Outcome.CHANGED


def results_of(
    *events: NodeEvent, failed_before: tuple[str, ...] = (), puppetdb: Optional[str] = "http://localhost:8080"
) -> Results:
    results = Results()
    results.add(
        Plan(0.0, ("a", "b", "c"), Ask(), "nodes { }", 20, 0, 0, None, 1, puppetdb, (), failed_before)
    )
    for event in events:
        results.add(event)
    return results


def ended(node: str, outcome: Outcome, *, new: Optional[bool] = None, run: str = "1") -> NodeEvent:
    return NodeEvent(9.0, node, "ended", run, outcome, new)


def test_a_node_has_what_its_latest_events_say() -> None:
    change = Change("File[/etc/motd]", "changed", ("content",))
    results = results_of(
        NodeEvent(1.0, "a", "queued", error="409 Puppet already running"),
        NodeEvent(2.0, "a", "running", "1"),
        NodeEvent(5.0, "a", "ended", "1", C, duration_s=2.5, changes=(change,), verdict="changed"),
        NodeEvent(6.0, "a", "proven", "1", C, report="hash"),
    )
    node = results.nodes["a"]
    assert (node.asked, node.started, node.ended, node.duration_s) == (1.0, 2.0, 5.0, 2.5)
    assert (node.outcome, node.verdict, node.error, node.changes) == (C, "changed", None, (change,))
    assert node.proven
    assert (results.began, results.latest) == (0.0, 6.0)


def test_counts_follow_an_outcome_that_is_replaced() -> None:
    results = results_of(ended("a", Outcome.LATE), ended("b", U))
    assert (results.count(Outcome.LATE), results.finished) == (1, 2)
    results.add(ended("a", F, new=True))
    assert (results.count(Outcome.LATE), results.count(F), results.failed_new, results.finished) == (
        0,
        1,
        1,
        2,
    )
    results.add(NodeEvent(7.0, "b", "proven", "1", Outcome.UNPROVEN))
    assert results.count(U) == 0


def test_failures_are_new_or_as_before_and_good_nodes_are_fixed() -> None:
    results = results_of(ended("a", F), ended("b", Outcome.REFUSED), ended("c", C), failed_before=("a", "c"))
    assert (results.failed, results.failed_before, results.failed_new, results.fixed) == (2, 1, 1, 1)
    assert [node.name for node in results.having({F}, new=False)] == ["a"]


def test_without_puppetdb_it_is_not_known_whether_a_failure_is_new() -> None:
    results = results_of(ended("a", F), puppetdb=None)
    assert not results.compared
    assert results.nodes["a"].new is None
    assert results.failed_new == 1


def test_the_run_that_began_first_is_the_first_of_those_under_way() -> None:
    results = results_of(NodeEvent(1.0, "b", "running", "2"), NodeEvent(2.0, "a", "running", "1"))
    assert list(results.running) == ["b", "a"]
    results.add(ended("b", U, run="2"))
    assert list(results.running) == ["a"]
    results.add(Summary(3.0, {U: 1}, 0, 0, 0, 0))
    assert not results.running


def test_nodes_remain_whose_run_is_not_known_to_be_done() -> None:
    results = results_of(ended("a", Outcome.NOT_STARTED), NodeEvent(2.0, "b", "running", "1"), ended("c", F))
    assert results.remaining() == ["a", "b"]


def test_a_node_that_is_run_anew_has_nothing_of_its_earlier_run() -> None:
    results = results_of(ended("a", F, new=True))
    results.add(results.plan._replace(nodes=("a",)))  # type: ignore[union-attr]
    assert results.nodes["a"].outcome is F
    results.add(NodeEvent(9.0, "a", "running", "2"))
    assert results.nodes["a"].outcome is None
    assert (results.failed, results.failed_new) == (0, 0)


def test_an_event_of_a_node_that_the_plan_does_not_have_is_counted() -> None:
    assert results_of(ended("z", F)).failed == 1


def test_equal_changes_of_many_nodes_are_one_object() -> None:
    results = results_of(
        *(NodeEvent(1.0, node, "ended", node, C, changes=(Change("A[b]", "changed"),)) for node in "ab")
    )
    assert results.nodes["a"].changes[0] is results.nodes["b"].changes[0]


def test_an_unproven_run_has_ended_when_its_node_said_so() -> None:
    results = Results()
    results.add(NodeEvent(5.0, "a", "ended", "1", Outcome.CHANGED))
    results.add(NodeEvent(65.0, "a", "ended", "1", Outcome.UNPROVEN))
    assert (results.nodes["a"].ended, results.nodes["a"].outcome) == (5.0, Outcome.UNPROVEN)


def test_names_of_somebody_else_do_not_reach_the_terminal_as_they_are() -> None:
    evil = "\x1b[2J\u202e\ud800\n"
    results = Results()
    results.add(Plan(1.0, (evil,), Ask(), "", 1, 0, 0, None, 1, failed_before=(evil,)))
    change = Change(f"File[{evil}]", "changed", (evil,), evil)
    results.add(NodeEvent(2.0, evil, "ended", outcome=Outcome.CHANGED, changes=(change,)))
    assert list(results.nodes) == ["\\x1b[2J\\u202e?\\n"]
    text = summary_text(results)
    assert "only \\x1b[2J" in text and "\x1b" not in text and "\u202e" not in text
