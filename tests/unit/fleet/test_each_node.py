"""One question to each of many nodes: so many at once, until the end, a stop, or an error."""

from __future__ import annotations

import asyncio

import pytest

from twitch.fleet.each_node import each
from twitch.fleet.nodes import Node
from twitch.fleet.stopping import Stop

NODES = [Node(f"web{number}") for number in range(10)]


async def test_every_node_is_asked_once_and_so_many_at_once() -> None:
    asked: list[str] = []
    now, most = 0, 0

    async def ask(node: Node) -> str:
        nonlocal now, most
        asked.append(node.name)
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return node.name.upper()

    answers = {node.name: answer async for node, answer in each(NODES, ask, at_once=3, stop=Stop())}
    assert answers == {node.name: node.name.upper() for node in NODES}
    assert sorted(asked) == sorted(node.name for node in NODES)
    assert most == 3


async def test_stop_asks_no_other_node_and_waits_for_those_under_way() -> None:
    stop = Stop()

    async def ask(node: Node) -> None:
        await asyncio.sleep(0)
        stop.stop("enough")

    answers = [node async for node, _ in each(NODES, ask, at_once=2, stop=stop)]
    assert answers == NODES[:2]


async def test_leaving_waits_for_nobody() -> None:
    stop = Stop()

    async def ask(node: Node) -> None:
        if node is NODES[0]:
            return
        stop.leave()
        await asyncio.Event().wait()

    assert [node async for node, _ in each(NODES, ask, at_once=2, stop=stop)] == NODES[:1]


async def test_error_ends_all_of_it() -> None:
    async def ask(node: Node) -> None:
        if node is NODES[1]:
            raise BrokenPipeError
        await asyncio.Event().wait()

    with pytest.raises(BrokenPipeError):
        async for _ in each(NODES, ask, at_once=3, stop=Stop()):
            pass


async def test_no_node() -> None:
    async def ask(node: Node) -> None:
        raise AssertionError

    assert [node async for node, _ in each([], ask, at_once=3, stop=Stop())] == []
