from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fleet_nodes
from tests.unit.fleet.run.running import Operator, most_at_once


@pytest.fixture
def blind(tmp_path: Path) -> Iterator[Operator]:
    """An operator who may start runs, and not read what became of them."""
    with fleet_nodes.start(6, run_s=(0.05, 0.1), anonymous="trigger") as fleet:
        operator = Operator(fleet, tmp_path)
        operator.access = ("--port", str(fleet.port), "--plain-http", "--address-fact", "networking.ip")
        yield operator


def test_a_caller_who_may_not_read_runs_learns_their_ends_from_puppetdb(blind: Operator) -> None:
    ended = blind.run("--at-once", "2")
    assert (ended.status, ended.outcomes()) == (0, {"changed": 6})
    assert most_at_once(blind.json) == 2


def test_without_puppetdb_a_caller_who_may_not_read_runs_starts_no_more(blind: Operator) -> None:
    blind.access = blind.access[:-2]
    addresses = [node.address or "" for node in blind.fleet.nodes]
    ended = blind.run("--at-once", "2", "--puppetdb", "none", who=addresses)
    assert ended.status == 8 + 16
    assert ended.results.summary is not None
    assert "grant status" in str(ended.results.summary.stopped)
    assert sum(ended.runs.values()) <= 3
