from __future__ import annotations

import re

import pytest

from tests.unit.fleet.show import realistic
from twitch.fleet.events import Ask, NodeEvent, Plan, Summary
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show import digest, ticket
from twitch.fleet.show.paint import Paint
from twitch.fleet.show.results import Results
from twitch.fleet.show.summary import summary_text

COLOUR = re.compile(r"\033\[[0-9;]*m")


def results_of(
    *events: NodeEvent, nodes: str = "abc", end: bool = True, puppetdb: str | None = "x", exit: int = 0
) -> Results:
    results = Results()
    results.add(Plan(0.0, tuple(nodes), Ask(), "a list", 20, 0, 0, None, 1, puppetdb, (), ("b",)))
    for event in events:
        results.add(event)
    if end:
        results.add(Summary(9.0, {}, 0, 0, 0, exit))
    return results


def ended(node: str, outcome: Outcome, error: str | None = None) -> NodeEvent:
    return NodeEvent(1.0, node, "ended", node * 32, outcome, error=error)


GOOD = [ended(node, Outcome.UNCHANGED) for node in "abc"]


def test_the_first_line_says_what_is_wrong_and_on_how_many() -> None:
    text = summary_text(results_of(ended("a", Outcome.FAILED, "x"), ended("b", Outcome.FAILED, "x"), GOOD[2]))
    assert text.splitlines()[0] == "Puppet run on 3 nodes, 9s: 1 newly failed, 1 failed as before"


def test_the_first_line_says_that_all_is_good() -> None:
    assert digest.headline(results_of(*GOOD)) == "all are good"
    assert not digest.wrong(results_of(*GOOD))
    disabled = results_of(*GOOD[:2], ended("c", Outcome.DISABLED, "by bob"))
    assert digest.headline(disabled) == "nothing failed"
    pending = results_of(*GOOD[:2], ended("c", Outcome.PENDING))
    assert digest.headline(pending) == "all are good; 1 would change"


def test_failures_as_before_alone_are_nothing_to_look_at() -> None:
    results = results_of(ended("b", Outcome.FAILED, "x"), *GOOD[::2])
    assert digest.headline(results) == "1 failed as before"
    assert not digest.wrong(results)


def test_without_puppetdb_failures_are_neither_new_nor_old() -> None:
    results = Results()
    results.add(Plan(0.0, ("a",), Ask(), "a list", 20, 0, 0, None, 1))
    results.add(ended("a", Outcome.FAILED, "x"))
    results.add(Summary(9.0, {}, 1, 0, 0, 2))
    text = summary_text(results)
    assert "1 failed" in text.splitlines()[0]
    assert "Failures: 1 node" in text
    assert "new" not in text.lower()
    assert ticket.query(results) is None


def test_numbers_have_old_and_new_failures_and_what_was_fixed() -> None:
    text = summary_text(
        results_of(ended("a", Outcome.FAILED, "x"), ended("b", Outcome.CHANGED), ended("c", Outcome.LATE))
    )
    assert "       1  failed        1 new\n" in text
    assert "       1  fixed         failed before, and good now\n" in text


def test_a_result_without_an_end_says_so_and_how_to_go_on() -> None:
    text = summary_text(results_of(GOOD[0], end=False), path="my result.jsonl")
    assert "This result has no end: the run was killed, or goes on. 2 nodes have no outcome." in text
    assert "puppet-twitch-fleet run --from 'my result.jsonl'\n" in text


def test_an_exit_status_is_said_in_words() -> None:
    text = summary_text(results_of(*GOOD, exit=2 | 16))
    assert "Exit status 18: more failures than allowed, runs that are unproven, late or lost." in text
    assert "Left before the end" in summary_text(results_of(*GOOD, exit=130))


