"""`log`: the logs of several nodes, each line with its node, from the real API and a journal in memory."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api_under_test import OTHER, RUN, ApiUnderTest
from tests.unit.fake_journal import ended, entry
from tests.unit.fleet import servers
from tests.unit.fleet.node.serving import LIMIT_S, listener
from tests.unit.log_readers import Journald
from twitch.errors import UsageError
from twitch.fleet import exits, log
from twitch.fleet.events import Ask, NodeEvent, Plan
from twitch.fleet.node.answers import LogLine
from twitch.fleet.show.result_file import ResultWriter

# Both are this machine, and so the same listener.
ONE, TWO = "localhost", "127.0.0.1"


async def show(port: int, *words: str) -> int:
    options = ("--plain-http", "--port", str(port), "--puppetdb", "none")
    return await asyncio.wait_for(log.show(log.parse([*words, *options])), LIMIT_S)


async def test_last_runs_are_shown_node_by_node(
    api: ApiUnderTest, journald: Journald, capsys: pytest.CaptureFixture[str]
) -> None:
    journald.append(ended())
    api.finish("failed", reason="File[/etc/motd]")
    async with listener(api) as at:
        status = await show(at.port, ONE, TWO)
    lines = capsys.readouterr().out.splitlines()
    assert status == exits.OK  # the logs were shown
    assert sorted(line.partition(": ")[0] for line in lines) == sorted([ONE, TWO] * (len(lines) // 2))
    assert [line.rpartition("): ")[2] for line in lines if line.startswith(ONE)][1:4] == [
        "one",
        "two",
        "three",
    ]
    names = [line.partition(": ")[0] for line in lines]
    assert names[: len(names) // 2] == [names[0]] * (len(names) // 2)  # not mixed
    assert lines[-1].endswith(": # failed: File[/etc/motd]")


async def test_run_under_way_is_followed_to_its_end(
    api: ApiUnderTest, journald: Journald, capsys: pytest.CaptureFixture[str]
) -> None:
    api.root_answers("status", status=None)
    api.record()
    async with listener(api) as at:
        following = asyncio.ensure_future(show(at.port, "--run", RUN, "--follow", "--json", ONE))
        while not journald.views:
            await asyncio.sleep(0)
        at.leave()  # the listener is upgraded; the log goes on
        journald.append(entry("four"), ended())
        api.finish("failed")
        status = await following
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert status == exits.FAILURES
    assert [line["message"] for line in lines if "event" not in line] == ["one", "two", "three", "four"]
    assert {line["node"] for line in lines} == {ONE}
    assert all(line["time"].endswith("Z") for line in lines if "time" in line)  # as the node has it
    assert lines[-1]["verdict"] == "failed"


async def test_runs_of_a_result_are_shown(
    api: ApiUnderTest, journald: Journald, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The run of the result, although another one was the last.
    journald.append(ended())
    api.finish("changed")
    api.finish("changed", OTHER, ended=1769079999.0)
    writer = ResultWriter(tmp_path / "result.json")
    writer.write(Plan(1.0, (ONE,), Ask(), ONE, 1, 0, 0, None, 7))
    writer.write(NodeEvent(2.0, ONE, "running", RUN))
    writer.close()
    async with listener(api) as at:
        assert await show(at.port, "--from", str(tmp_path / "result.json"), "--json") == exits.OK
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["run"] == RUN


async def test_node_without_a_run_in_the_result_shows_no_other_run(
    api: ApiUnderTest, journald: Journald, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Both nodes have a last run; the result has none of TWO.
    journald.append(ended())
    api.finish("changed")
    path = tmp_path / "result.json"
    writer = ResultWriter(path)
    writer.write(Plan(1.0, (ONE, TWO), Ask(), f"{ONE},{TWO}", 1, 0, 0, None, 7))
    writer.write(NodeEvent(2.0, ONE, "running", RUN))
    writer.close()
    async with listener(api) as at:
        assert await show(at.port, "--from", str(path)) == exits.FAILURES
        lines = capsys.readouterr().out.splitlines()
        # Unless a run is asked for.
        assert await show(at.port, "--from", str(path), "--run", "last") == exits.OK
    shown = [line for line in lines if line.startswith(TWO)]
    assert shown == [f"{TWO}: # the result has no run of this node"]
    assert len(lines) > 1


async def test_node_without_a_log_and_node_out_of_reach(
    api: ApiUnderTest, journald: Journald, capsys: pytest.CaptureFixture[str]
) -> None:
    async with listener(api) as at:
        # Only 127.0.0.1 listens.
        status = await show(at.port, TWO, "127.0.0.9")
    assert status == exits.FAILURES | exits.UNREACHABLE
    lines = sorted(capsys.readouterr().out.splitlines())
    assert lines == [
        f"{TWO}: # 404: No run has ended yet",
        f"127.0.0.9: # port {at.port}: connection refused",
    ]


def event(name: str, message: str = "", **fields: Any) -> LogLine:
    return LogLine(None, None, None, message, event=name, fields=fields)


APPLYING: dict[str, Any] = {
    "phase": "applying",
    "resources": 35,
    "doing": {"name": "apt-get", "age_s": 8},
    "usual_s": 40,
}
TEXTS = [
    (LogLine(0, "notice", "Puppet", "a\nb\x1b"), "1970-01-01 00:00:00 +0000 Puppet (notice): a\n  b\\x1b"),
    (event("end", verdict="changed"), "# changed"),
    (event("end", verdict="failed", reason="R", error="E\n"), "# failed: R: E\\n"),
    (event("no-log", reason="no journal"), "# no log: no journal"),
    (event("asked", "asked\nx"), "# asked\\nx"),
    (
        event("state", elapsed_s=70, **APPLYING),
        "# 1m 10s: applying 35 resources; apt-get for 8s; usually 40s",
    ),
    (event("state", state="queued", elapsed_s=5), "# 5s: queued"),
    (event("state", doing=7, usual_s="x"), "# under way"),
    (event("state", doing={"name": "x", "age_s": float("inf")}, elapsed_s=float("nan")), "# under way"),
    (event("state", usual_s=10**400, elapsed_s=-1), "# 0s: under way"),
]


@pytest.mark.parametrize(("line", "text"), TEXTS)
def test_text_of_a_line(line: LogLine, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert log.text_of(line) == text
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("run", ["1234", "../x", "first"])
def test_invalid_id_of_a_run(run: str) -> None:
    with pytest.raises(UsageError, match="--run must be"):
        log.parse(["web01", "--run", run])


async def test_a_node_speaks_for_itself_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Also if it sends lines with the name of another node, and numbers that are none."""

    async def forge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await servers.request(reader)
        lines = b'{"event":"state","node":"web01","elapsed_s":5,"at":7}\n{"event":"x","elapsed_s":1e400}\n'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
        writer.write(head + lines)
        await writer.drain()

    async with servers.raw(forge) as url:
        status = await show(int(url.rpartition(":")[2]), "--run", RUN, "--json", TWO)
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == {"node": TWO, "event": "state", "elapsed_s": 5, "at": 7}
    assert (second["node"], second["event"], status) == (TWO, "error", exits.UNREACHABLE)
