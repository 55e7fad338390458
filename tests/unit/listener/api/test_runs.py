"""The last runs and one run: verdicts for everyone, the details for named callers."""

from __future__ import annotations

import pytest

from tests.unit.api_under_test import OTHER, RUN, ApiUnderTest


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
        f"{OTHER}  2026-01-22T09:06:40Z  queued",
        f"{RUN}  2026-01-22T09:05:01Z  failed  2 s",
    ]
    assert (await api.get("/puppet/runs", named)).text.splitlines() == [
        f"{OTHER}  2026-01-22T09:06:40Z  queued  by token:deploy at 192.0.2.99",
        f"{RUN}  2026-01-22T09:05:01Z  failed  2 s  by token:deploy at 192.0.2.99  (Exec[a])",
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


async def test_run_without_a_verdict_has_no_verdict_header(api: ApiUnderTest) -> None:
    api.record()
    assert "puppet-verdict" not in (await api.get(f"/puppet/runs/{RUN}")).headers


async def test_unknown_run_is_not_found(api: ApiUnderTest) -> None:
    reply = await api.get(f"/puppet/runs/{RUN}")
    assert (reply.status, reply.text) == (404, "No such run; the last ones are at /puppet/runs\n")
