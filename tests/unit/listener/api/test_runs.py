"""The last runs and one run: verdicts for everyone, the details for named callers."""

from __future__ import annotations

import asyncio
from typing import Optional

import pytest

from tests.unit.api_under_test import OTHER, RUN, ApiUnderTest, request
from tests.unit.wire import ADDRESS
from twitch import record_files
from twitch.listener.api import call
from twitch.records import Record
from twitch.resources import Event, Resource


@pytest.fixture
def named(api: ApiUnderTest) -> str:
    """Return the header of a named caller; anonymous callers may use the same paths."""
    api.allow("token:ci = status", "plaintext_tokens = yes")
    return api.token("ci")


async def test_no_runs_yet(api: ApiUnderTest) -> None:
    assert (await api.get("/puppet/runs")).text == "No runs on record yet\n"
    assert await api.json("/puppet/runs") == {"http": 200, "message": "No runs on record yet", "runs": []}


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


async def test_lists_are_read_one_at_a_time(api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    # A thousand records are 3 MB, and a crowd of callers would take all memory of the listener.
    monkeypatch.setattr(call, "RECORDS_AT_ONCE", 1)
    api.finish("changed")
    api.finish("failed", OTHER)
    steps: list[str] = []
    runs, newest_first = api.store.runs, record_files.newest_first

    def began() -> set[str]:
        steps.append("began")
        return runs()

    def ended(found: list[Optional[Record]]) -> list[Record]:
        steps.append("ended")
        return newest_first(found)

    monkeypatch.setattr(api.store, "runs", began)
    monkeypatch.setattr(call, "newest_first", ended)
    targets = ("/puppet/runs", "/puppet/runs/last", "/puppet/runs")
    replies = await asyncio.gather(*(api.get(target) for target in targets))
    assert [reply.status for reply in replies] == [200, 200, 200]
    assert steps == ["began", "ended"] * 3


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
        "message": "failed (noop); 2s",
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
    assert reply.text == f"unchanged (noop); 2s\nrun {RUN}, began 2026-01-22T09:05:01Z\n"
    found = await api.json(f"/puppet/runs/{RUN}?wait={wait}")
    assert (found["would_change"], found["message"]) == (2, "unchanged (noop); 2s")


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
        await client.send_and_wait(request("GET", f"/puppet/runs/{RUN}?wait=5m"))
        api.finish("failed", reason="Exec[a]")
        reply = await client.answer()
    assert (reply.status, "Exec[a]" in reply.text) == (500, True)


async def test_text_of_a_run_has_reason_and_error_for_callers_with_logs(api: ApiUnderTest) -> None:
    api.allow("anonymous = status logs")
    api.finish("failed", reason="Exec[a]", error="exited 1")
    text = f"failed; 2s\n  Exec[a]: exited 1\nrun {RUN}, began 2026-01-22T09:05:01Z\n"
    assert (await api.get(f"/puppet/runs/{RUN}")).text == text


# ---- what happened to the resources

MOTD = Resource(
    "File[/etc/motd]",
    "would change",
    corrective=True,
    file="/site/motd.pp",
    line=12,
    events=(Event("content", "noop", "content changed 'a' to 'b' (noop)"),),
)
AFTER = Resource("Notify[x\x1b]", "skipped", corrective=False, file=None, line=None)


def finish_noop(api: ApiUnderTest) -> None:
    api.finish(
        "unchanged",
        noop=True,
        would_change=3,
        counts={"total": 574, "out_of_sync": 3},
        environment="feature_x",
        label="CHG-123",
        resources=(MOTD, AFTER),
        resources_left_out=7,
    )


async def test_error_that_a_resource_has_is_said_once(api: ApiUnderTest) -> None:
    api.allow("token:ci = status", "token:logs = status logs", "plaintext_tokens = yes")
    event = Event("returns", "failure", "it broke")
    failed = Resource("Exec[x]", "failed", corrective=False, file=None, line=None, events=(event,))
    lines = ["failed; 2s", "  failed  Exec[x]  returns"]
    target = f"/puppet/runs/{RUN}"
    for reason, caller, expected in (
        ("Exec[x]", "logs", [*lines, "      it broke"]),
        ("Exec[x]", "ci", [lines[0], "  Exec[x]", lines[1]]),
        ("Exec[w] Exec[x]", "logs", [lines[0], "  Exec[w] Exec[x]: it broke", lines[1], "      it broke"]),
    ):
        api.finish("failed", reason=reason, error="it broke", resources=(failed,))
        assert (await api.get(target, api.token(caller))).text.splitlines()[:-1] == expected


async def test_text_of_a_run_begins_with_what_became_of_it(api: ApiUnderTest) -> None:
    api.allow("token:ci = status", "token:logs = status logs", "plaintext_tokens = yes")
    finish_noop(api)
    target = f"/puppet/runs/{RUN}"
    began = f"run {RUN} by token:deploy at 192.0.2.99 (CHG-123), began 2026-01-22T09:05:01Z"
    head = "unchanged (noop): 3 resources would change, 571 as they should be; 2s, environment feature_x"
    motd = "  would change  File[/etc/motd]  content  /site/motd.pp:12  corrective"
    after = "  skipped       Notify[x\\x1b]"
    message = "      content changed 'a' to 'b' (noop)"
    text = (await api.get(target, api.token("logs"))).text
    assert text.splitlines() == [head, motd, message, after, "  and 7 more", began]
    text = (await api.get(target, api.token("ci"))).text
    assert text.splitlines() == [head, motd, after, "  and 7 more", began]
    assert (await api.get(target)).text.splitlines() == [
        "unchanged (noop): 3 resources would change, 571 as they should be; 2s",
        f"run {RUN}, began 2026-01-22T09:05:01Z",
    ]


async def test_resources_in_json_are_without_messages_but_for_callers_with_logs(
    api: ApiUnderTest,
) -> None:
    api.allow("token:ci = status", "token:logs = status logs", "plaintext_tokens = yes")
    finish_noop(api)
    target = f"/puppet/runs/{RUN}"
    whole = MOTD.to_json()
    found = await api.json(target, api.token("logs"))
    assert (found["resources"][0], found["resources_left_out"]) == (whole, 7)
    del whole["events"][0]["message"]
    assert (await api.json(target, api.token("ci")))["resources"][0] == whole
    assert "resources" not in await api.json(target)


async def test_list_of_runs_has_no_resources(api: ApiUnderTest, named: str) -> None:
    finish_noop(api)
    (run,) = (await api.json("/puppet/runs", named))["runs"]
    assert (run["label"], "resources" in run, "resources_left_out" in run) == ("CHG-123", False, False)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"total": 7}, "7 resources, all as they should be"),
        ({"total": 1}, "1 resource, all as they should be"),
        ({"total": 1, "changed": 1}, "1 resource changed"),
        (
            {"total": 9, "failed": 2, "failed_to_restart": 1, "changed": 1, "skipped": 3},
            "2 resources failed (1 to restart), 1 changed, 3 skipped, 3 as they should be",
        ),
        ({"total": 1, "changed": 1, "failed": 1}, "1 resource failed, 1 changed"),  # two of its properties
    ],
)
async def test_text_of_a_run_counts_its_resources(
    api: ApiUnderTest, counts: dict[str, int], text: str
) -> None:
    api.finish("changed", counts=counts)
    assert (await api.get(f"/puppet/runs/{RUN}")).text.startswith(f"changed: {text}; 2s\n")


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"total": 2}, "2 resources reached"),
        ({"total": 3, "changed": 1}, "1 resource changed, 2 more reached"),
    ],
)
async def test_resources_of_an_interrupted_run_are_not_called_fine(
    api: ApiUnderTest, counts: dict[str, int], text: str
) -> None:
    api.finish("interrupted", counts=counts)
    assert (await api.get(f"/puppet/runs/{RUN}")).text.startswith(f"interrupted: {text}; 2s\n")


