"""Triggering a run: the reply for each answer of root, and for each verdict after the run."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from tests.unit.api_under_test import OTHER, RUN, ApiUnderTest, node_status
from tests.unit.wire import ADDRESS
from twitch import messages, wording
from twitch.listener import root_client
from twitch.listener.api import trigger
from twitch.messages import Run

# ---- the published texts, exact to the byte


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_triggered(api: ApiUnderTest, method: str) -> None:
    reply = await api.ask(method, "/puppet/twitch")
    assert (reply.status, reply.body) == (202, b"Triggered puppet run")
    assert reply.headers["location"] == f"/puppet/runs/{RUN}"
    assert reply.headers["puppet-run"] == RUN
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "puppet-verdict" not in reply.headers
    assert api.root.asked == [Run("anonymous", ADDRESS)]


async def test_triggered_in_json(api: ApiUnderTest) -> None:
    assert await api.json("/puppet/twitch") == {
        "http": 202,
        "message": "Triggered puppet run",
        "run": RUN,
        "state": "running",
    }


@pytest.mark.parametrize("kind", ["busy", "full"])
@pytest.mark.parametrize("run", [RUN, None], ids=["our-run", "foreign-run"])
async def test_already_running(api: ApiUnderTest, kind: str, run: Optional[str]) -> None:
    api.root_answers(kind, run=run)
    reply = await api.get("/puppet/twitch?queue=true" if kind == "full" else "/puppet/twitch")
    assert (reply.status, reply.body) == (409, b"Puppet already running")
    assert reply.headers["retry-after"] == "30"
    assert reply.headers.get("puppet-run") == run


async def test_already_running_in_json(api: ApiUnderTest) -> None:
    api.root_answers("busy", run=RUN)
    assert await api.json("/puppet/twitch") == {
        "http": 409,
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "Puppet already running",
        "run": RUN,
    }


BEGAN = 1769072701.0
PROCESS = node_status("running", run=RUN, since=BEGAN, pid=4711)
FOREIGN = node_status("running", since=BEGAN, pid=4711)
BY, SINCE = "of token:deploy at 192.0.2.99", "since 2026-01-22T09:05"
WHO: dict[str, tuple[dict[str, Any], str]] = {
    "ours": ({"kind": "busy", "run": RUN, "status": PROCESS}, f": run {RUN} {BY}, {SINCE}:01Z, pid 4711"),
    "ours-remembered": ({"kind": "busy", "run": RUN}, f": run {RUN} {BY}, {SINCE}:01Z"),
    "foreign": ({"kind": "busy", "status": FOREIGN}, f": started elsewhere, {SINCE}:01Z, pid 4711"),
    "nobody-yet": ({"kind": "busy"}, ""),
    "without-a-record": ({"kind": "busy", "run": OTHER}, f": run {OTHER}"),
    "queue": ({"kind": "full", "run": "3" * 32}, f", and a different request waits: run {'3' * 32} {BY}, "
              f"{SINCE}:00Z"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "text"), WHO.values(), ids=WHO)
async def test_named_callers_are_told_who_has_the_lock(
    api: ApiUnderTest, no_memory: None, answer: dict[str, Any], text: str
) -> None:
    api.allow("token:ci = trigger", "plaintext_tokens = yes")
    api.record()
    api.record("3" * 32, state="queued", started=None)
    api.root_answers(**answer)
    reply = await api.get("/puppet/twitch", api.token("ci"))
    # Byte for byte as for everybody if there is nothing to tell.
    assert reply.body.decode() == f"Puppet already running{f'{text}' if text else ''}" + (
        "\n" if text else ""
    )
    anonymous = await api.get("/puppet/twitch")
    assert (reply.status, anonymous.status, anonymous.body) == (409, 409, b"Puppet already running")


async def test_who_has_the_lock_in_json(api: ApiUnderTest) -> None:
    api.allow("token:ci = trigger", "plaintext_tokens = yes")
    api.record()
    api.root_answers("busy", run=RUN, status=PROCESS)
    problem = await api.json("/puppet/twitch", api.token("ci"))
    assert {name: problem[name] for name in ("run", "caller", "client", "since", "pid")} == {
        "run": RUN,
        "caller": "token:deploy",
        "client": "192.0.2.99",
        "since": "2026-01-22T09:05:01Z",
        "pid": 4711,
    }


async def test_complete(api: ApiUnderTest) -> None:
    api.finish("changed")
    reply = await api.get("/puppet/twitch?async=false")
    assert (reply.status, reply.body) == (200, b"Puppet run complete")
    assert (reply.headers["puppet-run"], reply.headers["puppet-verdict"]) == (RUN, "changed")


# ---- the other answers of root


def test_every_answer_of_root_has_a_reply() -> None:
    # `Call.ask` answers MISCONFIGURED on every path.
    kinds = [*wording.ACCEPTED, *trigger.REFUSED]
    kinds += [messages.STATUS, messages.METRICS, messages.MISCONFIGURED]
    kinds += [messages.ENABLED, messages.HELD]  # to an Enable and a Disable
    assert sorted(kinds) == sorted({*messages.ANSWERS} - {*messages.CANCEL_ANSWERS})


async def test_queued(api: ApiUnderTest) -> None:
    api.root_answers("queued", run=OTHER)
    api.record(OTHER, state="queued")
    reply = await api.get("/puppet/twitch?queue=true")
    assert (reply.status, reply.body) == (202, b"Queued puppet run\n")
    assert reply.headers["location"] == f"/puppet/runs/{OTHER}"
    assert api.root.asked == [Run("anonymous", ADDRESS, queue=True)]
    assert (await api.json("/puppet/twitch?queue"))["state"] == "queued"


@pytest.fixture
def named(api: ApiUnderTest) -> str:
    """Return the header of a named caller; anonymous callers may trigger runs as well."""
    api.allow("token:ci = trigger", "plaintext_tokens = yes")
    return api.token("ci")


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        pytest.param("maintenance until 5", "maintenance until 5", id="reason"),
        pytest.param("", "no reason given", id="no-reason"),
        pytest.param("é \x1b[2J\r\nx\ty", "é \\x1b[2J\\r\nx\ty", id="control-characters"),
    ],
)
async def test_disabled(api: ApiUnderTest, named: str, reason: str, text: str) -> None:
    api.root_answers("disabled", reason=reason)
    reply = await api.get("/puppet/twitch", named)
    assert (reply.status, reply.text) == (423, f"Puppet disabled: {text}\n")
    problem = await api.json("/puppet/twitch", named)
    assert (problem["title"], problem["detail"]) == ("Locked", f"Puppet disabled: {reason or text}")
    reply = await api.get("/puppet/twitch")
    assert (reply.status, reply.text) == (423, "Puppet disabled\n")
    assert (await api.json("/puppet/twitch"))["detail"] == "Puppet disabled"


async def test_cooldown(api: ApiUnderTest) -> None:
    api.root_answers("cooldown", retry_after_s=7)
    reply = await api.get("/puppet/twitch")
    assert (reply.status, reply.text) == (429, "Too soon after the last run\n")
    assert reply.headers["retry-after"] == "7"


@pytest.mark.parametrize("kind", ["cannot", "invalid"])
async def test_cannot(api: ApiUnderTest, named: str, kind: str) -> None:
    api.root_answers(kind, reason="no puppet at /usr/bin/puppet")
    reply = await api.get("/puppet/twitch")
    assert reply.status == 500
    assert reply.text == "Puppet cannot be started; the journal of the node says why\n"
    reply = await api.get("/puppet/twitch", named)
    assert (reply.status, reply.text) == (500, "Puppet cannot be started: no puppet at /usr/bin/puppet\n")


async def test_reasons_for_an_anonymous_caller_with_logs(api: ApiUnderTest) -> None:
    api.allow("anonymous = trigger logs")
    api.root_answers("disabled", reason="maintenance")
    assert (await api.get("/puppet/twitch")).text == "Puppet disabled: maintenance\n"


# ---- parameters


async def test_every_option_reaches_root(api: ApiUnderTest) -> None:
    api.allow("anonymous = noop tags environment=*")
    await api.get("/puppet/twitch?noop&tags=a::b,c&environment=staging&queue=true")
    options: dict[str, Any] = {"noop": True, "tags": ("a::b", "c"), "environment": "staging", "queue": True}
    assert api.root.asked == [Run("anonymous", ADDRESS, **options)]


async def test_options_in_a_body(api: ApiUnderTest) -> None:
    api.allow("anonymous = noop tags")
    form = "Content-Type: application/x-www-form-urlencoded"
    await api.ask("POST", "/puppet/twitch?noop", form, body=b"tags=a%2Cb")
    await api.ask(
        "POST", "/puppet/twitch", "Content-Type: application/json", body=b'{"noop":true,"queue":true}'
    )
    expected = Run("anonymous", ADDRESS, noop=True)
    assert api.root.asked == [expected._replace(tags=("a", "b")), expected._replace(queue=True)]


@pytest.mark.parametrize(
    "query",
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
async def test_invalid_parameter_is_refused_before_root_is_asked(api: ApiUnderTest, query: str) -> None:
    reply = await api.get(f"/puppet/twitch?{query}")
    assert (reply.status, api.root.asked) == (400, [])
    assert query.partition("=")[0].partition("&")[0] in reply.text


# ---- browsers


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
async def test_trigger_from_a_browser_is_refused(api: ApiUnderTest, method: str, header: str) -> None:
    reply = await api.ask(method, "/puppet/twitch", header)
    assert (reply.status, reply.text) == (403, "Not from a browser; use curl\n")
    assert api.root.asked == []


@pytest.mark.parametrize("agent", ["curl/8.0", "python-requests/2", "GitLab/16 (Mozilla compatible)", ""])
async def test_trigger_from_a_tool_is_not_taken_for_a_browser(api: ApiUnderTest, agent: str) -> None:
    assert (await api.get("/puppet/twitch", f"User-Agent: {agent}", "Accept: */*")).status == 202


@pytest.mark.parametrize("target", ["/puppet/status", "/puppet/runs", "/version", "/info"])
async def test_reading_paths_are_open_to_browsers(api: ApiUnderTest, target: str) -> None:
    api.root_answers("status", status=node_status())
    assert (await api.get(target, *BROWSERS.values())).status == 200


# ---- a run that has ended while the caller waited


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember no answer of root, so that each request is started as a run."""
    monkeypatch.setattr(root_client, "REMEMBER_S", 0)


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
async def test_reply_for_each_verdict(
    api: ApiUnderTest, no_memory: None, named: str, record: dict[str, Any], text: str, verdict: str
) -> None:
    api.finish(**record)
    for header in (named, "Accept: */*"):
        reply = await api.get("/puppet/twitch?async=false", header)
        if text == COMPLETE:
            assert (reply.status, reply.text) == (200, COMPLETE)
        else:
            # Only a caller that may see reasons sees why a run was not attempted.
            outcome = "not attempted" if header != named and verdict == "not attempted" else text
            log = f"journalctl _SYSTEMD_INVOCATION_ID={RUN}"
            assert (reply.status, reply.text) == (500, f"Puppet run failed: {outcome}; {log}\n")
        assert (reply.headers["puppet-run"], reply.headers["puppet-verdict"]) == (RUN, verdict)


