"""The tour of `make demo-fleet`, on the site of the other tests: what it says is so in the real PuppetDB."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e import stub
from tests.lab import fleet_tour
from tests.lab.fleet import HOME, OPERATOR, Site


def test_fleet_demo(three: Site, capsys: pytest.CaptureFixture[str]) -> None:
    # As in the demo; web3 is another test's.
    site = three._replace(nodes={name: node for name, node in three.nodes.items() if name != "web3"})
    assert fleet_tour.tour(site) == 0, capsys.readouterr().out
    lines = [json.loads(line) for line in site.machine.read(f"{HOME}/result.jsonl").splitlines()]
    events: dict[str, dict[str, Any]] = {line["node"]: line for line in lines if line["line"] == "node"}
    # Each good run is proven by the report that PuppetDB has under the id of the run.
    proven = {name: line for name, line in events.items() if line["event"] == "proven"}
    assert {name for name, line in events.items() if line["outcome"] == "changed"} <= set(proven)
    assert set(events) == {name for name in site.nodes if name.startswith("web")}
    for name, line in events.items():
        (report,) = site.puppetdb.query(f'reports[certname, hash, status] {{ job_id = "{line["run"]}" }}')
        assert (report["certname"], report["status"]) == (name, line["outcome"])
        assert line.get("report") in (report["hash"], None)
        # The caller is the certificate of the operator, which the Puppet CA has signed.
        assert stub.record(site.nodes[name], line["run"])["caller"] == f"cert:{OPERATOR}"
