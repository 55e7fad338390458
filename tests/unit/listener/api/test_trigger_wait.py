"""Waiting for a run: until it has ended, until the time is over, or until nobody is left to wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.desk import RUN, Desk, request
from tests.unit.wire import Answer, Client
from twitch.listener import root_client
from twitch.listener.api import endpoints, parameters, routes
from twitch.messages import Answer as Said
from twitch.messages import Status

TARGETS = {
    "async-false": "/puppet/twitch?async=false",
    "wait": "/puppet/twitch?wait=3600",
    "run": f"/puppet/runs/{RUN}?wait=3600",
}
waits = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits looks more often than five times a second, and nothing is said again from memory."""
    monkeypatch.setattr(endpoints, "LOOK_S", 0.001)
    monkeypatch.setattr(root_client, "REMEMBER_S", 0)


async def until_it_waits(client: Client, target: str, *headers: str) -> None:
    await client.send(request("GET", target, *headers))
    while not client.connection.waiting:
        await asyncio.sleep(0)


# ---- until it has ended


@waits
async def test_the_answer_comes_when_the_run_has_ended(desk: Desk, target: str) -> None:
    desk.record()
    async with desk.visit() as client:
        await until_it_waits(client, target)
        desk.finish("changed")
        reply = await client.answer()
    assert (reply.status, reply.headers["puppet-run"], reply.headers["puppet-verdict"]) == (
        200,
        RUN,
        "changed",
    )


async def test_a_run_that_waits_for_its_turn_is_waited_for_as_well(desk: Desk) -> None:
    desk.says("queued", run=RUN)
    desk.record(state="queued")
    async with desk.visit() as client:
        await until_it_waits(client, "/puppet/twitch?async=false&queue")
        desk.record(state="running")
        desk.finish("unchanged")
        assert (await client.answer()).text == COMPLETE


COMPLETE = "Puppet run complete"
ENDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "unchanged": ({"verdict": "unchanged"}, COMPLETE, "unchanged"),
    "noop": ({"verdict": "unchanged", "noop": True}, COMPLETE, "unchanged; noop"),
    "unreported": ({"verdict": "changed", "unreported": True}, COMPLETE, "changed; unreported"),
    "cached-catalog": (
        {"verdict": "changed", "noop": True, "cached_catalog_status": "on_failure"},
        COMPLETE,
        "changed; noop; cached catalog",
    ),
    "failed": ({"verdict": "failed", "reason": "Exec[a]"}, "Exec[a]", "failed"),
    "failed-without-a-reason": ({"verdict": "failed"}, "no reason is known", "failed"),
    "interrupted": ({"verdict": "interrupted", "reason": "x"}, "interrupted: x", "interrupted"),
    "not-attempted": ({"verdict": "not attempted", "reason": "x"}, "not attempted: x", "not attempted"),
}


@pytest.mark.parametrize(("record", "text", "verdict"), ENDS.values(), ids=ENDS)
async def test_what_has_become_of_it_is_told(
    desk: Desk, record: dict[str, Any], text: str, verdict: str
) -> None:
    desk.finish(**record)
    reply = await desk.get("/puppet/twitch?async=false")
    if text == COMPLETE:
        assert (reply.status, reply.text) == (200, COMPLETE)
    else:
        logs = f"journalctl _SYSTEMD_INVOCATION_ID={RUN}"
        assert (reply.status, reply.text) == (500, f"Puppet run failed: {text}; {logs}\n")
    assert (reply.headers["puppet-run"], reply.headers["puppet-verdict"]) == (RUN, verdict)


async def test_somebody_elses_run_was_faster(desk: Desk) -> None:
    desk.finish("busy", reason="another Puppet run was faster")
    reply = await desk.get("/puppet/twitch?async=false")
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (409, b"Puppet already running", "30")
    assert (reply.headers["puppet-run"], reply.headers["puppet-verdict"]) == (RUN, "busy")
    told = await desk.json("/puppet/twitch?async=false")
    assert (told["http"], told["run"], told["verdict"]) == (409, RUN, "busy")


async def test_what_has_become_of_it_in_json(desk: Desk) -> None:
    desk.finish("failed", reason="Exec[a]")
    told = await desk.json("/puppet/twitch?async=false")
    assert (told["http"], told["title"], told["verdict"], told["run"]) == (
        500,
        "Internal Server Error",
        "failed",
        RUN,
    )
    assert (told["duration_s"], told["ended"]) == (2.5, "2026-01-22T09:05:03Z")