async def test_already_running_if_another_run_was_faster(
    api: ApiUnderTest, no_memory: None, caplog: pytest.LogCaptureFixture
) -> None:
    api.finish("busy", reason="another Puppet run was faster")
    reply = await api.get("/puppet/twitch?async=false")
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (409, b"Puppet already running", "30")
    assert (reply.headers["puppet-run"], reply.headers["puppet-verdict"]) == (RUN, "busy")
    assert caplog.messages == [f"refused {ADDRESS}: 1 x 409 Puppet busy or queue full"]
    problem = await api.json("/puppet/twitch?async=false")
    assert (problem["http"], problem["run"], problem["verdict"]) == (409, RUN, "busy")


async def test_failed_run_in_json(api: ApiUnderTest, no_memory: None) -> None:
    api.finish("failed", reason="Exec[a]")
    problem = await api.json("/puppet/twitch?async=false")
    assert (problem["http"], problem["title"]) == (500, "Internal Server Error")
    assert (problem["verdict"], problem["run"]) == ("failed", RUN)
    assert (problem["duration_s"], problem["ended"]) == (2.5, "2026-01-22T09:05:03Z")


async def test_error_of_puppet_needs_the_grant_logs(api: ApiUnderTest, no_memory: None) -> None:
    api.finish("failed", reason="Exec[a]", error="it is broken\x1b[2J")
    api.allow("anonymous = trigger status", "token:ci = logs", "plaintext_tokens = yes")
    header = api.token("ci")
    reply = await api.get("/puppet/twitch?async=false", header)
    assert reply.text == "Puppet run failed: Exec[a]: it is broken\\x1b[2J\n"
    assert "broken" not in (await api.get("/puppet/twitch?async=false")).text
    assert (await api.json("/puppet/twitch?async=false", header))["error"] == "it is broken\x1b[2J"
    assert "error" not in await api.json("/puppet/twitch?async=false")
