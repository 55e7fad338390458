"""The last runs and one run: verdicts for everyone, the details for named callers."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.api_under_test import OTHER, RUN, ApiUnderTest, request
from tests.unit.wire import ADDRESS


@pytest.fixture
def named(api: ApiUnderTest) -> str:
    """Return the header of a named caller; anonymous callers may use the same paths."""
    api.allow("token:ci = status", "plaintext_tokens = yes")
    return api.token("ci")


async def test_no_runs_yet(api: ApiUnderTest) -> None:
    assert (await api.get("/puppet/runs")).text == "No runs yet\n"
    assert await api.json("/puppet/runs") == {"http": 200, "message": "No runs yet", "runs": []}


async def test_last_runs_newest_first(api: ApiUnderTest, named: str) -> None:
    api.finish("failed", reason="Exec[a]", error="secret words")
    api.record(OTHER, asked=1769072800.0, started=None, state="queued")
    assert (await api.get("/puppet/runs")).text.splitlines() == [
        f"{'RUN':32}  {'BEGAN':20}  VERDICT  TOOK",
        f"{OTHER}  2026-01-22T09:06:40Z  queued   -",
        f"{RUN}  2026-01-22T09:05:01Z  failed   2s",
    ]
    assert (await api.get("/puppet/runs", named)).text.splitlines() == [
        f"{'RUN':32}  {'BEGAN':20}  VERDICT  TOOK  {'ASKED BY':26}  WHY",
        f"{OTHER}  2026-01-22T09:06:40Z  queued   -     token:deploy at 192.0.2.99",
        f"{RUN}  2026-01-22T09:05:01Z  failed   2s    token:deploy at 192.0.2.99  Exec[a]",
    ]
    runs = (await api.json("/puppet/runs", named))["runs"]
    assert [run["run"] for run in runs] == [OTHER, RUN]


async def test_one_run(api: ApiUnderTest, named: str) -> None:
    api.finish("failed", reason="Exec[a]", error="secret words", environment="staging", noop=True)
    target = f"/puppet/runs/{RUN}"
    reply = await api.get(target, named)
    assert (reply.headers["puppet-run"], reply.headers["puppet-verdict"]) == (RUN, "failed; noop")
    run = await api.json(target, named)
    assert {key: run[key] for key in ("state", "verdict", "caller", "client", "reason", "environment")} == {
        "state": "finished",
        "verdict": "failed",
        "caller": "token:deploy",
        "client": "192.0.2.99",
        "reason": "Exec[a]",
        "environment": "staging",
    }
    assert "error" not in run  # which needs the grant logs
    assert await api.json(target) == {
        "http": 200,
        "message": f"{RUN}  2026-01-22T09:05:01Z  failed; noop  2s",
        "run": RUN,
        "state": "finished",
        "verdict": "failed",
        "noop": True,
        "duration_s": 2.5,
        "counts": {"changed": 3},
        "asked": "2026-01-22T09:05:00Z",
        "started": "2026-01-22T09:05:01Z",
        "ended": "2026-01-22T09:05:03Z",
        "started_by": "twitch",
    }


async def test_run_without_a_verdict_has_no_verdict_header(api: ApiUnderTest) -> None:
    api.record()
    assert "puppet-verdict" not in (await api.get(f"/puppet/runs/{RUN}")).headers


async def test_unknown_run_is_not_found(api: ApiUnderTest) -> None:
    reply = await api.get(f"/puppet/runs/{RUN}")
    assert (reply.status, reply.text) == (404, "No such run; the last ones are at /puppet/runs\n")


# ---- with wait=: the status says what became of the run


@pytest.mark.parametrize("wait", ["0", "5m"])
async def test_good_run_is_200(api: ApiUnderTest, wait: str) -> None:
    api.finish("unchanged", noop=True, would_change=2)
    reply = await api.get(f"/puppet/runs/{RUN}?wait={wait}")
    assert (reply.status, reply.headers["puppet-verdict"]) == (200, "unchanged; noop; 2 would change")
    assert reply.text == f"{RUN}  2026-01-22T09:05:01Z  unchanged; noop; 2 would change  2s\n"
    assert (await api.json(f"/puppet/runs/{RUN}?wait={wait}"))["would_change"] == 2


async def test_run_that_goes_on_is_202(api: ApiUnderTest) -> None:
    api.record()
    reply = await api.get(f"/puppet/runs/{RUN}?wait=0")
    assert (reply.status, reply.headers["location"]) == (202, f"/puppet/runs/{RUN}")
    assert (await api.get(f"/puppet/runs/{RUN}")).status == 200  # a reading, not a question


@pytest.mark.parametrize("verdict", ["failed", "interrupted", "not attempted"])
async def test_run_that_is_not_good_is_500(api: ApiUnderTest, named: str, verdict: str) -> None:
    api.allow("token:ci = status", "token:logs = status logs", "plaintext_tokens = yes")
    api.finish(verdict, reason="Exec[a]", error="secret words")
    target, word = f"/puppet/runs/{RUN}?wait=5", "" if verdict == "failed" else f": {verdict}"
    log = f"; journalctl _SYSTEMD_INVOCATION_ID={RUN}"
    for headers, text in (
        ((), f"Puppet run failed{word}{log}"),  # this caller has not asked for the run
        ((named,), f"Puppet run failed{word}: Exec[a]{log}"),
        ((api.token("logs"),), f"Puppet run failed{word}: Exec[a]: secret words"),
    ):
        reply = await api.get(target, *headers)
        assert (reply.status, reply.text) == (500, f"{text}\n")
        assert (reply.headers["puppet-run"], reply.headers["puppet-verdict"]) == (RUN, verdict)
        assert (await api.get(target.partition("?")[0], *headers)).status == 200


async def test_run_that_was_faster_is_409(api: ApiUnderTest) -> None:
    api.finish("busy", reason="another Puppet run was faster")
    reply = await api.get(f"/puppet/runs/{RUN}?wait=5")
    assert (reply.status, reply.body) == (409, b"Puppet already running")


async def test_caller_that_has_asked_for_the_run_sees_what_failed(api: ApiUnderTest) -> None:
    text = f"Puppet run failed: Exec[a]; journalctl _SYSTEMD_INVOCATION_ID={RUN}\n"
    api.finish("failed", reason="Exec[a]", caller="anonymous", client=ADDRESS)
    assert (await api.get(f"/puppet/runs/{RUN}?wait=5")).text == text
    api.finish("failed", reason="Exec[a]", caller="anonymous", client="192.0.2.99")
    assert "Exec[a]" not in (await api.get(f"/puppet/runs/{RUN}?wait=5")).text


async def test_caller_that_has_waited_for_the_end_sees_what_failed(api: ApiUnderTest) -> None:
    api.record()
    async with api.client() as client:
        await client.send(request("GET", f"/puppet/runs/{RUN}?wait=5m"))
        while not client.connection.waiting:
            await asyncio.sleep(0)
        api.finish("failed", reason="Exec[a]")
        reply = await client.answer()
    assert (reply.status, "Exec[a]" in reply.text) == (500, True)


async def test_text_of_a_run_has_reason_and_error_for_callers_with_logs(api: ApiUnderTest) -> None:
    api.allow("anonymous = status logs")
    api.finish("failed", reason="Exec[a]", error="exited 1")
    text = f"{RUN}  2026-01-22T09:05:01Z  failed  2s  (Exec[a]: exited 1)\n"
    assert (await api.get(f"/puppet/runs/{RUN}")).text == text
