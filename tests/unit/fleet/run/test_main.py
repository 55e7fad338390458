"""The command against simulated nodes, which count their runs: none is lost, and none is started twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import fleet_nodes
from tests.fleet_nodes import Fault, Fleet
from tests.unit.fleet.run.running import LONGEST_S, Operator, most_at_once
from tests.unit.processes import wait_until
from twitch.fleet import main, options, question, stopping
from twitch.fleet.events import PROVEN
from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import Outcome
from twitch.fleet.run import proving
from twitch.fleet.run.job import in_order
from twitch.fleet.run.ledger import Earlier
from twitch.fleet.show.folding import fold

NODES = 24


def finish(fleet: Fleet, nodes: Iterable[Node]) -> None:
    """End the runs that are under way on these nodes."""
    for node in nodes:
        fleet.finish(node.name)


@pytest.fixture(scope="module")
def good_fleet() -> Iterator[Fleet]:
    with fleet_nodes.start(NODES, run_s=(0.05, 0.2)) as fleet:
        yield fleet


@pytest.fixture
def operator(good_fleet: Fleet, tmp_path: Path) -> Operator:
    return Operator(good_fleet, tmp_path)


def test_every_node_is_run_once_and_proven(operator: Operator) -> None:
    ended = operator.run("--at-once", "8")
    assert ended.status == 0
    assert ended.outcomes() == {"changed": NODES}
    assert set(ended.runs.values()) == {1}
    assert all(node.step == PROVEN and node.report for node in ended.results.nodes.values())
    assert ended.results.summary is not None and ended.results.summary.outcomes == {Outcome.CHANGED: NODES}


def test_not_more_runs_go_on_at_once_than_the_operator_allows(operator: Operator) -> None:
    operator.run("--at-once", "3")
    assert most_at_once(operator.json) == 3


def test_the_nodes_of_one_cluster_take_turns(operator: Operator) -> None:
    operator.run("--at-once", "20", "--one-per", "facts.cluster")
    cluster = {node.name: int(node.name[4:9]) % 7 for node in operator.fleet.nodes}
    for number in range(7):
        assert most_at_once(operator.json, {name for name in cluster if cluster[name] == number}) == 1


def test_without_connections_the_ends_come_from_puppetdb(operator: Operator) -> None:
    ended = operator.run("--at-once", "50", "--follow", "puppetdb")
    assert (ended.status, ended.outcomes(), set(ended.runs.values())) == (0, {"changed": NODES}, {1})
    node = next(iter(ended.results.nodes.values()))
    assert [change.resource for change in node.changes] == ["File[/etc/app.conf]"]


def test_without_puppetdb_and_connections_the_nodes_are_asked_in_turn(
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from twitch.fleet.run import invocation

    monkeypatch.setattr(invocation, "MAX_HELD", 5)
    addresses = [node.address or "" for node in operator.fleet.nodes]
    operator.access = tuple(
        word for word in operator.access if word not in ("--address-fact", "networking.ip")
    )
    ended = operator.run("--at-once", "10", "--puppetdb", "none", who=addresses)
    assert (ended.status, ended.outcomes()) == (0, {"changed": NODES})
    assert set(ended.runs.values()) == {1}


def test_a_dry_run_with_changes_is_said_in_the_exit_status_if_asked_for(operator: Operator) -> None:
    ended = operator.run("--noop", "--exit-pending")
    assert (ended.status, ended.outcomes()) == (32, {"pending": NODES})
    operator.anew()
    first = operator.directory / "result.jsonl"
    # Continued, it is still a dry run.
    continued = operator.run("--exit-pending", who=["--from", str(first)])
    assert (continued.status, continued.outcomes()) == (32, {"pending": NODES})
    operator.anew()
    applied = operator.run(who=["--from", str(first), "--only", "pending"])
    assert (applied.status, applied.outcomes()) == (0, {"changed": NODES})


def test_a_run_that_outlasts_the_timeout_is_late_and_can_be_resumed(tmp_path: Path) -> None:
    with fleet_nodes.start(2, run_s=(LONGEST_S, LONGEST_S)) as fleet:
        operator = Operator(fleet, tmp_path)
        ended = operator.run("--timeout", "1", "--at-once", "2")
        assert (ended.status, ended.outcomes()) == (16, {"late": 2})
        finish(fleet, fleet.nodes)
        resumed = operator.run(who=["--from", str(operator.json)])
        assert (resumed.status, resumed.outcomes()) == (0, {"changed": 2})
        assert set(operator.started().values()) == {1}


def test_the_window_shrinks_while_the_puppetserver_has_a_queue(operator: Operator) -> None:
    server = operator.fleet.puppetserver
    server.set(queue=9, oldest_s=7.0)
    try:
        ended = operator.run("--at-once", "8", "--limit", "5", "--puppetserver", server.url)
    finally:
        server.set(queue=0, oldest_s=0.0)
    assert (ended.status, ended.outcomes()) == (0, {"changed": 5})
    assert most_at_once(operator.json) == 1


def test_a_question_that_is_answered_after_until_starts_nothing(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The timer of --until does not fire while the question waits, or the machine sleeps."""
    until = time.time() + 3600

    def agreed(question: str, options: object) -> bool:
        monkeypatch.setattr(stopping, "time", SimpleNamespace(time=lambda: until))
        return True

    monkeypatch.setattr(options, "until", lambda text: until)
    monkeypatch.setattr(question, "can_ask", lambda options: True)
    monkeypatch.setattr(question, "agreed", agreed)
    ended = operator.run("--yes", "--canary", "1", "--confirm", "--until", "06:00")
    assert (ended.status, sum(ended.runs.values())) == (8, 1)
    assert ended.outcomes() == {"changed": 1, "not started": NODES - 1}
    # Which day --until means is said before anything starts.
    assert time.strftime("until %Y-%m-%d %H:%M", time.localtime(until)) in capsys.readouterr().err


