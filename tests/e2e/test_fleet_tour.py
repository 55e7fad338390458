"""`make demo-fleet`: its tour, on the site of the other tests."""

from __future__ import annotations

import pytest

from tests.lab import fleet_tour
from tests.lab.fleet import Site


def test_fleet_tour(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet_tour.tour(site) == 0, capsys.readouterr().out
