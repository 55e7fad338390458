from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fleet_nodes
from tests.unit.api_under_test import RUN
from tests.unit.fleet.node.serving import NODE, at_the_port
from tests.unit.fleet.run.running import LONGEST_S, Operator, most_at_once
from twitch.fleet.events import Ask
from twitch.fleet.node.access import Access
from twitch.fleet.node.api import NodeApi
from twitch.fleet.outcomes import Outcome
from twitch.fleet.run.following import Held
from twitch.fleet.run.verdicts import End


@pytest.fixture
def blind(tmp_path: Path) -> Iterator[Operator]:
    """An operator who may start runs, and not read what became of them."""
    with fleet_nodes.start(6, run_s=(0.05, 0.1), anonymous="trigger") as fleet:
        operator = Operator(fleet, tmp_path)
        operator.access = ("--port", str(fleet.port), "--plain-http", "--address-fact", "networking.ip")
        yield operator


def test_a_caller_who_may_not_read_runs_learns_their_ends_from_puppetdb(blind: Operator) -> None:
    ended = blind.run("--at-once", "2")
    assert (ended.status, ended.outcomes()) == (0, {"changed": 6})
    assert most_at_once(blind.json) == 2


def test_without_puppetdb_a_caller_who_may_not_read_runs_starts_no_more(blind: Operator) -> None:
    blind.access = blind.access[:-2]
    addresses = [node.address or "" for node in blind.fleet.nodes]
    ended = blind.run("--at-once", "2", "--puppetdb", "none", who=addresses)
    assert ended.status == 8 + 16
    assert ended.results.summary is not None
    assert "grant status" in str(ended.results.summary.stopped)
    assert sum(ended.runs.values()) <= 3


async def test_a_run_is_followed_anew_after_its_kept_connection_is_closed() -> None:
    """The listener was stopped between the two requests: a question about a run can be repeated."""
    heads: list[bytes] = []

    def response(head: bytes) -> bytes:
        body = b'{"message": "x", "run": "%s"}' % RUN.encode()
        kind = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        return b"HTTP/1.1 " + head + kind + body

    async def serve(stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await stream.readuntil(b"\r\n\r\n"))
        if heads[-1].startswith(b"GET"):
            writer.write(response(b"200 OK\r\nPuppet-Verdict: changed\r\n"))
            return
        writer.write(response(b"202 Accepted\r\n"))
        heads.append(await stream.readuntil(b"\r\n\r\n"))
        writer.transport.abort()

    async with at_the_port(serve) as port, NodeApi(Access(port), connections=1) as api:
        assert (await api.trigger(NODE, Ask(), keep=True)).run == RUN
        end = await asyncio.wait_for(Held(api, noop=False, timeout_s=60).end_of(NODE, RUN), LONGEST_S)
    assert isinstance(end, End) and end.outcome is Outcome.CHANGED
    assert [head.split()[0] for head in heads] == [b"POST", b"GET", b"GET"]