def test_next_commands_fit_what_happened() -> None:
    assert digest.next_commands(results_of(*GOOD), "f") == []
    assert digest.next_commands(results_of(ended("a", Outcome.FAILED)), None) == []
    commands = [
        command
        for command, _ in digest.next_commands(
            results_of(
                ended("a", Outcome.FAILED), ended("b", Outcome.UNREACHABLE), ended("c", Outcome.PENDING)
            ),
            "f",
        )
    ]
    assert commands == [
        "puppet-twitch-fleet show f new",
        "puppet-twitch-fleet run --from f --only failed,unreachable",
        "puppet-twitch-fleet run --from f --only pending",
    ]


@pytest.mark.parametrize(
    "event", [ended("a", Outcome.LATE), NodeEvent(1.0, "a", "running", "1"), ended("a", Outcome.LOST)]
)
def test_next_commands_cancel_runs_that_go_on(event: NodeEvent) -> None:
    commands = digest.next_commands(results_of(event), "my f")
    assert ("puppet-twitch-fleet cancel --from 'my f'", "stops the runs that go on") in commands


def test_a_text_of_a_node_cannot_move_the_cursor_or_forge_a_line() -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\rfine\nExit status 0"
    results = results_of(ended("a", Outcome.FAILED, evil), ended("b", Outcome.DISABLED, evil))
    results.add(NodeEvent(2.0, "a\x1b[31m", "ended", "1", Outcome.FAILED, error=evil))
    text = COLOUR.sub("", summary_text(results, Paint(colours=True, width=80), path="x"))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_lines_fit_the_width_but_for_what_is_pasted(width: int) -> None:
    text = summary_text(realistic.results(1000), Paint(width=width), path="f")
    _, *rest = text.partition("\nFor the ticket")[0].splitlines()
    assert max(map(len, rest)) <= max(width, 60)


def test_versions_of_the_code_are_said_if_there_are_several() -> None:
    results = results_of(*(event._replace(configuration_version="v1") for event in GOOD))
    assert digest.versions(results) == []
    results.add(NodeEvent(2.0, "c", "ended", "2" * 32, Outcome.CHANGED, configuration_version="v2"))
    assert digest.versions(results) == [("v1", ["a", "b"]), ("v2", ["c"])]
    assert "2 versions of the code" in summary_text(results)


def test_stop_after_the_last_node_was_started_is_not_called_early() -> None:
    results = results_of(ended("a", Outcome.FAILED, "x"), *GOOD[1:], end=False)
    results.add(Summary(9.0, {}, 1, 0, 0, 2, "1 newly failed, and --max-failures is 0"))
    assert digest.ending(results) == ["Exit status 2: more failures than allowed."]


def test_versions_that_are_the_time_of_the_catalog_are_not_compared() -> None:
    results = results_of(
        *(event._replace(configuration_version=f"179569321{n}") for n, event in enumerate(GOOD))
    )
    assert digest.versions(results) == []


def test_the_ticket_has_what_when_and_what_became_of_it_on_one_line() -> None:
    text = ticket.paragraph(realistic.results(1000))
    assert text.startswith(
        'CHG-4711: Puppet run on 1,000 nodes (nodes[certname] { catalog_environment = "prod'
    )
    assert "2026-11-26 10:00 to " in text
    assert "\n" not in text


def test_the_query_of_few_runs_has_their_ids() -> None:
    assert ticket.query(results_of(*GOOD[:2])) == (
        f'reports[certname, status, hash] {{ job_id in ["{"a" * 32}", "{"b" * 32}"] }}'
    )


def test_the_query_of_many_runs_has_their_time_and_nodes() -> None:
    query = ticket.query(realistic.results(1000, noop=True)) or ""
    assert query.startswith(
        'reports[certname, status, hash] { producer_timestamp >= "2026-11-26T10:00:00Z" and producer_tim'
    )
    assert query.endswith(
        'and job_id ~ "^[0-9a-f]{32}$" and noop = true'
        ' and certname in nodes[certname] { catalog_environment = "production" } }'
    )


def test_a_list_of_names_is_no_part_of_a_query() -> None:
    results = realistic.results(1000)
    assert results.plan
    results.plan = results.plan._replace(who="nodes.txt")
    assert "certname in" not in (ticket.query(results) or "")