# ---- last and current


async def test_last_run_is_the_one_that_ended_last(api: ApiUnderTest) -> None:
    reply = await api.get("/puppet/runs/last")
    assert (reply.status, reply.text) == (404, "No run has ended yet\n")
    api.record(OTHER)
    assert (await api.get("/puppet/runs/last")).status == 404
    api.finish("failed")
    api.record(OTHER, asked=1769072800.0)
    reply = await api.get("/puppet/runs/last")
    assert (reply.status, reply.headers["puppet-run"]) == (200, RUN)
    assert (await api.get("/puppet/runs/last?wait=5m")).status == 500


async def test_current_run_is_the_one_under_way(api: ApiUnderTest) -> None:
    api.finish("changed")
    api.record(OTHER, started=None, state="queued")
    reply = await api.get("/puppet/runs/current")
    assert reply.status == 404
    assert reply.text == "No run of puppet-twitch is under way; the last ones are at /puppet/runs\n"
    api.record(OTHER)
    reply = await api.get("/puppet/runs/current")
    assert (reply.status, reply.headers["puppet-run"]) == (200, OTHER)
    assert reply.text.startswith("running\n")
    assert (await api.get("/puppet/runs/current?wait=0")).headers["location"] == f"/puppet/runs/{OTHER}"


# ---- a part of the list

