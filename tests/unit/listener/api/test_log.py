"""The log of a run: positions, levels, one follower, and how an answer ends.

The log reader is the real one, with a journal in memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api_under_test import OTHER, RUN, ApiUnderTest, node_status, request
from tests.unit.fake_journal import PID, ended, entry
from tests.unit.log_readers import LINES, LOG, Journald, Stream
from tests.unit.wire import ADDRESS, visit
from twitch import wording
from twitch.listener import log_sharing, log_source
from twitch.listener.api import log_follower
from twitch.log_packets import Read
from twitch.node_status import Doing


def texts(body: bytes) -> list[str]:
    """Return messages of Puppet's lines, and lines of ours as they are."""
    lines = body.decode().splitlines()
    return [line if line.startswith("#") else line.partition("): ")[2] for line in lines]


# ---- without follow


async def test_log_of_an_ended_run_ends_with_the_verdict(api: ApiUnderTest, journald: Journald) -> None:
    journald.append(ended())
    api.finish("failed", reason="Exec[x]", error="it broke", pid=PID)
    reply = await api.get(LOG)
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-accel-buffering"] == "no"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert (reply.headers["puppet-run"], reply.headers["puppet-verdict"]) == (RUN, "failed")
    assert texts(reply.body) == [
        "# another caller asked for this run",
        "one",
        "two",
        "three",
        "# failed: Exec[x]: it broke",
    ]


@pytest.mark.parametrize("media_type", ["application/jsonl", "application/x-ndjson"])
async def test_json_lines_have_positions(api: ApiUnderTest, journald: Journald, media_type: str) -> None:
    api.finish("changed", pid=PID)
    reply = await api.get(LOG, f"Accept: {media_type}")
    assert reply.headers["content-type"] == media_type
    request_line, *lines, end = map(json.loads, reply.body.splitlines())
    assert (request_line["event"], request_line["at"]) == ("asked", 1)
    assert [(line["at"], line["message"]) for line in lines] == [(2, "one"), (3, "two"), (4, "three")]
    assert end == {"event": "end", "run": RUN, "verdict": "changed", "duration_s": 2.5}


PARTS = {
    "after": ("?after=2", ["two", "three"]),
    "after the last line": ("?after=4", []),
    "tail": ("?tail=2", ["two", "three"]),
    "level": ("?level=warning", ["two"]),
    "level and tail": ("?level=warning&tail=2", ["two"]),
}


@pytest.mark.parametrize(("query", "expected"), PARTS.values(), ids=PARTS)
async def test_part_of_a_log(api: ApiUnderTest, journald: Journald, query: str, expected: list[str]) -> None:
    api.finish("unchanged")
    assert texts((await api.get(LOG + query)).body) == [*expected, "# unchanged"]
    api.record(pid=PID)
    *lines, last = texts((await api.get(LOG + query)).body)
    assert lines == expected
    level = "&level=warning" if "level" in query else ""
    assert last.endswith(f": running; goes on: ?follow=true&after=4{level}")


async def test_last_and_current_name_a_run(api: ApiUnderTest, journald: Journald) -> None:
    assert (await api.get("/puppet/runs/last/log")).status == 404
    api.record(pid=PID)
    assert (await api.get("/puppet/runs/current/log")).headers["puppet-run"] == RUN
    assert (await api.get("/puppet/runs/last/log")).status == 404
    api.finish("changed")
    assert (await api.get("/puppet/runs/last/log")).headers["puppet-run"] == RUN
    assert (await api.get("/puppet/runs/current/log")).status == 404


async def test_head_has_no_body(api: ApiUnderTest, journald: Journald) -> None:
    api.record(pid=PID)
    reply = await api.ask("HEAD", f"{LOG}?follow=true")
    assert (reply.status, reply.body) == (200, b"")


