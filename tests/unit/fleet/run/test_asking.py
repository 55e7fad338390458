from __future__ import annotations

from pathlib import Path

from tests import fleet_nodes
from tests.unit.fleet.run.running import Operator


def test_an_anonymous_caller_who_sees_no_label_starts_no_run_twice(tmp_path: Path) -> None:
    faults = {"reset": 0.5, "cut": 0.3}
    with fleet_nodes.start(10, faults=faults, run_s=(0.05, 0.1), anonymous="trigger status") as fleet:
        operator = Operator(fleet, tmp_path)
        operator.access = ("--port", str(fleet.port), "--plain-http", "--address-fact", "networking.ip")
        ended = operator.run("--at-once", "10")
        assert (ended.status, ended.outcomes()) == (0, {"changed": 10})
        assert set(ended.runs.values()) == {1}
