"""Cancelling a run over HTTP: who may, what root is asked, and what is answered, before and after the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.api_under_test import OTHER, RUN, ApiUnderTest, node_status
from twitch.messages import Answer, Cancel, Question, Status
from twitch.records import Cancelled, Left

TARGET = f"/puppet/runs/{RUN}/cancel"
CANCELLED = Cancelled("token:ci", 1769072702.0)
INTERRUPTED: dict[str, Any] = {"reason": "cancelled by token:ci", "cancelled": CANCELLED}


@pytest.fixture
def named(api: ApiUnderTest) -> str:
    """Return the header of a caller that may cancel runs; an anonymous one may only look."""
    api.allow("anonymous = status", "token:ci = cancel", "plaintext_tokens = yes")
    return api.token("ci")


@pytest.fixture
def anyone(api: ApiUnderTest) -> None:
    """Allow anonymous callers to cancel runs."""
    api.allow("anonymous = cancel status trigger")


async def test_run_under_way_is_told_to_stop(api: ApiUnderTest, named: str) -> None:
    api.record()
    api.root_answers("cancelled", run=RUN)
    reply = await api.ask("POST", TARGET, named)
    assert (reply.status, reply.text) == (202, "Puppet run was told to stop\n")
    assert (reply.headers["puppet-run"], reply.headers["location"]) == (RUN, f"/puppet/runs/{RUN}")
    assert api.root.asked == [Cancel(RUN, "token:ci", "192.0.2.7")]


async def test_current_run_is_named_in_the_answer(api: ApiUnderTest, named: str) -> None:
    api.record(OTHER)
    api.root_answers("cancelled", run=OTHER)
    fields = await api.json("/puppet/runs/current/cancel?force=true", named, method="POST")
    assert (fields["http"], fields["run"], fields["state"]) == (202, OTHER, "running")
    assert api.root.asked == [Cancel("current", "token:ci", "192.0.2.7", force=True)]


async def test_caller_that_waits_hears_what_the_run_has_left_running(api: ApiUnderTest, named: str) -> None:
    api.record()

    def answer(question: Question) -> Answer:
        reason = f"{INTERRUPTED['reason']}; still running: apt-get (pid 7, 45s)"
        left = (Left("apt-get", 7, 45),)
        api.finish("interrupted", cancelled=CANCELLED, reason=reason, left_running=left)
        return Answer("cancelled", run=RUN)

    api.root.answer_to = answer
    reply = await api.ask("POST", f"{TARGET}?wait=1m", named)
    assert (reply.status, reply.headers["puppet-verdict"]) == (200, "interrupted")
    assert reply.text == (
        "Puppet run cancelled: interrupted: cancelled by token:ci; still running: apt-get (pid 7, 45s)\n"
    )
    fields = await api.json(f"/puppet/runs/{RUN}", named)
    assert fields["cancelled"] == {"by": "token:ci", "at": "2026-01-22T09:05:02Z"}


async def test_caller_that_waits_too_short_a_time_gets_202(api: ApiUnderTest, named: str) -> None:
    api.record()
    api.root_answers("cancelled", run=RUN)
    reply = await api.ask("POST", f"{TARGET}?wait=1s", named)
    assert (reply.status, reply.text) == (202, "Puppet run was told to stop\n")


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        ("interrupted", "Puppet run cancelled: interrupted\n"),
        ("not attempted", "Puppet run cancelled: not attempted\n"),
        ("changed", "Puppet run ended before it was told to stop: changed\n"),
        ("failed", "Puppet run ended before it was told to stop: failed\n"),
    ],
)
async def test_outcome_of_a_cancelled_run(api: ApiUnderTest, anyone: None, verdict: str, text: str) -> None:
    api.record()

    def answer(question: Question) -> Answer:
        api.finish(verdict, **INTERRUPTED)
        return Answer("cancelled", run=RUN)

    api.root.answer_to = answer
    reply = await api.ask("POST", f"{TARGET}?wait=1m")
    assert (reply.status, reply.text) == (200, text)


async def test_anonymous_caller_does_not_learn_who_has_cancelled(api: ApiUnderTest, anyone: None) -> None:
    api.finish("interrupted", **INTERRUPTED)
    reply = await api.get(f"/puppet/runs/{RUN}?wait=1")
    assert "token:ci" not in reply.text + str(await api.json(f"/puppet/runs/{RUN}"))
    # Nor one that has waited for this run, and so hears why it failed.
    api.root_answers("started", run=RUN)
    reply = await api.get("/puppet/twitch?async=false")
    assert reply.text.startswith("Puppet run failed: interrupted: cancelled; ")


@pytest.mark.parametrize("target", [TARGET, "/puppet/runs/last/cancel"])
async def test_run_that_has_ended_is_409_without_a_question_to_root(
    api: ApiUnderTest, named: str, target: str
) -> None:
    api.finish("changed")
    reply = await api.ask("POST", target, named)
    assert (reply.status, reply.text) == (409, "Puppet run has ended before: changed\n")
    assert (reply.headers["puppet-verdict"], api.root.asked) == ("changed", [])


async def test_run_that_ends_while_root_is_asked_is_409(api: ApiUnderTest, named: str) -> None:
    api.record()
    api.root_answers("ended", run=RUN)
    reply = await api.ask("POST", TARGET, named)
    assert (reply.status, reply.text) == (409, "Puppet run has ended before\n")


@pytest.mark.parametrize("run", [OTHER, "last", "x", "..", ""])
async def test_run_that_is_not_known_is_404(api: ApiUnderTest, named: str, run: str) -> None:
    reply = await api.ask("POST", f"/puppet/runs/{run}/cancel", named)
    assert (reply.status, api.root.asked) == (404, [])


async def test_current_without_a_run_is_404(api: ApiUnderTest, named: str) -> None:
    api.root_answers("no run")
    reply = await api.ask("POST", "/puppet/runs/current/cancel", named)
    assert (reply.status, reply.text) == (404, "No Puppet run is under way\n")


FOREIGN = node_status("running", pid=4711, since=1769072700.0)
NOT_OURS = "The run under way was not started by puppet-twitch; "


async def test_run_that_is_not_ours_is_409_with_the_way_to_stop_it(api: ApiUnderTest, named: str) -> None:
    api.root_answers("foreign", status=FOREIGN)
    reply = await api.ask("POST", "/puppet/runs/current/cancel", named)
    assert reply.status == 409
    assert reply.text == f"{NOT_OURS}force=true stops it (pid 4711, since 2026-01-22T09:05:00Z)\n"
    api.root_answers("foreign", status=FOREIGN, reason="it is the daemon")
    reply = await api.ask("POST", "/puppet/runs/current/cancel?force=true", named)
    assert reply.text == f"{NOT_OURS}it is the daemon (pid 4711, since 2026-01-22T09:05:00Z)\n"


async def test_run_that_is_not_ours_shows_an_anonymous_caller_no_pid(api: ApiUnderTest, anyone: None) -> None:
    api.root_answers("foreign", status=FOREIGN)
    reply = await api.ask("POST", "/puppet/runs/current/cancel")
    assert (reply.status, reply.text) == (409, f"{NOT_OURS}force=true stops it\n")


async def test_end_of_a_run_that_is_not_ours_is_seen_in_the_status(
    api: ApiUnderTest, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twitch.listener.root_client.REMEMBER_S", 0)
    monkeypatch.setattr("twitch.listener.api.cancel.LOOK_FOREIGN_S", 0.01)
    looks: list[Question] = []

    def answer(question: Question) -> Answer:
        if isinstance(question, Cancel):
            return Answer("cancelled", status=FOREIGN)
        assert question == Status()
        looks.append(question)
        return Answer("status", status=FOREIGN if len(looks) < 3 else node_status("idle"))

    api.root.answer_to = answer
    reply = await api.ask("POST", "/puppet/runs/current/cancel?force=true&wait=1m", named)
    assert (reply.status, reply.text) == (200, "Puppet run was told to stop, and has ended\n")
    looks.clear()
    reply = await api.ask("POST", "/puppet/runs/current/cancel?force=true", named)
    assert (reply.status, reply.text, looks) == (202, "Puppet run was told to stop\n", [])


async def test_run_that_cannot_be_cancelled_is_500(api: ApiUnderTest, named: str) -> None:
    api.root_answers("cannot", reason="systemctl stop failed")
    reply = await api.ask("POST", "/puppet/runs/current/cancel", named)
    assert (reply.status, reply.text) == (500, "Puppet run cannot be cancelled: systemctl stop failed\n")


async def test_cancel_needs_its_grant(api: ApiUnderTest, named: str) -> None:
    api.record()
    reply = await api.ask("POST", TARGET)
    assert (reply.status, api.root.asked) == (401, [])
    assert reply.text == "Not allowed without a token or a certificate that has the grant cancel\n"


async def test_web_page_may_not_cancel(api: ApiUnderTest, anyone: None) -> None:
    api.record()
    reply = await api.ask("POST", TARGET, "Origin: http://evil.example.com")
    assert (reply.status, reply.text) == (403, "Not from a browser; use curl\n")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_only_post_cancels(api: ApiUnderTest, named: str, method: str) -> None:
    api.record()
    reply = await api.ask(method, TARGET, named)
    assert (reply.status, reply.headers["allow"], api.root.asked) == (405, "POST", [])


@pytest.mark.parametrize("query", ["wait=soon", "force=perhaps", "noop=true"])
async def test_invalid_parameter_of_a_cancel_does_not_wake_root(
    api: ApiUnderTest, named: str, query: str
) -> None:
    api.record()
    reply = await api.ask("POST", f"{TARGET}?{query}", named)
    assert (reply.status, api.root.asked) == (400, [])


async def test_answer_to_a_cancel_is_never_remembered(api: ApiUnderTest, named: str) -> None:
    api.record()
    api.root_answers("cancelled", run=RUN)
    await asyncio.gather(*(api.ask("POST", TARGET, named) for _ in range(3)))
    assert len(api.root.asked) == 3
