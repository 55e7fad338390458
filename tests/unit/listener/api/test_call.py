"""Waiting for a run: until it has ended, the time is over, or the listener must not wait any longer."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.api_under_test import RUN, ApiUnderTest, node_status, request
from tests.unit.wire import Answer as Reply
from twitch.listener import root_client
from twitch.listener.api import call, parameters
from twitch.messages import Answer, Status

TARGETS = {
    "async-false": "/puppet/twitch?async=false",
    "wait": "/puppet/twitch?wait=3600",
    "run": f"/puppet/runs/{RUN}?wait=3600",
}
waits = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the record much more often than five times a second, and remember no answer of root."""
    monkeypatch.setattr(call, "LOOK_S", 0.001)
    monkeypatch.setattr(root_client, "REMEMBER_S", 0)


# ---- until the run has ended


@waits
async def test_waiting_ends_with_the_run(api: ApiUnderTest, target: str) -> None:
    api.record()
    async with api.client() as client:
        await client.send_and_wait(request("GET", target))
        api.finish("changed")
        reply = await client.answer()
    assert reply.status == 200
    assert (reply.headers["puppet-run"], reply.headers["puppet-verdict"]) == (RUN, "changed")


async def test_waiting_goes_on_from_the_queue_into_the_run(api: ApiUnderTest) -> None:
    api.root_answers("queued", run=RUN)
    api.record(state="queued")
    async with api.client() as client:
        await client.send_and_wait(request("GET", "/puppet/twitch?async=false&queue"))
        api.record(state="running")
        api.finish("unchanged")
        assert (await client.answer()).text == "Puppet run complete"


# ---- until the caller stops waiting


@pytest.mark.parametrize(
    "target",
    ["/puppet/twitch?wait=0", "/puppet/twitch?async=true", "/puppet/twitch", "/puppet/twitch?async&wait=0"],
)
async def test_request_without_waiting_is_answered_at_once(api: ApiUnderTest, target: str) -> None:
    api.record()
    assert (await api.get(target)).status == 202


