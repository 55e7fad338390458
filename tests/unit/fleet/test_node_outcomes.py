"""The outcomes of requests to many nodes: their part of the exit status, and their lines for people."""

from __future__ import annotations

from twitch.fleet import exits, node_outcomes
from twitch.fleet.disabling import DISABLED, HELD, OUTCOMES, RUNNING
from twitch.fleet.node_outcomes import NOT_ASKED, REFUSED, UNREACHABLE, Done, NodeOutcome


def test_exit_status_of_outcomes() -> None:
    def status(*found: NodeOutcome, waited: bool = False) -> int:
        return node_outcomes.exit_status([Done(outcome, "") for outcome in found], waited=waited)

    assert status(DISABLED) == 0
    assert status(DISABLED, RUNNING) == 0
    assert status(DISABLED, RUNNING, waited=True) == exits.UNCERTAIN
    assert status(HELD) == status(REFUSED) == exits.FAILURES
    assert status(DISABLED, UNREACHABLE, NOT_ASKED) == exits.UNREACHABLE | exits.STOPPED


def test_a_long_answer_of_a_node_is_one_bounded_line() -> None:
    long = "x" * 256 * 1024
    assert max(map(len, node_outcomes.summary({"web1": Done(HELD, long)}, OUTCOMES))) < 500


def test_messages_that_differ_in_numbers_are_one_line_if_there_are_many() -> None:
    def lines(nodes: int) -> list[str]:
        done = {f"web{n}": Done(HELD, f"still running: apt-get (pid {n}, 45s)") for n in range(1, nodes + 1)}
        return node_outcomes.summary(done, OUTCOMES)

    assert lines(2)[1:] == [
        "       web1: still running: apt-get (pid 1, 45s)",
        "       web2: still running: apt-get (pid 2, 45s)",
    ]
    assert len(lines(node_outcomes.FEW_MESSAGES)) == node_outcomes.FEW_MESSAGES + 1
    assert lines(200)[1:] == ["       web[1-200]: still running: apt-get (pid N, 45s)"]