async def test_puppets_own_words_are_for_who_may_read_logs(desk: Desk) -> None:
    desk.finish("failed", reason="Exec[a]", error="it is broken\x1b[2J")
    desk.allow("anonymous = trigger status", "token:ci = logs", "plaintext_tokens = yes")
    shown = desk.token("ci")
    named = await desk.get("/puppet/twitch?async=false", shown)
    assert named.text == "Puppet run failed: Exec[a]: it is broken\\x1b[2J\n"
    assert "broken" not in (await desk.get("/puppet/twitch?async=false")).text
    assert (await desk.json("/puppet/twitch?async=false", shown))["error"] == "it is broken\x1b[2J"
    assert "error" not in await desk.json("/puppet/twitch?async=false")


# ---- no longer


@pytest.mark.parametrize(
    "target",
    ["/puppet/twitch?wait=0", "/puppet/twitch?async=true", "/puppet/twitch", "/puppet/twitch?async&wait=0"],
)
async def test_who_does_not_wait_is_answered_at_once(desk: Desk, target: str) -> None:
    desk.record()
    assert (await desk.get(target)).status == 202


async def test_a_run_that_lasts_longer_is_told_where_to_look(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.record()
    monkeypatch.setattr(parameters.Parameters, "seconds", lambda *_: 0.05)
    reply = await desk.get("/puppet/twitch?wait=1")
    assert (reply.status, reply.body) == (202, b"Triggered puppet run")
    assert reply.headers["location"] == f"/puppet/runs/{RUN}"


def assert_told_where_to_look(reply: Answer, target: str) -> None:
    if "twitch" in target:
        assert (reply.status, reply.headers["location"]) == (202, f"/puppet/runs/{RUN}")
    else:
        assert (reply.status, "running" in reply.text) == (200, True)
    assert reply.headers["puppet-run"] == RUN


@waits
async def test_a_listener_that_must_leave_says_where_to_look(desk: Desk, target: str) -> None:
    desk.record()
    async with desk.visit() as client:
        await until_it_waits(client, target)
        client.connection.stop()
        reply = await client.answer()
        await client.end()
    assert_told_where_to_look(reply, target)
    assert reply.headers["connection"] == "close"


@waits
async def test_a_client_that_is_done_with_sending_is_told_where_to_look(desk: Desk, target: str) -> None:
    desk.record()
    async with desk.visit() as client:
        await client.send(request("GET", target))
        client.half_close()
        reply = await client.answer()
        await client.end()
    assert_told_where_to_look(reply, target)


async def test_beyond_some_waiting_callers_the_next_is_told_where_to_look(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MAX_WAITING", 1)
    desk.record()
    async with desk.visit() as waiting:
        await until_it_waits(waiting, TARGETS["run"])
        for target in TARGETS.values():
            assert_told_where_to_look(await desk.get(target), target)
        desk.finish("changed")
        assert (await waiting.answer()).status == 200
    desk.record()
    async with desk.visit() as waiting:  # there is room again
        await until_it_waits(waiting, TARGETS["run"])
        desk.finish("changed")
        await waiting.answer()


@waits
async def test_with_a_process_of_its_own_nobody_waits_for_long(desk: Desk, target: str) -> None:
    desk.record()
    desk.api._longest_wait_s = 0.05  # as for a single connection, but shorter
    assert_told_where_to_look(await desk.get(target), target)


# ---- nobody else would end it


async def test_while_somebody_waits_root_is_asked_to_look(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "GUARD_S", 0)
    desk.record()

    def settle(question: object) -> Said:
        desk.finish("interrupted", reason="how Puppet ended is not known")
        return Said("status", status={"state": "idle"})

    desk.root.says = settle
    reply = await desk.get(f"/puppet/runs/{RUN}?wait=3600")
    assert reply.headers["puppet-verdict"] == "interrupted"
    assert desk.root.asked == [Status()]


async def test_a_root_that_cannot_look_ends_nobodys_waiting(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "GUARD_S", 0)
    desk.record()
    desk.root.says = lambda question: None
    async with desk.visit() as client:
        await until_it_waits(client, TARGETS["run"])
        while len(desk.root.asked) < 3:
            await asyncio.sleep(0)
        desk.finish("changed")
        assert (await client.answer()).headers["puppet-verdict"] == "changed"


async def test_a_record_that_is_gone_is_waited_for_by_nobody(desk: Desk) -> None:
    assert (await desk.get("/puppet/twitch?async=false")).status == 202
    assert (await desk.get(f"/puppet/runs/{RUN}?wait=3600")).status == 404
