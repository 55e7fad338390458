"""`cancel` on many nodes: the runs of a result and no others, or the run under way; one outcome for each."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.fleet_nodes import fleet
from tests.fleet_nodes.fleet import Fleet
from tests.fleet_nodes.scene import Fault
from tests.unit.fleet.commands import COMMAND, LIMIT_S
from tests.unit.fleet.run.running import ALL, Operator
from twitch import wording
from twitch.errors import UsageError
from twitch.fleet import cancelling, exits
from twitch.fleet.cancelling import CANCELLED, IN_DOUBT, NOT_OURS, NOTHING, TOLD
from twitch.fleet.events import Ask, NodeEvent, Plan, Summary
from twitch.fleet.node.answers import Answer
from twitch.fleet.node_outcomes import FAILED, REFUSED, Done, NodeOutcome, exit_status
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show.result_file import ResultWriter

LONG_S = (3600.0, 3600.0)
RUN = "0" * 32


class Cancelled(NamedTuple):
    """The end of `cancel`."""

    status: int
    output: str
    errors: str

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """The line of each node, with --json."""
        *lines, summary = map(json.loads, self.output.splitlines())
        assert summary["exit"] == self.status
        assert sum(summary["outcomes"].values()) == len(lines)
        return {line["node"]: line for line in lines}

    @property
    def outcomes(self) -> dict[str, set[str]]:
        """The nodes of each outcome, with --json."""
        found: dict[str, set[str]] = {}
        for name, line in self.nodes.items():
            found.setdefault(line["outcome"], set()).add(name)
        return found


def cancel(operator: Operator, *words: str) -> Cancelled:
    """Cancel as the operator; `--from` has the address fact from the plan."""
    access = operator.access[: operator.access.index("--address-fact")]
    servers = ("--puppetdb", operator.fleet.puppetdb.url)
    done = subprocess.run(
        [*COMMAND, "cancel", *access, *servers, *words], capture_output=True, text=True, timeout=LIMIT_S
    )
    return Cancelled(done.returncode, done.stdout, done.stderr)


def cancel_all(operator: Operator, *words: str) -> Cancelled:
    return cancel(operator, *ALL, "--address-fact", "networking.ip", *words)


def run_of_another_caller(nodes: Fleet, name: str) -> str:
    """Start a run on a node that is idle; return its id."""
    (address,) = (spec.address for spec in nodes.specs if spec.name == name)
    request = urllib.request.Request(f"http://{address}:{nodes.port}/puppet/twitch", method="POST")
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        return str(answer.headers["Puppet-Run"])


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    """Return an operator whose nodes have runs that do not end by themselves."""
    faults = dict.fromkeys(("refuse", "deny", "busy", "left", "deaf", "hang"), 0.1)
    with fleet.start(10, run_s=LONG_S, faults=faults) as nodes:
        yield Operator(nodes, tmp_path)


def begin(operator: Operator) -> subprocess.Popen[bytes]:
    """Start `run` on all nodes; return when each run has begun that can begin."""
    process = operator.start("--max-failures", "9")
    operator.wait_for(process, '"event":"running"', 7)
    operator.wait_for(process, '"event":"queued"', 10)
    return process


def test_cancel_of_a_result_stops_its_runs_and_no_others(operator: Operator) -> None:
    nodes = operator.fleet
    process = begin(operator)
    process.send_signal(signal.SIGINT)
    operator.wait_for(process, "Ctrl-C again")
    process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT_S) == exits.INTERRUPTED
    (busy,), (left,), (deaf,) = map(nodes.with_fault, (Fault.BUSY, Fault.LEFT, Fault.DEAF))
    overtaken, *_ = sorted(nodes.with_fault())
    nodes.finish(overtaken)
    run_of_another_caller(nodes, overtaken)

    done = cancel(operator, "--from", str(operator.json), "--wait", "1s", "--json")
    begun = nodes.with_fault(Fault.BUSY, Fault.LEFT) | nodes.with_fault()
    assert done.outcomes == {
        "cancelled": begun - {overtaken},
        "told to stop": {deaf},
        "nothing to cancel": {overtaken} | nodes.with_fault(Fault.REFUSE, Fault.DENY),
        "in doubt": nodes.with_fault(Fault.HANG),
    }
    assert done.status == exits.UNCERTAIN
    assert (done.nodes[overtaken]["status"], done.nodes[overtaken]["verdict"]) == (409, "changed")
    assert done.nodes[busy]["verdict"] == "not attempted"  # it was in the queue
    assert done.nodes[left]["verdict"] == "interrupted"
    assert done.nodes[left]["left_running"] == [{"name": "apt-get", "pid": 4712, "age_s": 45}]
    known = operator.read().nodes
    assert all(line["run"] == known[name].run for name, line in done.nodes.items() if "run" in line)

    # The run of the other caller goes on, and so does the one of Puppet's own daemon.
    others = cancel_all(operator, "--json", "--exclude", *nodes.with_fault(Fault.HANG))
    assert others.outcomes == {
        "cancelled": {overtaken},
        "told to stop": {deaf},
        "nothing to cancel": nodes.with_fault(Fault.LEFT) | nodes.with_fault() - {overtaken},
        "not ours": {busy},
        "refused": nodes.with_fault(Fault.DENY),
        "unreachable": nodes.with_fault(Fault.REFUSE),
    }
    assert others.status == exits.FAILURES | exits.UNREACHABLE
    (denied,) = nodes.with_fault(Fault.DENY)
    assert "cancel" in others.nodes[denied]["message"]


def test_cancel_of_a_run_that_is_followed_ends_it(tmp_path: Path) -> None:
    with fleet.start(30, run_s=LONG_S, faults={"left": 0.1}) as nodes:
        operator = Operator(nodes, tmp_path)
        process = operator.start("--at-once", "25")
        operator.wait_for(process, '"event":"running"', 25)
        process.send_signal(signal.SIGINT)
        operator.wait_for(process, f"puppet-twitch-fleet cancel --from {operator.json}")

        done = cancel(operator, "--from", str(operator.json), "--wait", "1m")
        assert done.status == 0
        assert "The result has no end: " in done.errors
        assert "Cancel the run of the result on 25 nodes" in done.errors
        assert "    25 cancelled\n" in done.output
        assert (
            "interrupted: cancelled by token:operator; still running: apt-get (pid 4712, 45s)\n"
            in done.output
        )
        assert "     5 nothing to cancel\n" in done.output

        assert process.wait(LIMIT_S) == exits.FAILURES | exits.STOPPED
        assert operator.read().count(Outcome.INTERRUPTED) == 25
        again = cancel(operator, "--from", str(operator.json))
        assert (again.status, again.errors) == (0, "")
        assert "    30 nothing to cancel\n" in again.output


def test_cancel_with_force_stops_a_run_of_puppet_itself(tmp_path: Path) -> None:
    with fleet.start(1, run_s=LONG_S, faults={"busy": 1.0}) as nodes:
        operator = Operator(nodes, tmp_path)
        process = operator.start()
        operator.wait_for(process, '"event":"running"')
        process.terminate()
        assert process.wait(LIMIT_S) == exits.TERMINATED
        assert cancel(operator, "--from", str(operator.json)).status == 0  # the run in the queue
        done = cancel_all(operator)
        assert done.status == exits.FAILURES
        assert "not started by puppet-twitch, and not cancelled\n" in done.output
        assert "; --force stops it" in done.output
        done = cancel_all(operator, "--force", "--wait", "1m")
        assert (done.status, "     1 cancelled\n" in done.output) == (0, True)


def test_cancel_of_a_result_needs_no_puppetdb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = tmp_path / "result.jsonl"
    writer = ResultWriter(result)
    writer.write(Plan(0.0, ("web1",), Ask(), "web1", 20, 0, 0, None, 1))
    writer.write(NodeEvent(1.0, "web1", "queued"))
    writer.write(Summary(9.0, {}, 0, 0, 0, 130))
    writer.close()
    words = ["--from", str(result), "--plain-http", "--puppetdb", "http://127.0.0.1:1"]
    assert cancelling.main(words) == exits.UNCERTAIN
    output, errors = capsys.readouterr()
    assert (output.splitlines()[0], errors) == (f"     1 {IN_DOUBT.words}", "")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(200, "", RUN, "interrupted"), CANCELLED),
        (Answer(200, "", RUN, "not attempted"), CANCELLED),
        (Answer(200, wording.FOREIGN_ENDED), CANCELLED),
        (Answer(200, "Puppet run ended before it was told to stop", RUN, "changed"), NOTHING),
        (Answer(202, wording.CANCELLING, RUN), TOLD),
        (Answer(404, wording.NONE_UNDER_WAY), NOTHING),
        (Answer(404, wording.NO_SUCH_RUN), NOTHING),
        (Answer(404, "Not found; try /puppet/twitch"), REFUSED),  # of a node that cannot cancel
        (Answer(409, wording.HAS_ENDED, RUN, "failed"), NOTHING),
        (Answer(409, "The run under way was not started by puppet-twitch"), NOT_OURS),
        (Answer(403, "This needs the grant cancel"), REFUSED),
        (Answer(500, wording.CANNOT_CANCEL), FAILED),
    ],
)
def test_outcome_of_an_answer_to_cancel(answer: Answer, outcome: NodeOutcome) -> None:
    assert cancelling.outcome_of(answer) == outcome


@pytest.mark.parametrize(
    ("outcome", "status", "after_wait"),
    [
        (CANCELLED, exits.OK, exits.OK),
        (NOTHING, exits.OK, exits.OK),
        (TOLD, exits.OK, exits.UNCERTAIN),
        (NOT_OURS, exits.FAILURES, exits.FAILURES),
        (IN_DOUBT, exits.UNCERTAIN, exits.UNCERTAIN),
    ],
)
def test_exit_status_of_cancel(outcome: NodeOutcome, status: int, after_wait: int) -> None:
    done = [Done(outcome, "")]
    assert (exit_status(done, waited=False), exit_status(done, waited=True)) == (status, after_wait)


@pytest.mark.parametrize("words", [("web01",), ("--nodes", "f"), ("--query", "nodes {}"), ("--force",)])
def test_cancel_of_a_result_takes_no_other_nodes_and_no_force(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="--from cancels"):
        cancelling.parse([*words, "--from", "result.jsonl"])
