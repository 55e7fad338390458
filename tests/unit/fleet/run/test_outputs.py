from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests import fleet_nodes
from tests.unit.fleet.run.running import Operator
from twitch.fleet import main


def test_json_lines_on_standard_output_are_alone_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with fleet_nodes.start(3, run_s=(0.05, 0.1)) as fleet:
        operator = Operator(fleet, tmp_path)
        assert main.main([*operator.arguments(), "--json", "-"]) == 0
    written, said = capfd.readouterr()
    kinds = [json.loads(line)["line"] for line in written.splitlines()]
    assert (kinds[0], kinds[-1], set(kinds[1:-1])) == ("plan", "summary", {"node"})
    assert "3  changed" in said


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_without_a_place_for_the_result_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with fleet_nodes.start(3, run_s=(0.05, 0.1)) as fleet:
        operator = Operator(fleet, tmp_path)
        assert main.main([*operator.arguments(), "--json", "/dev/full"]) == 1
        monkeypatch.setitem(os.environ, "XDG_STATE_HOME", "/dev/null/state")
        without = operator.arguments()
        without[without.index("--json") :] = []
        assert main.main(without) == 1
        assert sum(operator.started().values()) == 0
    assert "No space left on device" in capfd.readouterr().err