def test_an_error_in_this_program_ends_the_command_and_is_said(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*args: object) -> None:
        raise KeyError("proof")

    monkeypatch.setattr(proving, "reports_of", broken)
    assert operator.run("--limit", "2").status == 16
    assert "an error in this program, please report it" in capsys.readouterr().err


# ---- what goes wrong on nodes

OUTCOMES = {
    Fault.REFUSE: Outcome.UNREACHABLE,
    Fault.GARBAGE: Outcome.UNREACHABLE,
    Fault.DENY: Outcome.REFUSED,
    Fault.DISABLED: Outcome.DISABLED,
    Fault.BUSY: Outcome.CHANGED,
    Fault.FULL: Outcome.CHANGED,
    Fault.COOLDOWN: Outcome.CHANGED,
    Fault.UNAVAILABLE: Outcome.CHANGED,
    Fault.CUT: Outcome.CHANGED,
    Fault.RESET: Outcome.CHANGED,
    Fault.LEAVE: Outcome.CHANGED,
    Fault.BLIP: Outcome.CHANGED,
}
# Nodes with these faults never begin a run.
NEVER = {Fault.REFUSE, Fault.GARBAGE, Fault.DENY, Fault.DISABLED}
every_way = pytest.mark.parametrize(
    ("follow", "label"), [("nodes", ("--label", "CHG-123")), ("puppetdb", ())]
)


