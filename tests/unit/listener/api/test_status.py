"""Looking: the status, the last runs, one run; the state for everybody, the details for named callers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.desk import OTHER, RUN, Desk, last, look
from twitch.listener.api import wording

SECRETS = ("token:deploy", "192.0.2.99", "maintenance", "Exec[a]", "staging", "secret words", "4711")


@pytest.fixture
def named(desk: Desk) -> str:
    """What a caller with a token shows; anonymous sees the same endpoints."""
    desk.allow("token:ci = status", "plaintext_tokens = yes")
    return desk.token("ci")


# ---- the status


SINCE, ISO = 1769072700.0, "2026-01-22T09:05:00Z"
STATES: dict[str, tuple[dict[str, Any], str]] = {
    "idle": (look(), "idle"),
    "running": (
        look("running", run=RUN, pid=1, since=SINCE),
        f"running: run {RUN}, since {ISO}",
    ),
    "running-elsewhere": (
        look("running", pid=4711, since=SINCE),
        "running: started elsewhere, pid 4711, since 2026-01-22T09:05:00Z",
    ),
    "queued": (look("queued", run=RUN, pid=1, queued=OTHER), f"queued: run {RUN}, run {OTHER} waits"),
    "disabled": (look("disabled", reason="maintenance"), "disabled: maintenance"),
    "disabled-without-a-reason": (look("disabled", reason=""), "disabled: no reason given"),
    "stuck": (
        look("stuck", pid=4711, since=SINCE, age_s=9000),
        "stuck: started elsewhere, pid 4711, since 2026-01-22T09:05:00Z, 9000 s old",
    ),
}


@pytest.mark.parametrize(("told", "text"), STATES.values(), ids=STATES)
async def test_the_state(desk: Desk, named: str, told: dict[str, Any], text: str) -> None:
    desk.says("status", status=told)
    assert (await desk.get("/puppet/status", named)).text == f"{text}\n"
    assert (await desk.get("/puppet/status")).text == f"{told['state']}\n"
    assert await desk.json("/puppet/status") == {
        "http": 200,
        "message": told["state"],
        "state": told["state"],
    }


async def test_between_two_runs_nothing_runs_and_one_waits(desk: Desk, named: str) -> None:
    desk.says("status", status=look("queued", queued=OTHER))
    assert (await desk.get("/puppet/status", named)).text == f"queued: run {OTHER} waits\n"


async def test_the_last_run_for_named_callers(desk: Desk, named: str) -> None:
    done = last(ended=SINCE, noop=True, cached_catalog_status="on_failure", environment="staging")
    desk.says("status", status=look(last=done))
    assert (await desk.get("/puppet/status", named)).text.splitlines() == [
        "idle",
        "last run: changed; noop; cached catalog, ended 2026-01-22T09:05:00Z, took 2 s",
        "resources: 12 total, 3 changed; environment staging",
    ]
    told = await desk.json("/puppet/status", named)
    assert (told["state"], told["last"]["ended"]) == ("idle", "2026-01-22T09:05:00Z")
    assert told["last"]["counts"] == {"total": 12, "changed": 3, "failed": 0}


async def test_a_last_run_of_which_little_is_known(desk: Desk, named: str) -> None:
    desk.says("status", status=look(last=last(ended=SINCE, duration_s=None, counts={"total": 0})))
    assert (await desk.get("/puppet/status", named)).text.splitlines()[1:] == [
        "last run: changed, ended 2026-01-22T09:05:00Z",
        "resources: none; environment production",
    ]


async def test_a_reason_cannot_play_with_terminals(desk: Desk, named: str) -> None:
    desk.says("status", status=look("disabled", reason="a\x1b[2J\u202eb"))
    assert (await desk.get("/puppet/status", named)).text == "disabled: a\\x1b[2J\\u202eb\n"


async def test_a_puppet_that_cannot_be_asked(desk: Desk) -> None:
    desk.says("cannot", reason="no puppet at /usr/bin/puppet")
    reply = await desk.get("/puppet/status")
    assert (reply.status, reply.text) == (500, "Puppet cannot be asked: no puppet at /usr/bin/puppet\n")


# ---- for monitoring


HEALTH: dict[str, tuple[dict[str, Any], str]] = {
    "good": (look(last=last()), ""),
    "unchanged": (look(last=last("unchanged")), ""),
    "good-and-running": (look("running", last=last()), ""),
    "disabled": (look("disabled", last=last(), reason=""), "Puppet is disabled"),
    "stuck": (look("stuck", last=last(), pid=1, age_s=1), "Puppet is stuck"),
    "failed": (look(last=last("failed")), "The last Puppet run failed"),
    "stopped": (look(last=last("interrupted")), "The last Puppet run was interrupted"),
    "never": (look(), "Puppet has not run yet"),
    "without-a-time": (look(last=last(ended=None)), "Puppet has not run yet"),
    "too-old": (look(last=last(ago_s=7300)), "The last Puppet run ended "),
}


@pytest.mark.parametrize(("told", "complaint"), HEALTH.values(), ids=HEALTH)
async def test_max_age_turns_it_into_a_check(desk: Desk, told: dict[str, Any], complaint: str) -> None:
    desk.says("status", status=told)
    reply = await desk.get("/puppet/status?max_age=2h")
    assert (reply.status, reply.text.startswith(complaint)) == (503 if complaint else 200, True)
    in_json = await desk.json("/puppet/status?max_age=2h")
    assert (in_json["http"], in_json["state"]) == (reply.status, told["state"])
    assert (await desk.get("/puppet/status")).status == 200


async def test_a_malformed_age_wakes_nobody(desk: Desk) -> None:
    reply = await desk.get("/puppet/status?max_age=nonsense")
    assert (reply.status, desk.root.asked) == (400, [])


# ---- runs


async def test_no_runs_yet(desk: Desk) -> None:
    assert (await desk.get("/puppet/runs")).text == "No runs yet\n"
    assert await desk.json("/puppet/runs") == {"http": 200, "message": "No runs yet", "runs": []}


async def test_the_last_runs_newest_first(desk: Desk, named: str) -> None:
    desk.finish("failed", reason="Exec[a]", error="secret words")
    desk.record(OTHER, asked=1769072800.0, started=None, state="queued")
    assert (await desk.get("/puppet/runs")).text.splitlines() == [
        f"{OTHER}  2026-01-22T09:06:40Z  queued",
        f"{RUN}  2026-01-22T09:05:01Z  failed  2 s",
    ]
    assert (await desk.get("/puppet/runs", named)).text.splitlines() == [
        f"{OTHER}  2026-01-22T09:06:40Z  queued  by token:deploy at 192.0.2.99",
        f"{RUN}  2026-01-22T09:05:01Z  failed  2 s  by token:deploy at 192.0.2.99  (Exec[a])",
    ]
    told = await desk.json("/puppet/runs", named)
    assert [run["run"] for run in told["runs"]] == [OTHER, RUN]


async def test_one_run(desk: Desk, named: str) -> None:
    desk.finish("failed", reason="Exec[a]", error="secret words", environment="staging", noop=True)
    target = f"/puppet/runs/{RUN}"
    reply = await desk.get(target, named)
    assert (reply.headers["puppet-run"], reply.headers["puppet-verdict"]) == (RUN, "failed; noop")
    told = await desk.json(target, named)
    assert {key: told[key] for key in ("state", "verdict", "caller", "client", "reason", "environment")} == {
        "state": "finished",
        "verdict": "failed",
        "caller": "token:deploy",
        "client": "192.0.2.99",
        "reason": "Exec[a]",
        "environment": "staging",
    }
    assert "error" not in told  # that takes the grant logs
    assert await desk.json(target) == {
        "http": 200,
        "message": f"{RUN}  2026-01-22T09:05:01Z  failed; noop  2 s",
        "run": RUN,
        "state": "finished",
        "verdict": "failed",
        "noop": True,
        "duration_s": 2.5,
        "counts": {"changed": 3},
        "asked": "2026-01-22T09:05:00Z",
        "started": "2026-01-22T09:05:01Z",
        "ended": "2026-01-22T09:05:03Z",
    }


async def test_a_run_without_a_verdict_has_no_header_for_it(desk: Desk) -> None:
    desk.record()
    assert "puppet-verdict" not in (await desk.get(f"/puppet/runs/{RUN}")).headers


@pytest.mark.parametrize("target", ["/puppet/status", "/puppet/runs", f"/puppet/runs/{RUN}"])
@pytest.mark.parametrize("accept", ["*/*", "application/json"])
async def test_nothing_that_anonymous_may_not_know_is_in_any_answer(
    desk: Desk, target: str, accept: str
) -> None:
    told = look("disabled", reason="maintenance", pid=4711, last=last(environment="staging"))
    desk.says("status", status=told)
    desk.finish(
        "failed", reason="Exec[a]", error="secret words", environment="staging", failed_resources=["Exec[a]"]
    )
    reply = await desk.get(target, f"Accept: {accept}")
    assert not [secret for secret in SECRETS if secret in reply.text]


def test_times_are_said_in_utc() -> None:
    assert wording.iso(0) == wording.iso(None) == "1970-01-01T00:00:00Z"
