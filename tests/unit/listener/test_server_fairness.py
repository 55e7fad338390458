"""Fairness, with a real process: no crowd of strangers keeps a caller with a token out, or root busy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.unit.api_under_test import FakeRoot
from tests.unit.fake_node import FakeNode
from tests.unit.listening import GET, answered, ask, connect, port, start, stopped
from tests.unit.processes import wait_until
from twitch.listener import tokens
from twitch.listener.room import MAX_PER_ADDRESS, MAX_WAITING
from twitch.messages import Answer, Question, Run
from twitch.records import QUEUED, RUNNING, Options, Record

RUN, OTHER = "1" * 32, "2" * 32
NAT = "127.0.0.2"  # the address that strangers and callers with tokens share
WAIT_FOR_RUN = f"GET /puppet/runs/{RUN}?wait=3600 HTTP/1.1\r\nHost: node\r\n\r\n".encode()


class Crowded:
    """A node with a listener, a root that answers after a while, and callers with tokens."""

    def __init__(self, node: FakeNode, listening: socket.socket) -> None:
        self.node, self.listening = node, listening
        self.delay_s = 0.0
        node.configure("[access]\ntoken:* = trigger status\n")
        self._lines: list[str] = []
        os.makedirs(node.store.directory)
        path = os.fspath(node.run / "puppet-twitch/run.sock")
        self.root = FakeRoot(path)
        os.chmod(path, 0o666)
        self.answer = Answer("busy", run=RUN)
        self.root.answer_to = self._answer
        self.process = start(node, listening)

    def _answer(self, question: Question) -> Answer:
        time.sleep(self.delay_s)
        return self.answer

    def token(self, name: str) -> str:
        """Add a token, and return the header that presents it."""
        token, line = tokens.new(name)
        self._lines.append(f"{line}\n")
        self.node.etc.joinpath("puppet-twitch/tokens").write_text("".join(self._lines))
        return f"Authorization: Bearer {token}"

    def record(self, run: str, state: str, **fields: object) -> None:
        self.node.store.write(Record(run, state, 1.0, started=1.0)._replace(**fields))  # type: ignore[arg-type]
        os.chmod(self.node.store.path(run), 0o644)

    def runs_asked(self) -> list[Run]:
        return [question for question in self.root.asked if isinstance(question, Run)]


@pytest.fixture
def crowded(node: FakeNode) -> Iterator[Crowded]:
    with port() as listening:
        under_test = Crowded(node, listening)
        yield under_test
        under_test.root.close()


def trigger(query: str, *headers: str) -> bytes:
    return "\r\n".join((f"GET /puppet/twitch?{query} HTTP/1.1", "Host: node", *headers, "", "")).encode()


def waiting_strangers(
    crowded: Crowded, held: contextlib.ExitStack, count: int, source: str
) -> list[socket.socket]:
    """Return connections that wait for the run, one after the other, so that the first is the oldest."""
    strangers = []
    for _ in range(count):
        one = held.enter_context(connect(crowded.listening, source))
        one.sendall(WAIT_FOR_RUN)
        strangers.append(one)
        assert ask(crowded.listening, source="127.9.9.9")[0] == 200  # all that was sent before has been read
    return strangers


def silent(client: socket.socket) -> bool:
    """Return whether no answer has come."""
    client.setblocking(False)
    try:
        client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        client.setblocking(True)
    return False


def test_waiting_strangers_behind_a_nat_do_not_keep_a_token_holder_out(crowded: Crowded) -> None:
    token = crowded.token("deploy")
    crowded.record(RUN, RUNNING)
    crowded.record(OTHER, RUNNING)
    crowded.answer = Answer("started", run=OTHER)
    with contextlib.ExitStack() as held:
        strangers = waiting_strangers(crowded, held, MAX_PER_ADDRESS, NAT)
        holder = held.enter_context(connect(crowded.listening, NAT))
        holder.sendall(trigger("async=false", token))
        # The oldest stranger is told where to look.
        status, headers, body = answered(strangers[0])
        assert (status, headers["puppet-run"], headers["connection"]) == (202, RUN, "close")
        assert b"running" in body
        assert all(silent(one) for one in strangers[1:])
        # More strangers come; each takes the place of another one, and none that of the holder.
        strangers += waiting_strangers(crowded, held, 3 * MAX_PER_ADDRESS, NAT)
        assert silent(holder)
        crowded.node.store.write(
            Record(OTHER, "finished", 1.0, started=1.0, ended=2.0, verdict="changed", duration_s=1.0)
        )
        os.chmod(crowded.node.store.path(OTHER), 0o644)
        crowded.root.end(OTHER)
        assert answered(holder)[0] == 200
    assert stopped(crowded.process)[0] == 0


def test_named_callers_make_room_for_nobody(crowded: Crowded) -> None:
    token = crowded.token("deploy")
    crowded.record(RUN, RUNNING)
    with contextlib.ExitStack() as held:
        callers = []
        for _ in range(MAX_PER_ADDRESS):
            one = held.enter_context(connect(crowded.listening, NAT))
            one.sendall(WAIT_FOR_RUN.replace(b"Host", f"{token}\r\nHost".encode()))
            callers.append(one)
        assert ask(crowded.listening, source="127.9.9.9")[0] == 200
        with connect(crowded.listening, NAT) as one_more:
            status, headers, body = answered(one_more)
        assert (status, headers["retry-after"], headers["connection"]) == (503, "2", "close")
        assert body == b"More than 32 connections from one address\n"
        assert all(silent(one) for one in callers)
        callers[0].close()
        wait_until(lambda: ask(crowded.listening, source=NAT)[0] == 200, "the end of a connection is noticed")
    assert stopped(crowded.process)[0] == 0


def test_named_caller_takes_the_waiting_place_of_the_oldest_stranger(crowded: Crowded) -> None:
    token = crowded.token("deploy")
    crowded.record(RUN, RUNNING)
    with contextlib.ExitStack() as held:
        strangers = []
        for number in range(MAX_WAITING // 24):
            strangers += waiting_strangers(crowded, held, 24, f"127.0.1.{number + 1}")
        # An anonymous caller finds no place to wait in, so it is answered at once.
        late = held.enter_context(connect(crowded.listening, "127.0.2.1"))
        late.sendall(WAIT_FOR_RUN)
        assert answered(late)[0] == 202
        assert all(silent(one) for one in strangers)
        named = held.enter_context(connect(crowded.listening, "127.0.2.1"))
        named.sendall(WAIT_FOR_RUN.replace(b"Host", f"{token}\r\nHost".encode()))
        assert answered(strangers[0])[1]["puppet-run"] == RUN
        assert silent(named)
        assert all(silent(one) for one in strangers[1:])
    assert stopped(crowded.process)[0] == 0


# ---- the same address, without end


async def flood(
    crowded: Crowded, source: str, request: bytes, done: asyncio.Event, heard: Counter[int]
) -> None:
    """Ask again and again, each time on a new connection."""
    while not done.is_set():
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            heard[await status(crowded, request, source)] += 1


async def status(crowded: Crowded, request: bytes, source: str) -> int:
    """Ask on a connection of its own, and return the status of the answer."""
    address = crowded.listening.getsockname()[:2]
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    try:
        writer.write(request)
        return int((await reader.readuntil(b"\r\n")).split()[1])
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def flooded(crowded: Crowded, *requests: bytes) -> AsyncIterator[Counter[int]]:
    """Four strangers at each of 64 addresses that ask without end."""
    done, heard = asyncio.Event(), Counter[int]()
    sources = [f"127.0.3.{number + 1}" for number in range(64) for _ in range(4)]
    tasks = [
        asyncio.create_task(flood(crowded, source, requests[number % len(requests)], done, heard))
        for number, source in enumerate(sources)
    ]
    try:
        yield heard
    finally:
        done.set()
        await asyncio.gather(*tasks)


@contextlib.asynccontextmanager
async def flooding(crowded: Crowded, source: str, count: int, request: bytes) -> AsyncIterator[Counter[int]]:
    """So many strangers at one address, each of which asks again as soon as it is answered."""
    done, heard = asyncio.Event(), Counter[int]()
    tasks = [asyncio.create_task(flood(crowded, source, request, done, heard)) for _ in range(count)]
    try:
        yield heard
    finally:
        done.set()
        await asyncio.gather(*tasks)


async def test_named_caller_gets_through_200_strangers_that_ask_without_end_at_its_address(
    crowded: Crowded,
) -> None:
    token = crowded.token("deploy")
    async with flooding(crowded, NAT, 200, GET) as heard:
        while heard[200] < 300:
            await asyncio.sleep(0.01)
        named = [await status(crowded, trigger("", token), NAT) for _ in range(40)]
        others = [await status(crowded, GET, "127.9.9.9") for _ in range(10)]
    assert named == [409] * 40
    assert others == [200] * 10
    assert set(heard) == {200}  # each of the crowd waits for its turn, and is answered
    code, text = stopped(crowded.process)
    refused = re.compile(
        "<4>refused token:deploy at 127\\.0\\.0\\.2: ([0-9]+) x 409 Puppet busy or queue full"
    )
    # There is a line for every ten seconds (refusal_log.INTERVAL_S).
    counts = [refused.fullmatch(line) for line in text.splitlines()]
    assert (code, sum(int(count[1]) if count else -1000 for count in counts)) == (0, 40), text


# ---- queue=true, from 64 sources


@pytest.mark.parametrize("delay_s", [0.05, 1.0], ids=["usual", "slow-root"])
async def test_queue_requests_from_64_sources_keep_nobody_out(crowded: Crowded, delay_s: float) -> None:
    crowded.delay_s = delay_s
    crowded.record(RUN, QUEUED)
    crowded.answer = Answer("queued", run=RUN)
    token = crowded.token("deploy")
    async with flooded(crowded, trigger("queue=true")) as heard:
        began = time.monotonic()
        others = [await status(crowded, GET, "127.9.9.9") for _ in range(40)]
        named = await status(crowded, trigger("queue=true", token), "127.9.9.9")
        shared = await status(crowded, trigger("queue=true", token), "127.0.3.1")
        while heard[202] < 500:
            await asyncio.sleep(0.01)
        took_s = time.monotonic() - began
    assert (others, named, shared) == ([200] * 40, 202, 202)
    assert set(heard) <= {202, 503}
    callers = Counter(question.caller for question in crowded.runs_asked())
    # About once a second for the anonymous, and for each named caller.
    assert 1 <= callers["token:deploy"] <= 2
    assert 1 <= callers["anonymous"] <= took_s + 3
    code, text = stopped(crowded.process)
    assert code == 0
    joined = re.search(rf"([0-9]+) more anonymous requests? joined run {RUN}, from ([0-9]+) addresses", text)
    assert joined
    assert int(joined[2]) <= 64


async def test_different_questions_from_64_sources_keep_no_token_holder_out(crowded: Crowded) -> None:
    # Each of these is a kind of its own for root, which takes its time.
    crowded.delay_s = 0.3
    crowded.record(RUN, QUEUED, options=Options(noop=True))
    crowded.answer = Answer("full", run=RUN)
    token = crowded.token("deploy")
    requests = [trigger("queue=true"), trigger(""), GET.replace(b"/version", b"/puppet/status")]
    async with flooded(crowded, *requests) as heard:
        for _ in range(4):
            assert await status(crowded, GET, "127.9.9.9") == 200
            assert await status(crowded, trigger("queue=true", token), "127.9.9.9") == 409
            assert await status(crowded, trigger("", token), "127.0.3.1") == 409
    assert sum(heard.values()) > 0
    assert stopped(crowded.process)[0] == 0