REFUSED = {
    "unknown run": (f"/puppet/runs/{OTHER}/log", 404, "No such run"),
    "no run": ("/puppet/runs/x/log", 404, "No such run"),
    "beyond": (f"{LOG}?after=5", 400, "at most 4"),
    "after": (f"{LOG}?after=-1", 400, "Parameter after must be a whole number"),
    "after and tail": (f"{LOG}?after=1&tail=1", 400, "exclude each other"),
    "level": (f"{LOG}?level=error", 400, "one of emerg, alert, crit, err, warning, notice, info, debug"),
}


@pytest.mark.parametrize("follow", ["", "follow=true"])
@pytest.mark.parametrize(("target", "status", "text"), REFUSED.values(), ids=REFUSED)
async def test_log_that_does_not_exist_is_refused(
    api: ApiUnderTest, journald: Journald, target: str, status: int, text: str, follow: str
) -> None:
    api.record(pid=PID)
    reply = await api.get(f"{target}{'&' if '?' in target else '?'}{follow}" if follow else target)
    assert reply.status == status
    assert text in reply.text


async def test_caller_of_a_run_is_shown_to_named_callers_and_to_itself(
    api: ApiUnderTest, journald: Journald
) -> None:
    # As in the answer about the run (views.py): its caller, client, label and options.
    api.allow("anonymous = logs", "token:ci = logs", "plaintext_tokens = yes")
    whole = f"# {LINES[0]['MESSAGE']}"
    api.finish("changed", pid=PID)
    assert texts((await api.get(LOG)).body)[0] == "# another caller asked for this run"
    first = (await api.get(LOG, "Accept: application/jsonl")).body.splitlines()[0]
    assert (b"192.0.2.7" in first, json.loads(first)["at"]) == (False, 1)
    assert texts((await api.get(LOG, api.token("ci"))).body)[0] == whole
    for client in (ADDRESS, "192.0.2.200"):
        api.finish("changed", pid=PID, caller="anonymous", client=client)
        assert (texts((await api.get(LOG)).body)[0] == whole) == (client == ADDRESS)


def test_client_on_this_machine_has_two_addresses() -> None:
    # curl takes ::1 or 127.0.0.1 for localhost.
    assert log_follower.same_client("127.0.0.1", "::1")
    assert not log_follower.same_client("127.0.0.1", "192.0.2.7")
    assert not log_follower.same_client("192.0.2.7", "192.0.2.8")
    assert not log_follower.same_client("", "::1")


async def test_run_of_puppets_own_has_no_log_here(api: ApiUnderTest, journald: Journald) -> None:
    api.finish("changed", started_by="puppet", caller="", client="")
    reply = await api.get(LOG)
    assert (reply.status, reply.text) == (404, f"{wording.NO_LOG_OF_PUPPET}\n")
    assert journald.readers == 0


async def test_log_needs_the_grant_logs(api: ApiUnderTest, journald: Journald) -> None:
    api.allow("anonymous = trigger status")
    api.record(pid=PID)
    assert (await api.get(LOG)).status == 401
    reply = await api.ask("POST", "/puppet/twitch?follow=true")
    assert (reply.status, api.root.asked) == (401, [])


async def test_lines_that_the_journal_has_lost(api: ApiUnderTest, journald: Journald) -> None:
    api.finish("changed", pid=PID)
    del journald.entries[:2]
    assert (await api.get(f"{LOG}?after=1")).status == 410
    reply = await api.get(LOG, "Accept: application/jsonl")
    assert [json.loads(line).get("at", 0) for line in reply.body.splitlines()] == [None, None, 0]
    journald.entries.clear()
    reply = await api.get(LOG)
    assert reply.status == 404
    assert "has no line of it any more" in reply.text
    journald.exists = False
    assert "Storage=" in (await api.get(LOG)).text


async def test_missing_log_reader_is_named(api: ApiUnderTest, journald: Journald, tmp_path: Path) -> None:
    api.finish("changed")
    journald.places = 0
    assert (await api.get(LOG)).status == 503
    os.unlink(tmp_path / "log.sock")
    reply = await api.get(LOG)
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    assert "systemctl restart puppet-twitch-log.socket" in reply.text


# ---- with follow


