"""The status of the node: the state for everyone, the details for named callers, and `max_age`."""

from __future__ import annotations

import pytest

from tests.unit.api_under_test import OTHER, RUN, ApiUnderTest, last_run, node_status
from twitch.node_status import NodeStatus


@pytest.fixture
def named(api: ApiUnderTest) -> str:
    """Return the header of a named caller; anonymous callers may use the same paths."""
    api.allow("token:ci = status", "plaintext_tokens = yes")
    return api.token("ci")


@pytest.fixture
def after_noop(api: ApiUnderTest) -> NodeStatus:
    failed = last_run("failed", ago_s=600, reason="Exec[a]", counts={}, environment=None)
    return node_status(last=last_run("unchanged", noop=True), last_whole=failed)


async def test_noop_run_does_not_hide_a_failed_one(
    api: ApiUnderTest, named: str, after_noop: NodeStatus
) -> None:
    api.root_answers("status", status=after_noop)
    reply = await api.get("/puppet/status?max_age=2h", named)
    assert (reply.status, reply.text) == (503, "The last run without noop and tags failed: Exec[a]\n")
    anonymous = await api.get("/puppet/status?max_age=2h")
    assert (anonymous.status, anonymous.text) == (503, "The last run without noop and tags failed\n")
    lines = (await api.get("/puppet/status", named)).text.splitlines()
    assert lines[-2].startswith("last run without noop and tags: failed, ended ")
    assert lines[-1] == "  reason: Exec[a]"
    assert (await api.get("/puppet/status")).text == "idle\n"


# ---- the state


SINCE, ISO = 1769072700.0, "2026-01-22T09:05:00Z"
STATES: dict[str, tuple[NodeStatus, str]] = {
    "idle": (node_status(), "idle"),
    "running": (
        node_status("running", run=RUN, pid=1, since=SINCE),
        f"running: run {RUN}, pid 1, since {ISO}",
    ),
    "running-elsewhere": (
        node_status("running", pid=4711, since=SINCE),
        "running: started elsewhere, pid 4711, since 2026-01-22T09:05:00Z",
    ),
    "queued": (
        node_status("queued", run=RUN, pid=1, queued=OTHER),
        f"queued: run {OTHER} waits, Puppet is running: run {RUN}, pid 1",
    ),
    "disabled": (node_status("disabled", reason="maintenance"), "disabled: maintenance"),
    # A caller that has disabled Puppet for some work has to know when the last run has ended.
    "disabled-and-running": (
        node_status("disabled", reason="maintenance", run=RUN, pid=1),
        f"disabled: maintenance, Puppet is running: run {RUN}, pid 1",
    ),
    "disabled-without-a-reason": (node_status("disabled", reason=""), "disabled: no reason given"),
    "stuck": (
        node_status("stuck", pid=4711, since=SINCE, age_s=9000),
        f"stuck: started elsewhere, pid 4711, since {ISO}, 2h 30m old "
        "(to end it: kill 4711; kill -CONT 4711)",
    ),
    # The run in the queue is not the one that is old.
    "stuck-and-queued": (
        node_status("stuck", run=RUN, pid=1, unit="a@1.service", since=SINCE, age_s=4000, queued=OTHER),
        f"stuck: run {RUN}, pid 1, since {ISO}, 1h 6m old (to end it: systemctl stop a@1.service), "
        f"run {OTHER} waits",
    ),
}


@pytest.mark.parametrize(("status", "text"), STATES.values(), ids=STATES)
async def test_state(api: ApiUnderTest, named: str, status: NodeStatus, text: str) -> None:
    api.root_answers("status", status=status)
    assert (await api.get("/puppet/status", named)).text == f"{text}\n"
    assert (await api.get("/puppet/status")).text == f"{status.state}\n"
    assert await api.json("/puppet/status") == {"http": 200, "message": status.state, "state": status.state}


async def test_reason_of_a_disabled_agent_for_callers_with_logs(api: ApiUnderTest) -> None:
    api.allow("anonymous = status logs")
    api.root_answers("status", status=node_status("disabled", reason="maintenance", queued=OTHER))
    assert (await api.get("/puppet/status")).text == "disabled: maintenance\n"
    assert await api.json("/puppet/status") == {
        "http": 200,
        "message": "disabled: maintenance",
        "state": "disabled",
        "reason": "maintenance",
    }


async def test_queued_run_between_two_runs(api: ApiUnderTest, named: str) -> None:
    api.root_answers("status", status=node_status("queued", queued=OTHER))
    assert (await api.get("/puppet/status", named)).text == f"queued: run {OTHER} waits\n"


async def test_last_run_for_named_callers(api: ApiUnderTest, named: str) -> None:
    last = last_run(ended=SINCE, noop=True, cached_catalog_status="on_failure", environment="staging")
    api.root_answers("status", status=node_status(last=last))
    assert (await api.get("/puppet/status", named)).text.splitlines() == [
        "idle",
        "last run: changed; noop; cached catalog, ended 2026-01-22T09:05:00Z, took 2s",
        "  resources: 12 total, 3 changed; environment staging",
    ]
    status = await api.json("/puppet/status", named)
    assert status["state"] == "idle"
    assert status["last"] == {
        "verdict": "changed",
        "ended": "2026-01-22T09:05:00Z",
        "duration_s": 2.25,
        "counts": {"total": 12, "changed": 3, "failed": 0},
        "environment": "staging",
        "reason": None,
        "cached_catalog_status": "on_failure",
        "noop": True,
        "noop_pending": None,
        "would_change": None,
        "unreported": None,
    }