async def test_waiting_ends_when_the_time_is_over(api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    api.record()
    monkeypatch.setattr(parameters.Parameters, "wait", lambda _: 0.05)
    reply = await api.get("/puppet/twitch?wait=1")
    assert (reply.status, reply.body) == (202, b"Triggered puppet run")
    assert reply.headers["location"] == f"/puppet/runs/{RUN}"


def assert_names_the_run(reply: Reply, target: str) -> None:
    """Assert that a reply says that the run has not ended, and where its end can be read."""
    assert (reply.status, reply.headers["location"]) == (202, f"/puppet/runs/{RUN}")
    assert "twitch" in target or "running" in reply.text
    assert reply.headers["puppet-run"] == RUN


@waits
async def test_waiting_ends_when_the_listener_stops(api: ApiUnderTest, target: str) -> None:
    api.record()
    async with api.client() as client:
        await client.send_and_wait(request("GET", target))
        client.connection.stop()
        reply = await client.answer()
        await client.end()
    assert_names_the_run(reply, target)
    assert reply.headers["connection"] == "close"


@waits
async def test_waiting_ends_when_the_client_shuts_down_its_half(api: ApiUnderTest, target: str) -> None:
    api.record()
    async with api.client() as client:
        await client.send(request("GET", target))
        client.half_close()
        reply = await client.answer()
        await client.end()
    assert_names_the_run(reply, target)


@waits
async def test_waiting_ends_when_others_need_the_place(api: ApiUnderTest, target: str) -> None:
    api.record()
    async with api.client() as client:
        await client.send_and_wait(request("GET", target))
        client.connection.leave()
        reply = await client.answer()
        await client.end()
    assert_names_the_run(reply, target)
    assert reply.headers["connection"] == "close"


@waits
async def test_caller_does_not_wait_without_a_place(api: ApiUnderTest, target: str) -> None:
    api.record()
    async with api.client() as client:
        client.connection._may_wait = lambda connection: False
        assert_names_the_run(await client.ask(request("GET", target)), target)


async def test_connection_knows_whether_its_waiting_caller_is_named(api: ApiUnderTest) -> None:
    api.allow("token:a = trigger", "plaintext_tokens = yes")
    api.record()
    for headers, named in (((), False), ((api.token("a"),), True), ((api.token("other"),), False)):
        async with api.client() as client:
            await client.send_and_wait(request("GET", TARGETS["wait"], *headers))
            assert client.connection.named is named
            client.half_close()
            await client.answer()
            assert not client.connection.named


@waits
async def test_waiting_ends_after_the_longest_time_of_the_listener(api: ApiUnderTest, target: str) -> None:
    api.record()
    api.service._longest_wait_s = 0.05  # as with a process for each connection, but shorter
    assert_names_the_run(await api.get(target), target)


# ---- the guard: a run whose conclude was killed


async def test_root_is_asked_while_a_caller_waits(api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "GUARD_S", 0)
    api.record()

    def settle(question: object) -> Answer:
        api.finish("interrupted", reason="how Puppet ended is not known")
        return Answer("status", status=node_status())

    api.root.answer_to = settle
    reply = await api.get(f"/puppet/runs/{RUN}?wait=3600")
    assert reply.headers["puppet-verdict"] == "interrupted"
    assert api.root.asked == [Status()]


async def test_waiting_goes_on_if_root_does_not_answer(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call, "GUARD_S", 0)
    api.record()
    api.root.answer_to = lambda question: None
    async with api.client() as client:
        await client.send_and_wait(request("GET", TARGETS["run"]))
        while len(api.root.asked) < 3:
            await asyncio.sleep(0)
        api.finish("changed")
        assert (await client.answer()).headers["puppet-verdict"] == "changed"


SAID = "Puppet run ended, but its verdict cannot be recorded"
UNRECORDED_WHY = "the verdict cannot be written: [Errno 28] No space left on device: '/run/puppet-twitch/x'"


@waits
async def test_caller_hears_of_a_run_that_ended_without_a_record(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr(call, "GUARD_S", 0)
    api.record()
    status = node_status(unrecorded=RUN, unrecorded_why=UNRECORDED_WHY)
    api.root.answer_to = lambda question: (
        Answer("status", status=status) if question == Status() else Answer("started", run=RUN)
    )
    async with api.client() as client:
        await client.send(request("GET", target))
        while Status() not in api.root.asked:
            api.root.end(RUN)
            await asyncio.sleep(0)
        reply = await client.answer()
    assert (reply.status, reply.text) == (500, f"{SAID}; the journal of the node says why\n")
    assert (reply.headers["puppet-run"], reply.headers["location"]) == (RUN, f"/puppet/runs/{RUN}")
    assert "puppet-verdict" not in reply.headers
    api.allow("anonymous = trigger status logs")
    fields = await api.json(target)
    assert (fields["http"], fields["detail"]) == (500, f"{SAID}: {UNRECORDED_WHY}")
    assert fields["run"] == RUN and "state" not in fields


async def test_caller_hears_a_verdict_that_was_recorded_later(api: ApiUnderTest) -> None:
    api.record()
    api.root_answers("status", status=node_status(unrecorded=RUN, unrecorded_why=UNRECORDED_WHY))
    assert (await api.get("/puppet/status")).status == 200
    api.finish("changed")
    assert (await api.get(f"/puppet/runs/{RUN}?wait=60")).headers["puppet-verdict"] == "changed"


async def test_root_is_asked_for_the_status_although_it_answers_triggers(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An answer to a trigger does not tell of a run that ended without a record.
    monkeypatch.setattr(call, "GUARD_S", 0.05)
    api.record()
    status = node_status(unrecorded=RUN, unrecorded_why=UNRECORDED_WHY)
    api.root.answer_to = lambda question: (
        Answer("status", status=status) if question == Status() else Answer("cannot", reason="full")
    )
    async with api.client() as client:
        await client.send_and_wait(request("GET", TARGETS["run"]))
        while Status() not in api.root.asked:
            assert (await api.get("/puppet/twitch")).status == 500
        assert (await client.answer()).status == 500


async def test_run_without_a_record_is_not_waited_for(api: ApiUnderTest) -> None:
    assert (await api.get("/puppet/twitch?async=false")).status == 202
    assert (await api.get(f"/puppet/runs/{RUN}?wait=3600")).status == 404


# ---- the debug log


async def test_debug_log_says_when_waiting_begins_and_ends(
    api: ApiUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    api.record()
    async with api.client() as client:
        await client.send_and_wait(request("GET", TARGETS["wait"]))
        api.finish("changed")
        await client.answer()
    lines = [message for message in caplog.messages if "waits" in message]
    assert lines == [
        f"anonymous waits for run {RUN}, at most 3600 s",
        f"anonymous waits no longer for run {RUN}, which is finished",
    ]