async def test_follower_gets_lines_and_the_verdict(api: ApiUnderTest, journald: Journald) -> None:
    api.record(pid=PID)
    async with visit(api.service) as client:
        stream = Stream(client)
        assert b"Transfer-Encoding: chunked" in await stream.begin(f"{LOG}?follow=true")
        await stream.until("three")
        journald.append(entry("four"))
        await stream.until("four")
        api.finish("changed")
        journald.append(entry("five"), ended())
        rest = await stream.until("0\r\n\r\n")
        assert rest.index(b"five") < rest.index(b"# changed")
    assert journald.readers == 1


async def test_follower_of_a_killed_conclude_hears_the_verdict(api: ApiUnderTest, journald: Journald) -> None:
    api.record(pid=PID)
    async with visit(api.service) as client:
        stream = Stream(client)
        await stream.begin(f"{LOG}?follow=true")
        api.finish("interrupted", reason="killed")
        await stream.until("# interrupted: killed\n\r\n0\r\n\r\n")


async def test_follower_of_a_run_of_this_listener_hears_its_end_without_a_look(
    api: ApiUnderTest, journald: Journald, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_source, "LOOK_S", 3600)
    api.record(pid=PID)
    async with visit(api.service) as client:
        stream = Stream(client)
        await stream.begin("/puppet/twitch?follow=true", method="POST")
        api.finish("changed")
        journald.append(ended())
        await stream.until("# changed\n\r\n0\r\n\r\n")
    assert len(api.root.asked) == 1


async def test_silence_is_filled_with_what_is_known(
    api: ApiUnderTest, journald: Journald, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_follower, "FIRST_SILENCE_S", 0.05)
    monkeypatch.setattr(log_follower, "SILENCE_S", 0.05)
    api.allow("token:ci = status logs", "plaintext_tokens = yes")
    far: dict[str, Any] = {"phase": "applying", "resources": 574, "usual_s": 35}
    far["doing"] = Doing("apt-get", 45)
    api.root_answers("status", status=node_status("running", run=RUN, **far))
    api.record(pid=PID)
    token = api.token("ci")
    async with visit(api.service) as client:
        stream = Stream(client)
        await stream.begin(f"{LOG}?follow=true", "Accept: application/jsonl", token)
        for _ in range(3):
            await stream.until('{"event": "state", "state": "running", "elapsed_s": ')
            rest = json.loads(b"{" + (await stream.until("}}")).partition(b", ")[2])
            assert rest == {**far, "doing": {"name": "apt-get", "age_s": 45}}
    async with visit(api.service) as client:
        stream = Stream(client)
        await stream.begin(f"{LOG}?follow=true", token)
        await stream.until(": applying 574 resources; apt-get for 45s; usually 35s\n")
    assert len(api.root.asked) == 1  # not for each line


async def test_queued_run_is_answered_at_once(api: ApiUnderTest, journald: Journald) -> None:
    journald.entries.clear()
    api.record(state="queued", started=None, pid=PID)
    async with visit(api.service) as client:
        stream = Stream(client)
        await stream.begin(f"{LOG}?follow=true")
        await stream.until("queued, because another run is under way")
        api.record(pid=PID)
        journald.append(*LINES)
        await stream.until("three")


async def test_follower_that_has_to_leave_is_told_where_the_log_goes_on(
    api: ApiUnderTest, journald: Journald
) -> None:
    api.record(pid=PID)
    async with visit(api.service) as client:
        stream = Stream(client)
        await stream.begin(f"{LOG}?follow=true&level=notice")
        await stream.until("three")
        client.connection.stop()
        rest = await stream.rest()
        assert b"# goes on: ?follow=true&after=4&level=notice\n" in rest
        assert b"\r\n0\r\n" not in rest
        await client.gone


async def test_follower_without_chunks_gets_the_same_lines(api: ApiUnderTest, journald: Journald) -> None:
    api.record(pid=PID)
    async with visit(api.service) as client:
        stream = Stream(client)
        head = await stream.begin(f"{LOG}?follow=true", version="1.0")
        assert b"chunked" not in head
        await stream.until("three")
        api.finish("changed")
        journald.append(ended())
        assert (await stream.rest()).endswith(b"# changed\n")


