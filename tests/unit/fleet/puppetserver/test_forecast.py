"""How long a run over many nodes takes at the earliest."""

from __future__ import annotations

import pytest

from twitch.fleet.puppetserver.forecast import Forecast, forecast
from twitch.fleet.puppetserver.queue import ServerQueue, Unreadable

SERVER = ServerQueue(
    "https://a:8140", jrubies=16, free=16, waiting=0, oldest_s=0, turned_away=0, catalogs=90, jruby_s=4.0
)


def test_two_servers_share_the_nodes() -> None:
    other = SERVER._replace(url="https://b:8140", catalogs=10, jruby_s=5.0)
    capacity = forecast([SERVER, other, Unreadable("https://c:8140", "connection refused")])
    assert capacity is not None
    assert (capacity.servers, capacity.jrubies) == (2, 32)
    assert capacity.jruby_s == pytest.approx(4.1)
    shortest_s = capacity.shortest_s(10_000)
    assert shortest_s is not None
    assert round(shortest_s / 60) == 21


def test_no_server_that_answers_is_no_forecast() -> None:
    assert forecast([Unreadable("https://c:8140", "connection refused")]) is None
    assert forecast([]) is None


def test_a_server_that_was_just_started_has_no_cost_yet() -> None:
    capacity = forecast([SERVER._replace(catalogs=9)])
    assert capacity == Forecast(1, 16, None, None)
    assert capacity.shortest_s(10) is None