ENDED = 1769072703.0  # 2026-01-22T09:05:03Z


@pytest.fixture
def five(api: ApiUnderTest) -> ApiUnderTest:
    """Return an API with five runs: the first goes on, the others ended a minute after each other."""
    verdicts = ("changed", "failed", "not attempted", "unchanged")
    api.record("0" * 32, asked=ENDED + 240)
    for number, verdict in enumerate(verdicts, start=1):
        ended = ENDED + 60 * number
        api.store.write(
            Record(f"{number}" * 32, "finished", asked=ended - 9, started=ended - 9, ended=ended)._replace(
                verdict=verdict
            )
        )
    return api


@pytest.mark.parametrize(
    ("query", "runs"),
    [
        ("limit=2", "04"),
        ("limit=200", "04321"),
        ("verdict=failed", "2"),
        ("verdict=failed,not_attempted", "32"),
        ("verdict=not%20attempted,unchanged", "43"),
        ("verdict=not-attempted&limit=1", "3"),
        ("since=2026-01-22T09:07:04Z", "043"),
        ("since=2026-01-22T09:07:03.999z", "0432"),
        ("since=2026-01-22T10:08:03%2B01:00", "043"),
        ("since=2026-01-22T10:08:03+01:00", "043"),
        ("since=2026-01-22T07:08-02:00", "043"),
        (f"since={ENDED + 180:.0f}", "043"),
        (f"since={ENDED + 180}", "043"),
        ("since=1h", "0"),  # ago
        ("since=0", "04321"),
        ("verdict=busy", ""),
    ],
)
async def test_runs_are_chosen(five: ApiUnderTest, query: str, runs: str) -> None:
    found = await five.json(f"/puppet/runs?{query}")
    assert "".join(run["run"][0] for run in found["runs"]) == runs
    assert (found["message"] == "No such runs") == (not runs)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("limit=0", "Parameter limit must be a number from 1 to 200"),
        ("limit=201", "Parameter limit must be a number from 1 to 200"),
        ("limit=", "Parameter limit must be a number from 1 to 200"),
        ("limit=%D9%A1", "Parameter limit must be a number from 1 to 200"),
        ("verdict=", "Parameter verdict must be one or more of these, between commas: unchanged, changed,"),
        ("verdict=fail", "Parameter verdict must be one or more of these"),
        ("verdict=failed,,changed", "Parameter verdict must be one or more of these"),
        ("since=yesterday", "Parameter since must be a time ago such as 30m, 2h or 7d, a time of RFC 3339"),
        ("since=", "Parameter since must be"),
        ("since=-5", "Parameter since must be"),
        ("since=2026-01-22", "Parameter since must be"),
        ("since=2026-01-22T09:05:03", "Parameter since must be"),  # in which zone?
        ("since=2026-02-30T09:05:03Z", "Parameter since must be"),
        ("since=2026-01-22T25:05:03Z", "Parameter since must be"),
        ("since=2026-01-22T09:05:03%2B99:00", "Parameter since must be"),
        ("since=99999999999999999999", "Parameter since must be"),
        ("since=%D9%A1h", "Parameter since must be"),
    ],
)
async def test_invalid_choice_of_runs_is_refused(five: ApiUnderTest, query: str, error: str) -> None:
    reply = await five.get(f"/puppet/runs?{query}")
    assert (reply.status, reply.text[: len(error)]) == (400, error)