@every_way
def test_every_fault_ends_in_its_outcome_and_no_run_is_started_twice(
    tmp_path: Path,
    follow: str,
    label: tuple[str, ...],
) -> None:
    faults = {fault.value: 2 / 60 for fault in OUTCOMES}
    with fleet_nodes.start(60, faults=faults, verdicts={"failed": 3 / 60}, run_s=(0.2, 0.4)) as fleet:
        operator = Operator(fleet, tmp_path)
        ended = operator.run("--at-once", "40", "--max-failures", "100%", "--follow", follow, *label)
        assert (
            ended.status == 0
        )  # the operator accepts every failure, and has set no limit of unreachable nodes
        for fault, outcome in OUTCOMES.items():
            names = fleet.with_fault(fault)
            assert ended.of(names) == {outcome}, fault
            runs = {ended.runs[name] for name in names}
            assert runs == ({0} if fault in NEVER else {1}), fault
        assert all(ended.runs[name] == 1 for name in fleet.with_fault())
        failed = [node for node in ended.results.nodes.values() if node.outcome is Outcome.FAILED]
        assert len(failed) == 3 and all(node.new and node.error for node in failed)


@every_way
def test_nodes_that_do_not_answer_are_lost(
    tmp_path: Path, impatient: None, follow: str, label: tuple[str, ...]
) -> None:
    with fleet_nodes.start(4, faults={"hang": 0.5, "die": 0.5}, run_s=(0.2, 0.4)) as fleet:
        ended = Operator(fleet, tmp_path).run("--follow", follow, *label)
        assert (ended.status, ended.outcomes()) == (16, {"lost": 4})
        assert {ended.runs[name] for name in fleet.with_fault(Fault.HANG)} == {0}
        assert {ended.runs[name] for name in fleet.with_fault(Fault.DIE)} == {1}


def test_the_first_new_failure_stops_the_start_of_others(tmp_path: Path) -> None:
    with fleet_nodes.start(30, verdicts={"failed": 0.5}, run_s=(0.05, 0.2)) as fleet:
        ended = Operator(fleet, tmp_path).run("--at-once", "2")
        assert ended.status == 2 + 8
        outcomes = ended.outcomes()
        assert 1 <= outcomes["failed"] <= 2, "the one that stops, and one that was under way"
        assert sum(ended.runs.values()) == 30 - outcomes["not started"]
        assert ended.results.summary is not None
        assert ended.results.summary.stopped == "1 newly failed, and --max-failures is 0"
        assert len(ended.results.remaining()) == outcomes["not started"]


def test_nodes_that_failed_before_do_not_stop_the_others(tmp_path: Path) -> None:
    with fleet_nodes.start(10, verdicts={"failed": 0.3}, run_s=(0.05, 0.1)) as fleet:
        fleet.puppetdb.fail_before(*(spec.name for spec in fleet.specs if spec.verdict == "failed"))
        operator = Operator(fleet, tmp_path)
        ended = operator.run()
        assert (ended.status, ended.outcomes()) == (0, {"changed": 7, "failed": 3})
        assert (ended.results.failed_before, ended.results.failed_new) == (3, 0)
        operator.anew()
        counted = operator.run("--count-old-failures", "--at-once", "1")
        assert counted.status & 2


def test_a_canary_that_fails_keeps_the_rest_from_starting(tmp_path: Path) -> None:
    with fleet_nodes.start(10, verdicts={"failed": 1.0}, run_s=(0.05, 0.1)) as fleet:
        ended = Operator(fleet, tmp_path).run("--canary", "1")
        assert ended.status == 2 + 8
        assert ended.outcomes() == {"failed": 1, "not started": 9}


def test_a_canary_that_is_disabled_is_replaced(tmp_path: Path) -> None:
    faults = {"disabled": 0.4, "refuse": 0.2}
    with fleet_nodes.start(10, faults=faults, run_s=(0.05, 0.1)) as fleet:
        ended = Operator(fleet, tmp_path).run("--canary", "4")
        canaries = [node for node in ended.results.nodes.values() if node.canary]
        assert [node.outcome for node in canaries].count(Outcome.CHANGED) == 4
        assert ended.outcomes() == {"changed": 4, "disabled": 4, "unreachable": 2}


# ---- what goes wrong on the way


