"""A node whose network is cut in the middle of its run: lost after two minutes, and found again by its run.

The other tests of the site run meanwhile: see the fixture `three`.
"""

from __future__ import annotations

from tests.e2e import stub
from tests.e2e.cut_off import CutOff
from tests.e2e.fleet_run import run
from tests.lab.fleet import Site


def test_fleet_node_without_a_network_is_lost_and_found_again(cut_off: CutOff, three: Site) -> None:
    result = cut_off.run.end()
    assert (result.status, result.outcomes) == (16, {"web3": "lost"}), result
    assert result.nodes["web3"]["run"] == cut_off.id

    cut_off.restore()
    stub.release(three.nodes["web3"])
    found = run(three, "--from", result.file)
    assert (found.status, found.outcomes) == (0, {"web3": "changed"}), found
    assert (found.nodes["web3"]["run"], found.nodes["web3"]["event"]) == (cut_off.id, "proven")
