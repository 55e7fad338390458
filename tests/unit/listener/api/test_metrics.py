"""`/metrics`: what Prometheus gets, and which callers get it."""

from __future__ import annotations

import os

import pytest

from tests.unit.api_under_test import ApiUnderTest
from twitch import metrics, stamps
from twitch.listener import root_client
from twitch.messages import Answer, Metrics, Status
from twitch.metrics import Figures

TYPE = "text/plain; version=0.0.4; charset=utf-8"
TEXT = metrics.text(Figures("idle"))


async def test_metrics_of_root_are_answered_as_they_are(api: ApiUnderTest) -> None:
    api.allow("anonymous = metrics")
    api.root_answers("metrics", metrics=TEXT)
    # Prometheus 2.42 sends this, and there is one form only.
    accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    reply = await api.get("/metrics", accept)
    assert (reply.status, reply.text, reply.headers["content-type"]) == (200, TEXT, TYPE)
    assert reply.headers["cache-control"] == "no-store"
    reply = await api.get("/metrics", "Accept: application/json")
    assert (reply.text, reply.headers["content-type"]) == (TEXT, TYPE)


async def test_metrics_are_asked_for_once_a_second(api: ApiUnderTest) -> None:
    api.allow("anonymous = metrics status")
    api.root_answers("metrics", metrics=TEXT)
    assert [(await api.get("/metrics")).text for _ in range(3)] == [TEXT] * 3
    await api.get("/puppet/status")
    assert [type(question) for question in api.root.asked] == [Metrics, Status]


async def test_metrics_say_that_puppet_cannot_be_read(api: ApiUnderTest) -> None:
    api.allow("anonymous = metrics")
    api.root_answers("cannot", reason="/usr/bin/puppet: does not exist")
    reply = await api.get("/metrics")
    assert (reply.status, reply.headers["content-type"]) == (200, TYPE)
    assert "\npuppet_agent_collect_success 0\n" in reply.text
    assert "does not exist" not in reply.text


async def test_metrics_without_root_are_unavailable(api: ApiUnderTest) -> None:
    api.allow("anonymous = metrics")
    api.root.answer_to = lambda question: None
    reply = await api.get("/metrics")
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")


async def test_metrics_are_not_for_everyone(api: ApiUnderTest) -> None:
    assert (await api.get("/metrics")).status == 401
    assert api.root.asked == []


async def test_metrics_hold_until_a_file_changes(api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root_client, "REMEMBER_S", 0)
    monkeypatch.setattr(stamps, "RACY_S", 0)
    api.allow("anonymous = metrics")
    state = api.directory / "state"
    state.mkdir()
    paths = (os.fspath(state),)
    api.root.answer_to = lambda question: Answer(
        "metrics", metrics=TEXT, stamp=stamps.stamp(paths), stamped=paths
    )
    for _ in range(3):
        assert (await api.get("/metrics")).text == TEXT
    assert len(api.root.asked) == 1
    before = os.stat(state).st_ctime_ns
    while os.stat(state).st_ctime_ns == before:
        state.joinpath("agent_disabled.lock").touch()
        state.joinpath("agent_disabled.lock").unlink()
    await api.get("/metrics")
    assert len(api.root.asked) == 2
    state.rmdir()  # as if the listener must not see it
    await api.get("/metrics")
    assert len(api.root.asked) == 3


async def test_metrics_without_a_stamp_are_asked_for_again(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(root_client, "REMEMBER_S", 0)
    api.allow("anonymous = metrics")
    api.root_answers("metrics", metrics=TEXT)
    for _ in range(2):
        await api.get("/metrics")
    assert len(api.root.asked) == 2