def test_runs_are_unproven_and_not_waited_for_if_puppetdb_has_no_reports(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.fleet.puppetdb.hold(True)
    try:
        with monkeypatch.context() as impatient:
            impatient.setattr(proving, "PROOF_S", 0.5)
            impatient.setattr(proving, "LONGEST_S", 1.0)
            ended = operator.run("--at-once", "30", "--canary", "2")
        assert ended.status == 8 + 16
        assert ended.outcomes() == {"unproven": 2, "not started": NODES - 2}
        assert ended.results.summary is not None
        assert "is unproven" in str(ended.results.summary.stopped)
    finally:
        operator.fleet.puppetdb.hold(False)
    resumed = operator.run(who=["--from", str(operator.json)])
    assert (resumed.status, resumed.outcomes()) == (0, {"changed": NODES})
    assert sum(resumed.runs.values()) == NODES - 2


def test_an_interrupt_follows_what_was_started_and_starts_nothing_more(tmp_path: Path) -> None:
    with fleet_nodes.start(30, run_s=(LONGEST_S, LONGEST_S)) as fleet:
        operator = Operator(fleet, tmp_path)
        process = operator.start("--at-once", "4")
        operator.wait_for(process, '"event":"running"', 4)
        process.send_signal(signal.SIGINT)
        operator.wait_for(process, "Ctrl-C again")
        finish(fleet, fleet.nodes)
        assert process.wait(60) == 8
        started = sum(operator.started().values())
        assert started == 4
        ended = operator.read()
        assert ended.count(Outcome.CHANGED) == started and ended.count(Outcome.NOT_STARTED) == 30 - started


def test_the_second_interrupt_leaves_with_the_ids_of_the_runs(tmp_path: Path) -> None:
    with fleet_nodes.start(6, run_s=(LONGEST_S, LONGEST_S)) as fleet:
        operator = Operator(fleet, tmp_path)
        process = operator.start("--at-once", "6")
        operator.wait_for(process, '"event":"running"', 6)
        process.send_signal(signal.SIGINT)
        operator.wait_for(process, "Ctrl-C again")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        ended = operator.read()
        assert ended.summary is not None and ended.summary.exit == 130
        assert all(node.run for node in ended.nodes.values())
        finish(fleet, fleet.nodes)
        resumed = operator.run(who=["--from", str(operator.json)])
        assert (resumed.status, resumed.outcomes()) == (0, {"changed": 6})
        assert set(operator.started().values()) == {1}


def test_the_summary_after_sigterm_names_the_runs_that_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fleet_nodes.start(4, run_s=(LONGEST_S, LONGEST_S)) as fleet:
        operator = Operator(fleet, tmp_path)
        process = operator.start("--at-once", "2")
        operator.wait_for(process, '"event":"running"', 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
        ended = operator.read()
        assert ended.summary is not None and ended.summary.exit == 143
        assert ended.summary.stopped == "ended by SIGTERM"
        begun = fold(name for name, runs in operator.started().items() if runs)
    assert main.main(["show", str(operator.json)]) == 0
    said = "Left before the end because of SIGTERM: 2 runs go on and are not followed"
    assert f"{said}: {begun}.\n" in capsys.readouterr().out


def test_a_result_is_left_behind_without_an_option(operator: Operator) -> None:
    operator.run()
    (found,) = Path(os.environ["XDG_STATE_HOME"], "puppet-twitch").iterdir()
    assert found.read_text() == operator.json.read_text()


def test_runs_go_on_without_puppetdb_if_it_goes_away(tmp_path: Path) -> None:
    with fleet_nodes.start(30, run_s=(LONGEST_S, LONGEST_S)) as fleet:
        operator = Operator(fleet, tmp_path)

        impatient = pytest.MonkeyPatch()

        def go_on() -> None:
            finish(fleet, fleet.nodes[:5])
            proven = '"event":"proven"'
            wait_until(lambda: operator.json.read_text().count(proven) == 5, "five runs are proven")
            fleet.puppetdb.stop()
            impatient.setattr(proving, "PROOF_S", 0.0)
            finish(fleet, fleet.nodes[5:])

        with operator.when('"event":"running"', 30, go_on):
            ended = operator.run("--at-once", "30", "--follow", "puppetdb")
        impatient.undo()
        assert ended.status == 16
        assert ended.outcomes() == {"changed": 5, "unproven": 25}
        assert set(ended.runs.values()) == {1}
        fleet.puppetdb.start()
        resumed = operator.run(who=["--from", str(operator.json)])
        assert (resumed.status, resumed.outcomes()) == (0, {"changed": 30})
        assert set(operator.started().values()) == {1}


# ---- questions


@pytest.mark.parametrize(("answer", "status", "started"), [("n\n", 1, 0), ("y\n", 0, NODES)])
def test_many_nodes_are_asked_about_on_a_terminal(
    operator: Operator, answer: str, status: int, started: int
) -> None:
    before = sum(operator.started().values())
    assert operator.at_a_terminal("Start? [y/N]", answer) == status
    assert sum(operator.started().values()) - before == started


@pytest.mark.parametrize(("answer", "status", "started"), [("n\n", 1, 0), ("y\n", 0, NODES)])
def test_question_is_on_the_controlling_terminal_if_standard_input_has_the_nodes(
    operator: Operator, answer: str, status: int, started: int
) -> None:
    before = sum(operator.started().values())
    names = "".join(f"{spec.name}\n" for spec in operator.fleet.specs)
    assert operator.at_a_terminal("Start? [y/N]", answer, stdin=names) == status
    assert sum(operator.started().values()) - before == started


@pytest.mark.parametrize(("answer", "status", "started"), [("n\n", 1, 0), ("y\n", 0, NODES)])
def test_question_is_on_the_controlling_terminal_if_standard_error_goes_to_a_file(
    operator: Operator, answer: str, status: int, started: int
) -> None:
    before = sum(operator.started().values())
    with (operator.directory / "errors").open("wb") as stderr:
        assert operator.at_a_terminal("Start? [y/N]", answer, stderr=stderr) == status
    assert sum(operator.started().values()) - before == started


def test_nodes_on_standard_input_are_run_without_a_question_if_there_is_no_terminal(
    operator: Operator,
) -> None:
    names = operator.directory / "names"
    names.write_text("".join(f"{spec.name}\n" for spec in operator.fleet.specs))
    with names.open("rb") as stdin:
        process = operator.start(who=["--nodes", "-"], stdin=stdin)
        assert process.wait(60) == 0
    with names.open("rb") as stdin:
        process = operator.start("--canary", "1", "--confirm", who=["--nodes", "-"], stdin=stdin)
        assert process.wait(60) == 1
    assert "there is no terminal" in operator.errors.read_text()


def test_the_rest_is_confirmed_after_the_canaries(operator: Operator) -> None:
    before = sum(operator.started().values())
    options = ("--canary", "2", "--confirm", "--yes")
    question = "Go on with the other 22 nodes? [y/N]"
    assert operator.at_a_terminal(question, "n\n", *options) == 8
    assert sum(operator.started().values()) - before == 2


@pytest.mark.parametrize("follow", ["nodes", "puppetdb"])
def test_a_change_that_the_canary_has_not_shown_can_stop_the_others(tmp_path: Path, follow: str) -> None:
    with fleet_nodes.start(12, verdicts={"unchanged": 0.5}, run_s=(0.05, 0.1)) as fleet:
        unchanged = {spec.name for spec in fleet.specs if spec.verdict == "unchanged"}
        seed = next(
            seed for seed in range(100) if in_order(fleet.nodes, seed, Earlier())[0].name in unchanged
        )
        options = ("--canary", "1", "--seed", str(seed), "--at-once", "1", "--follow", follow)
        ended = Operator(fleet, tmp_path).run(*options, "--stop-on-surprise")
        assert ended.status == 8
        assert ended.outcomes()["changed"] == 1
        assert ended.results.summary is not None
        said = "changes File[/etc/app.conf] (ensure), which no canary has changed"
        assert said in str(ended.results.summary.stopped)