async def test_last_run_without_a_duration_and_resources(api: ApiUnderTest, named: str) -> None:
    api.root_answers(
        "status", status=node_status(last=last_run(ended=SINCE, duration_s=None, counts={"total": 0}))
    )
    assert (await api.get("/puppet/status", named)).text.splitlines()[1:] == [
        "last run: changed, ended 2026-01-22T09:05:00Z",
        "  resources: none; environment production",
    ]
    last = (await api.json("/puppet/status", named))["last"]
    assert (last["duration_s"], last["counts"]) == (None, {"total": 0})


async def test_last_run_that_was_not_attempted(api: ApiUnderTest, named: str) -> None:
    # Case 15: it has neither resources nor an environment.
    never = last_run(verdict="not attempted", ended=SINCE, duration_s=3.0, counts={}, environment=None)
    api.root_answers("status", status=node_status(last=never))
    assert (await api.get("/puppet/status", named)).text.splitlines() == [
        "idle",
        "last run: not attempted, ended 2026-01-22T09:05:00Z, took 3s",
    ]


async def test_last_run_that_failed(api: ApiUnderTest, named: str) -> None:
    failed = last_run("failed", ended=SINCE, duration_s=None, counts={}, environment=None, reason="Exec[a]")
    api.root_answers("status", status=node_status(last=failed))
    text = f"idle\nlast run: failed, ended {ISO}\n  reason: Exec[a]\n"
    assert (await api.get("/puppet/status", named)).text == text


async def test_last_run_without_resources(api: ApiUnderTest, named: str) -> None:
    unreported = last_run(ended=SINCE, duration_s=None, counts={})
    api.root_answers("status", status=node_status(last=unreported))
    lines = (await api.get("/puppet/status", named)).text.splitlines()
    assert lines[2:] == ["  environment production"]


async def test_reason_cannot_control_a_terminal(api: ApiUnderTest, named: str) -> None:
    api.root_answers("status", status=node_status("disabled", reason="a\x1b[2J\u202eb"))
    assert (await api.get("/puppet/status", named)).text == "disabled: a\\x1b[2J\\u202eb\n"


async def test_status_is_500_if_puppet_cannot_be_asked(api: ApiUnderTest, named: str) -> None:
    api.root_answers("cannot", reason="no puppet at /usr/bin/puppet")
    reply = await api.get("/puppet/status")
    assert reply.status == 500
    assert reply.text == "Puppet cannot be asked; the journal of the node says why\n"
    reply = await api.get("/puppet/status", named)
    assert (reply.status, reply.text) == (500, "Puppet cannot be asked: no puppet at /usr/bin/puppet\n")


# ---- for monitoring


HEALTH: dict[str, tuple[NodeStatus, str]] = {
    "good": (node_status(last=last_run()), ""),
    "unchanged": (node_status(last=last_run("unchanged")), ""),
    "good-and-running": (node_status("running", last=last_run()), ""),
    "disabled": (node_status("disabled", last=last_run(), reason=""), "Puppet is disabled"),
    "stuck": (node_status("stuck", last=last_run(), pid=1, age_s=1), "Puppet is stuck"),
    "failed": (node_status(last=last_run("failed")), "The last Puppet run failed"),
    "stopped": (node_status(last=last_run("interrupted")), "The last Puppet run was interrupted"),
    "never": (node_status(), "Puppet has not run yet"),
    "without-a-time": (node_status(last=last_run(ended=None)), "Puppet has not run yet"),
    "too-old": (node_status(last=last_run(ago_s=7300)), "The last Puppet run ended "),
}


@pytest.mark.parametrize(("status", "complaint"), HEALTH.values(), ids=HEALTH)
async def test_max_age_answers_503_if_the_node_needs_attention(
    api: ApiUnderTest, status: NodeStatus, complaint: str
) -> None:
    api.root_answers("status", status=status)
    reply = await api.get("/puppet/status?max_age=2h")
    assert (reply.status, reply.text.startswith(complaint)) == (503 if complaint else 200, True)
    in_json = await api.json("/puppet/status?max_age=2h")
    assert (in_json["http"], in_json["state"]) == (reply.status, status.state)
    assert (await api.get("/puppet/status")).status == 200


async def test_max_age_gives_the_reason_to_those_who_may_see_it(api: ApiUnderTest, named: str) -> None:
    failed = node_status(last=last_run("failed", reason="Exec[a]"))
    disabled = node_status("disabled", reason="maintenance")
    stuck = node_status("stuck", run=RUN, unit="a@1.service", since=SINCE, age_s=4000)
    for status, text, reason in (
        (failed, "The last Puppet run failed", "Exec[a]"),
        (disabled, "Puppet is disabled", "maintenance"),
        (
            stuck,
            "Puppet is stuck",
            f"run {RUN}, since {ISO}, 1h 6m old (to end it: systemctl stop a@1.service)",
        ),
    ):
        api.root_answers("status", status=status)
        assert (await api.get("/puppet/status?max_age=2h")).text == f"{text}\n"
        reply = await api.get("/puppet/status?max_age=2h", named)
        assert (reply.status, reply.text) == (503, f"{text}: {reason}\n")
        api.service._root.forget()


async def test_ages_for_monitoring_have_units(api: ApiUnderTest) -> None:
    api.root_answers("status", status=node_status(last=last_run(ago_s=7380)))
    reply = await api.get("/puppet/status?max_age=120m")
    assert reply.text == "The last Puppet run ended 2h 3m ago, more than 2h\n"


async def test_invalid_max_age_is_refused_before_root_is_asked(api: ApiUnderTest) -> None:
    reply = await api.get("/puppet/status?max_age=nonsense")
    assert (reply.status, api.root.asked) == (400, [])
