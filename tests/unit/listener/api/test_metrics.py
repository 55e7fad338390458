"""`/metrics`: what Prometheus gets, and which callers get it."""

from __future__ import annotations

from tests.unit.api_under_test import ApiUnderTest
from twitch import metrics
from twitch.messages import Metrics, Status
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
