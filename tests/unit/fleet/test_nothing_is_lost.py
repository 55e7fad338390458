"""Of hundreds of nodes with every kind of trouble, each has one outcome, and none has run twice.

The command is killed in the middle and resumed, and PuppetDB goes away and comes back.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import fleet_nodes
from tests.fleet_nodes import Fault, Fleet
from tests.unit.processes import LIMIT_S, wait_until
from twitch.fleet.events import QUEUED
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show import result_file
from twitch.fleet.show.results import Results

NODES, AT_ONCE = 400, 100
RUN_S = (0.1, 0.4)

TROUBLE = {
    Fault.REFUSE: 0.05,
    Fault.HANG: 0.02,
    Fault.GARBAGE: 0.01,
    Fault.DIE: 0.01,
    Fault.RESET: 0.02,
    Fault.CUT: 0.02,
    Fault.BUSY: 0.01,
    Fault.FULL: 0.01,
    Fault.COOLDOWN: 0.01,
    Fault.UNAVAILABLE: 0.01,
    Fault.LEAVE: 0.01,
    Fault.BLIP: 0.01,
    Fault.DISABLED: 0.01,
}
VERDICTS = {"failed": 0.02, "unchanged": 0.5}

# What has to become of a node: with a fault, and else by the verdict of its run.
BY_FAULT = {
    Fault.REFUSE: Outcome.UNREACHABLE,
    Fault.HANG: Outcome.LOST,  # the request was sent, so a run may have been started
    Fault.GARBAGE: Outcome.UNREACHABLE,
    Fault.DIE: Outcome.LOST,
    Fault.DISABLED: Outcome.DISABLED,
}
BY_VERDICT = {"changed": Outcome.CHANGED, "unchanged": Outcome.UNCHANGED, "failed": Outcome.FAILED}
NEVER_STARTED = (Fault.REFUSE, Fault.HANG, Fault.GARBAGE, Fault.DISABLED)


class Invocation(NamedTuple):
    """The command, in a process of its own."""

    process: subprocess.Popen[bytes]
    result: Path

    def results(self) -> Results:
        """Return what the result file says so far."""
        return result_file.read(self.result)

    def ended(self) -> int:
        """Return how many nodes have an outcome so far."""
        return self.result.read_bytes().count(b'"event":"ended"') if self.result.exists() else 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT_S)

    def exit_status(self) -> int:
        return self.process.wait(LIMIT_S)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    faults = {fault.value: share for fault, share in TROUBLE.items()}
    with fleet_nodes.start(NODES, faults=faults, verdicts=VERDICTS, run_s=RUN_S, longest_s=300) as started:
        yield started


def run(fleet: Fleet, directory: Path, result: str, *options: str) -> Invocation:
    """Start the command in the background."""
    token = directory / "token"
    token.write_text(fleet.credentials.token)
    token.chmod(0o600)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.fleet_nodes.impatient", "run", "--yes", "--quiet"),
            *("--at-once", str(AT_ONCE), "--max-failures", "100%", "--address-fact", "networking.ip"),
            *("--port", str(fleet.port), "--plain-http", "--token-file", token, "--clear-text-token"),
            *("--puppetdb", fleet.puppetdb.url, "--puppetserver", "none"),
            *("--json", directory / result),
            *options,
        ],
        env={**os.environ, "XDG_STATE_HOME": os.fspath(directory)},
        stdout=subprocess.DEVNULL,
    )
    return Invocation(process, directory / result)


def outcomes_due(fleet: Fleet, in_doubt: set[str]) -> dict[str, Outcome]:
    """Return what has to become of each node.

    `in_doubt` are the nodes that were being asked when the command was killed. If such a node cannot be
    reached any more, nobody knows whether it has started a run.
    """
    due = {}
    for spec in fleet.specs:
        outcome = BY_FAULT.get(spec.fault) if spec.fault else None
        lost = spec.fault is Fault.REFUSE and spec.name in in_doubt
        due[spec.name] = Outcome.LOST if lost else outcome or BY_VERDICT[spec.verdict]
    return due


def check(fleet: Fleet, results: Results, in_doubt: set[str]) -> None:
    outcomes: dict[str, Any] = {name: node.outcome for name, node in results.nodes.items()}
    assert outcomes == outcomes_due(fleet, in_doubt)
    started, never = fleet.started(), fleet.with_fault(*NEVER_STARTED)
    assert {name for name, runs in started.items() if len(runs) != 1} == never
    for name in started.keys() - never:
        # A node that is lost before it has answered has not told the id of its run.
        allowed = [started[name][0], *([None] if outcomes[name] is Outcome.LOST else [])]
        assert results.nodes[name].run in allowed


def test_every_node_has_one_outcome_and_ran_once(fleet: Fleet, tmp_path: Path) -> None:
    fleet.puppetdb.set(goes_after=NODES // 4)
    first = run(fleet, tmp_path, "first.jsonl", "--query", "nodes[certname]{}", "--follow", "puppetdb")
    # More than it can have proven: runs end without a PuppetDB.
    wait_until(lambda: first.ended() > NODES / 2, "half of the nodes have ended")
    assert fleet.puppetdb.get("goes_after") == 0  # it has gone
    fleet.puppetdb.start()
    first.kill()
    asked = first.results().nodes.values()
    in_doubt = {node.name for node in asked if node.step == QUEUED and not node.error}
    second = run(fleet, tmp_path, "second.jsonl", "--from", os.fspath(first.result))
    assert second.exit_status() == 16  # lost
    check(fleet, second.results(), in_doubt)
