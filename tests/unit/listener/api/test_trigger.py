"""Triggering a run: each thing that root may say, and what the caller hears of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.desk import OTHER, RUN, Desk
from tests.unit.wire import ADDRESS
from twitch.messages import Run

# ---- the published answers, exact to the byte


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_triggered(desk: Desk, method: str) -> None:
    reply = await desk.ask(method, "/puppet/twitch")
    assert (reply.status, reply.body) == (202, b"Triggered puppet run")
    assert reply.headers["location"] == f"/puppet/runs/{RUN}"
    assert reply.headers["puppet-run"] == RUN
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "puppet-verdict" not in reply.headers
    assert desk.root.asked == [Run("anonymous", ADDRESS)]


async def test_triggered_in_json(desk: Desk) -> None:
    assert await desk.json("/puppet/twitch") == {
        "http": 202,
        "message": "Triggered puppet run",
        "run": RUN,
        "state": "running",
    }


@pytest.mark.parametrize("run", [RUN, None], ids=["a-run-of-ours", "somebody-elses"])
async def test_already_running(desk: Desk, run: str | None) -> None:
    desk.says("busy", run=run)
    reply = await desk.get("/puppet/twitch")
    assert (reply.status, reply.body) == (409, b"Puppet already running")
    assert reply.headers["retry-after"] == "30"
    assert reply.headers.get("puppet-run") == run


async def test_already_running_in_json(desk: Desk) -> None:
    desk.says("busy", run=RUN)
    assert await desk.json("/puppet/twitch") == {
        "http": 409,
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "Puppet already running",
        "run": RUN,
    }


async def test_complete(desk: Desk) -> None:
    desk.finish("changed")
    reply = await desk.get("/puppet/twitch?async=false")
    assert (reply.status, reply.body) == (200, b"Puppet run complete")
    assert (reply.headers["puppet-run"], reply.headers["puppet-verdict"]) == (RUN, "changed")


# ---- the others


async def test_queued(desk: Desk) -> None:
    desk.says("queued", run=OTHER)
    desk.record(OTHER, state="queued")
    reply = await desk.get("/puppet/twitch?queue=true")
    assert (reply.status, reply.body) == (202, b"Queued puppet run\n")
    assert reply.headers["location"] == f"/puppet/runs/{OTHER}"
    assert desk.root.asked == [Run("anonymous", ADDRESS, queue=True)]
    assert (await desk.json("/puppet/twitch?queue"))["state"] == "queued"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        pytest.param("maintenance until 5", "maintenance until 5", id="a-reason"),
        pytest.param("", "no reason given", id="none"),
        pytest.param("é \x1b[2J\r\nx\ty", "é \\x1b[2J\\r\nx\ty", id="one-that-plays-with-terminals"),
    ],
)
async def test_disabled(desk: Desk, reason: str, text: str) -> None:
    desk.says("disabled", reason=reason)
    reply = await desk.get("/puppet/twitch")
    assert (reply.status, reply.text) == (423, f"Puppet disabled: {text}\n")
    in_json = await desk.json("/puppet/twitch")
    assert (in_json["title"], in_json["detail"]) == ("Locked", f"Puppet disabled: {reason or text}")


async def test_too_soon(desk: Desk) -> None:
    desk.says("cooldown", retry_after_s=7)
    reply = await desk.get("/puppet/twitch")
    assert (reply.status, reply.text) == (429, "Too soon after the last run\n")
    assert reply.headers["retry-after"] == "7"


@pytest.mark.parametrize("kind", ["cannot", "invalid"])
async def test_cannot(desk: Desk, kind: str) -> None:
    desk.says(kind, reason="no puppet at /usr/bin/puppet")
    reply = await desk.get("/puppet/twitch")
    assert (reply.status, reply.text) == (500, "Puppet cannot be started: no puppet at /usr/bin/puppet\n")


# ---- what is asked for


async def test_every_option_reaches_root(desk: Desk) -> None:
    desk.allow("anonymous = noop tags environment=*")
    await desk.get("/puppet/twitch?noop&tags=a::b,c&environment=staging&queue=true")
    options: dict[str, Any] = {"noop": True, "tags": ("a::b", "c"), "environment": "staging", "queue": True}
    assert desk.root.asked == [Run("anonymous", ADDRESS, **options)]


async def test_options_in_a_body(desk: Desk) -> None:
    desk.allow("anonymous = noop tags")
    form = "Content-Type: application/x-www-form-urlencoded"
    await desk.ask("POST", "/puppet/twitch?noop", form, body=b"tags=a%2Cb")
    await desk.ask(
        "POST", "/puppet/twitch", "Content-Type: application/json", body=b'{"noop":true,"queue":true}'
    )
    expected = Run("anonymous", ADDRESS, noop=True)
    assert desk.root.asked == [expected._replace(tags=("a", "b")), expected._replace(queue=True)]


@pytest.mark.parametrize(
    "options",
    [
        "tags=-x",
        "noop=maybe",
        "environment=a-b",
        "wait=soon",
        "async=never",
        "queue=1",
        "noop&noop",
        "server=x",
    ],
)
async def test_a_malformed_option_is_refused_before_anything_starts(desk: Desk, options: str) -> None:
    reply = await desk.get(f"/puppet/twitch?{options}")
    assert (reply.status, desk.root.asked) == (400, [])
    assert options.partition("=")[0].partition("&")[0] in reply.text


# ---- from a browser


BROWSERS = {
    "origin": "Origin: http://evil.example.com",
    "origin-null": "Origin: null",
    "referer": "Referer: http://evil.example.com/",
    "language": "Accept-Language: en",
    "prefetch": "Sec-Purpose: prefetch",
    "fetch-site": "Sec-Fetch-Site: cross-site",
    "fetch-mode": "Sec-Fetch-Mode: no-cors",
    "user-agent": "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
    "in-capitals": "ORIGIN: http://evil.example.com",
}


@pytest.mark.parametrize("header", BROWSERS.values(), ids=BROWSERS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_trigger_from_a_web_page_is_refused(desk: Desk, method: str, header: str) -> None:
    reply = await desk.ask(method, "/puppet/twitch", header)
    assert (reply.status, reply.text) == (403, "Not from a browser; use curl\n")
    assert desk.root.asked == []


@pytest.mark.parametrize("agent", ["curl/8.0", "python-requests/2", "GitLab/16 (Mozilla compatible)", ""])
async def test_a_trigger_from_a_tool_is_not(desk: Desk, agent: str) -> None:
    assert (await desk.get("/puppet/twitch", f"User-Agent: {agent}", "Accept: */*")).status == 202


@pytest.mark.parametrize("target", ["/puppet/status", "/puppet/runs", "/version", "/info"])
async def test_looking_is_for_browsers_too(desk: Desk, target: str) -> None:
    desk.says("status", status={"state": "idle", "last": None})
    assert (await desk.get(target, *BROWSERS.values())).status == 200
