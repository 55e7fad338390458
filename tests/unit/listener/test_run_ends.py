"""The end of a run that this listener has started reaches its callers as an event, without a look."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from tests.unit.api_under_test import OTHER, RUN, ApiUnderTest, node_status, request
from twitch.listener.api import call
from twitch.listener.run_ends import MAX_KEPT, RunEnds
from twitch.messages import Answer, Run, Status
from twitch.records import Record

WAIT = "/puppet/twitch?async=false"
QUEUE = "/puppet/twitch?async=false&queue"


@pytest.fixture(autouse=True)
def no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no caller look at a record before its test is over, and none ask root."""
    monkeypatch.setattr(call, "LOOK_S", 3600)
    monkeypatch.setattr(call, "GUARD_S", 3600)


async def test_waiting_caller_hears_the_verdict_without_a_look(api: ApiUnderTest) -> None:
    api.record()
    async with api.client() as client:
        await client.send_and_wait(request("GET", WAIT))
        api.finish("changed")
        assert (await client.answer()).headers["puppet-verdict"] == "changed"
    assert len(api.root.asked) == 1


async def test_all_callers_of_a_run_hear_the_same_event(api: ApiUnderTest) -> None:
    api.root_answers("queued", run=RUN)
    api.allow("anonymous = trigger status", "token:a = trigger", "plaintext_tokens = yes")
    api.record(state="queued")
    async with api.client() as first, api.client() as equal, api.client() as named, api.client() as other:
        await first.send_and_wait(request("GET", QUEUE))
        await equal.send_and_wait(request("GET", QUEUE))
        await named.send(request("GET", QUEUE, api.token("a")))  # root is asked again
        await other.send_and_wait(request("GET", f"/puppet/runs/{RUN}?wait=3600"))
        while not named.connection.waiting:
            await asyncio.sleep(0)
        api.record(state="running")
        api.finish("unchanged")
        for client in (first, equal, named, other):
            assert (await client.answer()).headers["puppet-verdict"] == "unchanged"
    assert len(api.root.asked) == 2


async def test_root_is_asked_at_once_if_conclude_was_killed(api: ApiUnderTest) -> None:
    def answer_to(question: object) -> Answer:
        if isinstance(question, Run):
            return Answer("started", run=RUN)
        if api.root.asked.count(Status()) > 1:
            api.finish("interrupted")
        return Answer("status", status=node_status())

    api.record()
    api.root.answer_to = answer_to
    async with api.client() as first, api.client() as second:
        await first.send_and_wait(request("GET", WAIT))
        await second.send_and_wait(request("GET", f"/puppet/runs/{RUN}?wait=3600"))
        assert (await api.get("/puppet/status")).status == 200  # this answer is older than the end of the run
        api.root.end(RUN)
        for client in (first, second):
            assert (await client.answer()).headers["puppet-verdict"] == "interrupted"
    assert api.root.asked.count(Status()) == 2


async def test_caller_hears_at_once_that_the_verdict_cannot_be_written(api: ApiUnderTest) -> None:
    status = node_status(unrecorded=RUN, unrecorded_why="the disk is full")
    api.record()
    api.root.answer_to = lambda question: (
        Answer("status", status=status) if question == Status() else Answer("started", run=RUN)
    )
    async with api.client() as client:
        await client.send_and_wait(request("GET", WAIT))
        api.root.end(RUN)
        assert (await client.answer()).status == 500


@pytest.mark.parametrize("state", ["queued", "running"])
async def test_callers_look_at_a_run_of_another_listener(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    # Root ends the connection of a request that joins a run in the queue with its answer.
    monkeypatch.setattr(call, "LOOK_S", 0.001)
    api.record(state=state)
    api.root.answer_to = lambda question: Answer("queued", run=RUN) if isinstance(question, Run) else None
    async with api.client() as client:
        await client.send_and_wait(request("GET", QUEUE))
        api.root.end(RUN)
        while api.root_client.run_ends.of(RUN):
            await asyncio.sleep(0)
        api.finish("changed")
        assert (await client.answer()).headers["puppet-verdict"] == "changed"
    assert Status() not in api.root.asked or state == "running"


async def test_caller_that_stops_waiting_leaves_the_event_to_others(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.record()
    async with api.client() as first, api.client() as second:
        await first.send_and_wait(request("GET", WAIT))
        await second.send_and_wait(request("GET", f"/puppet/runs/{RUN}?wait=3600"))
        first.connection.leave()
        assert (await first.answer()).status == 202
        api.finish("changed")
        assert (await second.answer()).headers["puppet-verdict"] == "changed"


# ---- the connections


def connected() -> tuple[socket.socket, socket.socket]:
    ours, roots = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, roots


async def test_number_of_connections_is_bounded() -> None:
    ends = RunEnds(lambda: None)
    pairs = [connected() for _ in range(MAX_KEPT + 1)]
    for number, (ours, _) in enumerate(pairs):
        ends.keep(f"{number:032x}", ours)
    *_, (refused, _) = pairs
    assert refused.fileno() == -1
    assert ends.of(f"{MAX_KEPT:032x}") is None
    end = ends.of(f"{0:032x}")
    assert end is not None
    pairs[0][1].close()
    await asyncio.wait_for(end, 60)
    ours, roots = connected()
    ends.keep(OTHER, ours)
    assert ends.of(OTHER) is not None
    for _, root in (*pairs[1:], (ours, roots)):
        root.close()
    while ends.of(OTHER):
        await asyncio.sleep(0)


async def test_connection_of_a_run_that_has_ended_is_closed(api: ApiUnderTest) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3):
        run = f"{number:032x}"
        api.root_answers("started", run=run)
        api.root_client.forget()
        assert (await api.get("/puppet/twitch")).status == 202
        api.record(run)
        api.finish("changed", run)
        while api.root_client.run_ends.of(run):
            await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_finished_run_is_answered_although_its_connection_is_open(api: ApiUnderTest) -> None:
    finished = Record(RUN, "finished", 0.0, ended=1.0, verdict="changed")
    api.store.write(finished)
    assert (await api.get(WAIT)).headers["puppet-verdict"] == "changed"
