"""The API of a node, asked over a connection to the real API of a listener."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Optional

import pytest

from tests.unit.api_under_test import OTHER, RUN, ApiUnderTest, node_status
from tests.unit.fake_journal import ended, entry
from tests.unit.fleet.node.serving import LIMIT_S, NODE, answering, at_the_port, listener
from tests.unit.log_readers import Journald
from twitch import holds
from twitch.fleet.events import Ask, Change, Counts
from twitch.fleet.node import api as node_api
from twitch.fleet.node.access import Access
from twitch.fleet.node.answers import GARBAGE, Answer, Disabled, LogLine, NotReached
from twitch.fleet.node.api import NodeApi, Refusal
from twitch.listener.connection import ANSWERING, LOST
from twitch.messages import Disable, Enable, Run
from twitch.node_status import Doing
from twitch.resources import Event, Resource


@contextlib.asynccontextmanager
async def asking(api: ApiUnderTest, token: Optional[str] = None) -> AsyncIterator[NodeApi]:
    async with listener(api) as at, NodeApi(Access(at.port, token=token), connections=10) as node:
        yield node


def alice(api: ApiUnderTest, *grants: str) -> str:
    """Give the token of alice these grants, and return it."""
    api.allow("plaintext_tokens = yes", f"token:alice = {' '.join(grants)}")
    return api.token("alice").rpartition(" ")[2]


async def test_trigger_passes_all_options_and_returns_the_run(api: ApiUnderTest) -> None:
    api.allow("anonymous = trigger noop tags environment=*", "cooldown = 0")
    ask = Ask(noop=True, tags=("ntp", "ssh"), environment="test", queue=True, label="CHG-123")
    async with asking(api) as node:
        answer = await node.trigger(NODE, ask)
    assert (answer.status, answer.message, answer.run) == (202, "Triggered puppet run", RUN)
    assert answer.date is not None
    (question,) = api.root.asked
    assert isinstance(question, Run)
    assert (question.noop, question.tags, question.environment) == (True, ("ntp", "ssh"), "test")
    assert (question.queue, question.label) == (True, "CHG-123")


async def test_trigger_that_waits_returns_the_record_of_the_run(api: ApiUnderTest) -> None:
    resource = Resource(
        "File[/etc/motd]", "failed", corrective=False, file="/site.pp", line=12,
        events=(Event("ensure", "failure", "no space left"), Event("mode", "success", "changed")),
    )  # fmt: skip
    async with asking(api, alice(api, "trigger", "status", "logs")) as node:
        api.record()
        waiting = asyncio.ensure_future(node.trigger(NODE, Ask(), wait_s=600))
        while not api.root.asked:
            await asyncio.sleep(0)
        api.finish(
            "failed", reason="File[/etc/motd]", error="no space left", resources=(resource,),
            counts={"total": 9, "failed": 1}, configuration_version="v7", label="CHG-1",
        )  # fmt: skip
        waited = await asyncio.wait_for(waiting, LIMIT_S)
        answer = await node.run(NODE, RUN)
    assert (waited.status, waited.verdict, waited.run) == (500, "failed", RUN)
    assert answer.status == 200
    record = answer.record
    assert record
    assert (record.run, record.state, record.verdict, record.label) == (RUN, "finished", "failed", "CHG-1")
    assert record.counts == Counts(total=9, failed=1)
    assert (record.reason, record.error) == ("File[/etc/motd]", "no space left")
    assert (record.asked, record.started, record.ended) == (1769072700.0, 1769072701.0, 1769072703.0)
    assert (record.duration_s, record.noop, record.cached) == (2.5, False, False)
    assert record.configuration_version == "v7"
    change = Change("File[/etc/motd]", "failed", ("ensure", "mode"), "/site.pp", 12, "no space left")
    assert record.changes == (change,)


async def test_verdict_is_without_its_marks(api: ApiUnderTest) -> None:
    api.finish("unchanged", noop=True, would_change=2)
    async with asking(api) as node:
        answer = await node.run(NODE, RUN, wait_s=1)
    assert (answer.status, answer.verdict) == (200, "unchanged")
    assert answer.record
    assert answer.record.counts.would_change == 2
    assert answer.record.noop


async def test_cooldown_says_when_to_ask_again(api: ApiUnderTest) -> None:
    api.root_answers("cooldown", retry_after_s=7)
    async with asking(api) as node:
        answer = await node.trigger(NODE, Ask())
    assert (answer.status, answer.retry_after_s, answer.run) == (429, 7.0, None)


async def test_disabled_says_by_whom_and_until_when(api: ApiUnderTest) -> None:
    hold = holds.Hold("token:alice", "192.0.2.9", "CHG-7 kernel", 1769072700.0, 1769076300.0)
    status = node_status("disabled", disabled=holds.together((hold,)))
    api.root_answers("disabled", reason="CHG-7 kernel", status=status)
    api.allow("anonymous = trigger status logs")
    async with asking(api) as node:
        answer = await node.trigger(NODE, Ask())
    assert answer.status == 423
    assert answer.disabled == Disabled("token:alice", "CHG-7 kernel", 1769072700.0, 1769076300.0)


async def test_runs_with_a_label(api: ApiUnderTest) -> None:
    api.record(RUN, label="CHG-1")
    api.finish("changed", OTHER, label="CHG-2")
    async with asking(api, alice(api, "status")) as node:
        everything = await node.runs(NODE)
        labelled = await node.runs(NODE, label="CHG-2", since=1769072000.0)
        none = await node.runs(NODE, label="CHG-3")
    assert {record.run for record in everything} == {RUN, OTHER}
    assert [(record.run, record.verdict) for record in labelled] == [(OTHER, "changed")]
    assert none == []


async def test_status_of_a_running_node(api: ApiUnderTest) -> None:
    running = node_status(
        "running", run=RUN, pid=7, since=1769072700.0, phase="applying", resources=574, elapsed_s=80,
        usual_s=35, doing=Doing("apt-get", 45),
    )  # fmt: skip
    api.root_answers("status", status=running)
    async with asking(api, alice(api, "status")) as node:
        status = await node.status(NODE)
    assert (status.state, status.run, status.since) == ("running", RUN, 1769072700.0)
    assert (status.phase, status.resources, status.elapsed_s, status.usual_s) == ("applying", 574, 80, 35)
    assert (status.doing, status.doing_s) == ("apt-get", 45)
    assert status.message.startswith(f"running: run {RUN}")


async def test_status_that_is_not_granted_is_a_refusal(api: ApiUnderTest) -> None:
    api.allow("anonymous =")
    async with asking(api) as node:
        with pytest.raises(Refusal, match="grant") as caught:
            await node.status(NODE)
    assert caught.value.answer.status in (401, 403)


async def test_disable_and_enable(api: ApiUnderTest) -> None:
    api.allow("anonymous = disable")
    hold = holds.Hold("anonymous", "127.0.0.1", "CHG-1", 1769072700.0, 1769076300.0)
    api.root_answers("disabled", status=node_status("disabled", disabled=holds.together((hold,))))
    async with asking(api) as node:
        disabled = await node.disable(NODE, "CHG-1", hold_s=3600, force=True)
        api.root_answers("enabled")
        enabled = await node.enable(NODE)
    assert (disabled.status, enabled.status) == (200, 200)
    assert disabled.disabled
    assert disabled.disabled.until == 1769076300.0
    first, second = api.root.asked
    assert isinstance(first, Disable)
    assert (first.reason, first.force) == ("CHG-1", True)
    assert isinstance(second, Enable)


async def test_cancel_of_a_run_that_has_ended(api: ApiUnderTest) -> None:
    api.allow("anonymous = cancel status")
    api.finish("changed")
    async with asking(api) as node:
        answer = await node.cancel(NODE, RUN)
    assert (answer.status, answer.run) == (409, RUN)


# ---- logs


async def test_log_of_a_run_that_has_ended(api: ApiUnderTest, journald: Journald) -> None:
    journald.append(ended())
    api.finish("changed")
    async with asking(api) as node:
        lines = [line async for line in node.log(NODE, RUN, follow=True)]
    assert [line.message for line in lines if line.event is None] == ["one", "two", "three"]
    assert [line.event for line in lines if line.event] == ["asked", "end"]
    assert lines[-1].fields["verdict"] == "changed"


@pytest.mark.parametrize(("keep", "connections"), [(True, 1), (False, 2)])
async def test_run_is_followed_on_the_connection_that_has_started_it(
    api: ApiUnderTest, keep: bool, connections: int
) -> None:
    async with listener(api) as at, NodeApi(Access(at.port), connections=10) as node:
        started = await node.trigger(NODE, Ask(), keep=keep)
        assert (started.status, started.run) == (202, RUN)
        api.record()
        following = asyncio.ensure_future(node.run(NODE, RUN, wait_s=600))
        while len(at.connections) < connections or at.connections[-1].state != ANSWERING:
            await asyncio.sleep(0)
        api.finish("changed")
        assert (await asyncio.wait_for(following, LIMIT_S)).verdict == "changed"
        assert len(at.connections) == connections
        # The run has ended, so nothing is kept, although the listener would.
        while any(connection.state != LOST for connection in at.connections):
            await asyncio.sleep(0)


async def test_log_goes_on_where_the_listener_has_left(api: ApiUnderTest, journald: Journald) -> None:
    api.record()
    async with listener(api) as at, NodeApi(Access(at.port), connections=10) as node:
        log = node.log(NODE, RUN, follow=True)
        got = [(await asyncio.wait_for(log.__anext__(), LIMIT_S)).message for _ in range(4)]
        at.leave()
        journald.append(entry("four"), ended())
        api.finish("changed")
        rest = [line async for line in log]
    assert len(at.connections) == 2
    assert got[1:] == ["one", "two", "three"]
    assert [line.message for line in rest if line.event is None] == ["four"]
    assert rest[-1].event == "end"


async def test_log_that_breaks_is_asked_for_again_from_the_next_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_api, "PAUSE_S", 0.0)
    asked: list[bytes] = []
    line = b'{"at": %d, "time": null, "level": "notice", "source": "Puppet", "message": "m%d"}\n'
    answers = [
        LOG_HEAD + line % (1, 1) + b'{"at": 2, "mess',
        b"",
        NO_PLACE,
        LOG_HEAD + line % (2, 2) + b'{"event": "end", "verdict": "changed"}\n',
    ]

    async def serve(stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await stream.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(answers[len(asked) - 1])
        await writer.drain()
        writer.transport.abort() if len(asked) == 2 else None

    async with at_the_port(serve) as port, NodeApi(Access(port), connections=1) as node:
        lines = [line async for line in node.log(NODE, RUN, follow=True)]
    assert [line.message for line in lines if line.event is None] == ["m1", "m2"]
    assert lines[-1].event == "end"
    assert [b"after=1" in head for head in asked] == [False, True, True, True]


async def test_log_that_never_goes_on_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_api, "PAUSE_S", 0.0)
    data = LOG_HEAD + b'{"event": "state", "state": "running"}\n{"event": "moved"}\n'
    async with at_the_port(answering(data)) as port, NodeApi(Access(port), connections=1) as node:
        lines = node.log(NODE, RUN, follow=True)
        assert (await lines.__anext__()).event == "state"
        await asyncio.wait_for(until_given_up(lines), LIMIT_S)


@pytest.mark.parametrize("step", [1, 0])
async def test_log_of_a_node_that_moves_again_and_again_is_paced(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With new lines each time, the log goes on; with the same line each time, it is given up."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(node_api, "asyncio", SimpleNamespace(sleep=sleep, get_running_loop=StoppedClock))
    line = b'{"at": %d, "time": null, "level": "notice", "source": "Puppet", "message": "m"}\n'
    asked = 0

    async def serve(stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await stream.readuntil(b"\r\n\r\n")
        asked += 1
        last = asked > 15
        writer.write(
            LOG_HEAD + line % (1 + step * asked) + b'{"event": "%s"}\n' % (b"end" if last else b"moved")
        )

    async with at_the_port(serve) as port, NodeApi(Access(port), connections=1) as node:
        lines = node.log(NODE, RUN, follow=True)
        if step:
            assert len([line async for line in lines]) == 17
            assert pauses == [node_api.PAUSE_S] * 15
        else:
            await asyncio.wait_for(until_given_up(lines), LIMIT_S)
            assert min(pauses) == node_api.PAUSE_S and max(pauses) == node_api.MAX_PAUSE_S


class StoppedClock:
    """A loop where no time passes."""

    def time(self) -> float:
        return 0.0


async def until_given_up(lines: AsyncIterator[LogLine]) -> None:
    with pytest.raises(NotReached):
        async for _ in lines:
            pass


async def test_log_that_is_not_granted_is_a_refusal(api: ApiUnderTest, journald: Journald) -> None:
    api.allow("anonymous = trigger status")
    api.record()
    async with asking(api) as node:
        with pytest.raises(Refusal) as caught:
            _ = [line async for line in node.log(NODE, RUN)]
    assert caught.value.answer.status in (401, 403)


# ---- answers of another program

LOG_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"

JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
FOREIGN = {
    "html": b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p/>",
    "text": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok",
    "no-type": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "json-list": JSON_HEAD + b"[]",
    "json-other": JSON_HEAD + b'{"status": "UP"}',
    "json-half": JSON_HEAD + b'{"message": "x"',
    "json-deep": JSON_HEAD + b"[" * 100_000,
    "run": JSON_HEAD + b'{"message": "x", "run": "../../etc"}',
    "record": JSON_HEAD + b'{"message": "x", "run": "%s", "state": 7, "asked": 1}' % (b"1" * 32),
    "counts": JSON_HEAD
    + b'{"message": "x", "run": "%s", "state": "finished", "asked": "2026-01-22T09:05:00Z", "counts": [1]}'
    % (b"1" * 32),
    "time": JSON_HEAD
    + b'{"message": "x", "run": "%s", "state": "x", "asked": "2026-02-31T09:05:00Z"}' % (b"1" * 32),
    "too-long": JSON_HEAD + b'{"message": "' + b"x" * 300_000 + b'"}',
    "ssh": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
async def test_answer_of_another_program_is_garbage(data: bytes) -> None:
    async with at_the_port(answering(data)) as port, NodeApi(Access(port), connections=1) as node:
        with pytest.raises(NotReached) as caught:
            await asyncio.wait_for(node.trigger(NODE, Ask()), LIMIT_S)
    assert (caught.value.kind, caught.value.sent) == (GARBAGE, True)
    assert "\n" not in str(caught.value)
    assert "another program" in str(caught.value)


async def test_texts_of_a_node_cannot_move_the_cursor() -> None:
    data = JSON_HEAD + rb'{"message": "\u001b[2Jx\ny"}'
    async with at_the_port(answering(data)) as port, NodeApi(Access(port), connections=1) as node:
        answer = await node.trigger(NODE, Ask())
    assert answer == Answer(200, r"\x1b[2Jx")


# As a listener answers that has no place for the connection.
NO_PLACE = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nX-Content-Type-Options: nosniff\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 9\r\n\r\nno place\n"
)


async def test_refusal_without_json_is_understood() -> None:
    async with at_the_port(answering(NO_PLACE)) as port, NodeApi(Access(port), connections=1) as node:
        answer = await node.trigger(NODE, Ask())
    assert (answer.status, answer.message, answer.retry_after_s) == (503, "no place", 2.0)
