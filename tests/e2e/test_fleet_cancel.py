"""A bad deployment on real nodes: `run` is interrupted, and `cancel` stops its runs and no others."""

from __future__ import annotations

import json

from tests.e2e import fleet_run, stub
from tests.e2e.fleet_run import COMMAND, Started, run
from tests.lab.fleet import OPERATOR, Site

NAMES = ("web1", "db1")
OTHER = "web2"


def test_fleet_cancel_stops_the_runs_of_an_interrupted_command(three: Site) -> None:
    fleet_run.hold(three, *NAMES, OTHER)
    begun, other = Started(three, *NAMES), Started(three, OTHER)
    for name in (*NAMES, OTHER):
        fleet_run.await_held(three.nodes[name])
    runs = {name: str(begun.await_event(name, "running")["run"]) for name in NAMES}
    begun.interrupt()
    begun.await_output(f"{COMMAND} cancel --from {begun.file}")
    begun.interrupt()
    assert begun.end().status == 130

    words = (COMMAND, "cancel", "--from", begun.file, "--wait", "3m", "--json")
    done = three.operator(*words, timeout_s=240)
    *lines, summary = map(json.loads, done.stdout.splitlines())
    assert (summary["outcomes"], summary["exit"]) == ({"cancelled": 2}, 0)
    assert {line["node"]: line["run"] for line in lines} == runs
    for line in lines:
        assert line["verdict"] == "interrupted", line
        # The command of the exec goes on.
        assert "sh" in [process["name"] for process in line["left_running"]], line
        assert f"cancelled by cert:{OPERATOR}; still running: " in line["message"], line
        stub.release(three.nodes[line["node"]])

    # The other command goes on, until its run is cancelled as the run under way.
    assert "1 cancelled" in three.operator(COMMAND, "cancel", "--wait", "3m", OTHER, timeout_s=240).stdout
    stub.release(three.nodes[OTHER])
    assert other.end().outcomes == {OTHER: "interrupted"}

    resumed = run(three, "--from", begun.file)
    assert resumed.outcomes == dict.fromkeys(NAMES, "interrupted"), resumed
    assert {name: line["run"] for name, line in resumed.nodes.items()} == runs
    # A good run of each: for tests to come, no failure is one as before.
    three.server.manifest("production", "")
    again = run(three, *NAMES, OTHER)
    assert (again.status, set(again.outcomes.values())) == (0, {"unchanged"}), again