async def test_tail_is_followed(api: ApiUnderTest, journald: Journald) -> None:
    api.record(pid=PID)
    async with visit(api.service) as client:
        stream = Stream(client)
        await stream.begin(f"{LOG}?follow=true&tail=1")
        before = await stream.until("three")
        assert b"two" not in before
        journald.append(entry("four"))
        await stream.until("four")


async def test_reader_that_dies_cuts_its_followers(api: ApiUnderTest, journald: Journald) -> None:
    api.record(pid=PID)
    async with visit(api.service) as client:
        stream = Stream(client)
        await stream.begin(f"{LOG}?follow=true")
        await stream.until("three")
        journald.entries.append({"_PID": str(PID)})  # the reader fails at it
        source = next(iter(api.service._sources()._all))
        assert source._socket is not None
        source._socket.shutdown(socket.SHUT_RDWR)
        assert b"# goes on: ?follow=true&after=4" in await stream.rest()


# ---- a trigger that follows


async def test_trigger_is_answered_202_with_the_log(api: ApiUnderTest, journald: Journald) -> None:
    api.record(pid=PID)
    async with visit(api.service) as client:
        stream = Stream(client)
        head = await stream.begin("/puppet/twitch?follow=true", method="POST")
        assert head.startswith(b"HTTP/1.1 202 ")
        assert f"Puppet-Run: {RUN}".encode() in head
        assert f"Location: /puppet/runs/{RUN}\r".encode() in head + b"\r"
        await stream.until("three")
        api.finish("changed")
        journald.append(ended())
        await stream.until("# changed\n\r\n0\r\n\r\n")


async def test_trigger_without_a_journal_ends_with_the_verdict(api: ApiUnderTest, journald: Journald) -> None:
    journald.exists = False
    journald.entries.clear()
    api.record()
    async with visit(api.service) as client:
        stream = Stream(client)
        await stream.begin("/puppet/twitch?follow=true", method="POST")
        await stream.until("# no log: No log of this run: the journal of the node has no files")
        api.finish("changed")
        await stream.until("# changed\n\r\n0\r\n\r\n")


async def test_trigger_that_finds_all_readers_taken_is_answered_202(
    api: ApiUnderTest, journald: Journald, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sharing, "MAX_SOURCES", 1)
    other = api.record(OTHER, pid=PID + 5)
    taken = api.service._sources().join(other, Read(OTHER, follow=True), ADDRESS)
    await taken.opened()
    api.record(pid=PID)
    api.root_answers("started", run=RUN)
    async with visit(api.service) as client:
        stream = Stream(client)
        head = await stream.begin("/puppet/twitch?follow=true", method="POST")
        assert head.startswith(b"HTTP/1.1 202 ")
        await stream.until(f"# no log: {log_source.TOO_MANY}")
        api.finish("changed")
        await stream.until("# changed")
    taken.leave()


@pytest.mark.parametrize("more", ["async=false", "wait=5"])
async def test_trigger_cannot_follow_and_wait(api: ApiUnderTest, journald: Journald, more: str) -> None:
    reply = await api.ask("POST", f"/puppet/twitch?follow=true&{more}")
    assert (reply.status, api.root.asked) == (400, [])


async def test_refused_trigger_is_answered_as_always(api: ApiUnderTest, journald: Journald) -> None:
    api.root_answers("disabled", reason="x")
    assert (await api.ask("POST", "/puppet/twitch?follow=true")).status == 423


async def test_reset_before_the_answer_leaves_nothing(api: ApiUnderTest, journald: Journald) -> None:
    api.record(pid=PID)
    async with visit(api.service) as client:
        await client.send(request("GET", f"{LOG}?follow=true"))
        client.reset()
        await client.gone
        while api.service._sources()._all:
            await asyncio.sleep(0)
