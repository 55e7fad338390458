from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Optional

import pytest

from tests.unit.loops import run
from twitch.fleet.nodes import Node
from twitch.fleet.run.window import Window


def nodes(*names: str, group: Optional[str] = None) -> list[Node]:
    return [Node(name, group=group) for name in names]


class Turns:
    """Takes turns in a task, so that a test sees who has one, and frees the slots."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.names: list[str] = []
        self._nodes: dict[str, Node] = {}
        self._task = asyncio.get_running_loop().create_task(self._take())

    async def _take(self) -> None:
        async for node in self.window.turns():
            self.names.append(node.name)
            self._nodes[node.name] = node

    async def settle(self) -> list[str]:
        """Let the window give all turns that it can; return all that it has given so far."""
        for _ in range(10):
            await asyncio.sleep(0)
        return self.names

    async def free(self, *names: str) -> list[str]:
        for name in names:
            self.window.free(self._nodes[name])
        return await self.settle()

    async def back(self, name: str, delay_s: float = 0) -> None:
        self.window.to_the_back(self._nodes[name], delay_s)

    async def end(self) -> None:
        await asyncio.wait_for(self._task, 60)


def test_only_so_many_nodes_have_a_slot_at_once() -> None:
    async def scene() -> None:
        turns = Turns(Window(nodes("a", "b", "c", "d"), at_once=2))
        assert await turns.settle() == ["a", "b"]
        assert await turns.free("b") == ["a", "b", "c"]
        assert await turns.free("a", "c") == ["a", "b", "c", "d"]
        await turns.free("d")
        await turns.end()

    run(scene())


def test_a_slot_that_is_freed_twice_is_one_slot() -> None:
    async def scene() -> None:
        turns = Turns(Window(nodes("a", "b", "c"), at_once=1))
        await turns.settle()
        assert await turns.free("a", "a") == ["a", "b"]
        await turns.free("b")
        await turns.free("c")
        await turns.end()

    run(scene())


def test_a_busy_node_goes_to_the_back_and_holds_no_slot() -> None:
    async def scene() -> None:
        turns = Turns(Window(nodes("busy", "b", "c"), at_once=1))
        await turns.settle()
        await turns.back("busy")
        assert await turns.settle() == ["busy", "b"]
        await turns.free("b")
        await turns.free("c")
        while turns.names != ["busy", "b", "c", "busy"]:
            await asyncio.sleep(0)
        await turns.free("busy")
        await turns.end()

    run(scene())


def test_the_window_waits_for_a_busy_node_that_is_the_only_one_left() -> None:
    async def scene() -> None:
        turns = Turns(Window(nodes("busy"), at_once=5))
        await turns.settle()
        await turns.back("busy", 0.01)
        while turns.names != ["busy", "busy"]:
            await asyncio.sleep(0)
        await turns.free("busy")
        await turns.end()

    run(scene())


def test_one_per_group_holds_back_its_other_nodes_and_nobody_else() -> None:
    async def scene() -> None:
        order = [*nodes("a1", "a2", "a3", group="a"), *nodes("b1", "b2", group="b"), *nodes("c")]
        turns = Turns(Window(order, at_once=10, per_group=1))
        assert await turns.settle() == ["a1", "b1", "c"]
        assert (await turns.free("a1"))[3:] == ["a2"]
        assert (await turns.free("b1", "a2"))[4:] == ["a3", "b2"]
        await turns.free("a3", "b2", "c")
        await turns.end()

    run(scene())


def test_two_per_group_are_two_at_once() -> None:
    async def scene() -> None:
        turns = Turns(Window(nodes("1", "2", "3", group="a"), at_once=10, per_group=2))
        assert await turns.settle() == ["1", "2"]
        assert await turns.free("2") == ["1", "2", "3"]
        await turns.free("1", "3")
        await turns.end()

    run(scene())


def test_a_busy_node_frees_the_place_of_its_group() -> None:
    async def scene() -> None:
        turns = Turns(Window(nodes("1", "2", group="a"), at_once=10, per_group=1))
        await turns.settle()
        await turns.back("1")
        assert await turns.settle() == ["1", "2"]
        await turns.free("2")
        while turns.names != ["1", "2", "1"]:
            await asyncio.sleep(0)
        await turns.free("1")
        await turns.end()

    run(scene())


def test_the_window_follows_what_the_puppetservers_can_take() -> None:
    async def scene() -> None:
        limit = 1
        window = Window(nodes("a", "b", "c", "d"), at_once=10, limit=lambda: limit)
        turns = Turns(window)
        assert await turns.settle() == ["a"]
        limit = 3
        window.look_again()
        assert await turns.settle() == ["a", "b", "c"]
        limit = 1
        assert await turns.free("a", "b") == ["a", "b", "c"], "the one that runs is as many as may"
        assert await turns.free("c") == ["a", "b", "c", "d"]
        await turns.free("d")
        await turns.end()

    run(scene())


@pytest.mark.parametrize("limit", [0, -3])
def test_the_window_never_stands_still(limit: int) -> None:
    async def scene() -> None:
        turns = Turns(Window(nodes("a"), at_once=10, limit=lambda: limit))
        assert await turns.settle() == ["a"]
        await turns.free("a")
        await turns.end()

    run(scene())


def names(found: Sequence[Node]) -> list[str]:
    return sorted(node.name for node in found)


def test_a_closed_window_gives_no_turn_and_ends_with_the_last_slot() -> None:
    async def scene() -> None:
        order = [*nodes("a1", "a2", group="a"), *nodes("busy", "b", "c")]
        window = Window(order, at_once=3, per_group=1)
        turns = Turns(window)
        assert await turns.settle() == ["a1", "busy", "b"]
        await turns.back("busy", 60)
        window.close()
        assert await turns.free("b") == ["a1", "busy", "b"]
        assert names(window.left()) == ["a2", "busy", "c"]
        assert await turns.free("a1") == ["a1", "busy", "b"]
        await turns.end()
        assert window.left() == []

    run(scene())


def test_nodes_whose_runs_go_on_have_slots_at_once_even_if_nothing_more_is_started() -> None:
    async def scene() -> None:
        window = Window(nodes("a", "b", "c", "d"), at_once=1, begun={"c", "b"})
        turns = Turns(window)
        assert await turns.settle() == ["b", "c"]
        assert await turns.free("b") == ["b", "c"]
        assert await turns.free("c") == ["b", "c", "a"]
        await turns.free("a")
        await turns.free("d")
        await turns.end()

        closed = Window(nodes("a", "b"), at_once=1, begun={"b"})
        closed.close()
        turns = Turns(closed)
        assert await turns.settle() == ["b"]
        await turns.free("b")
        await turns.end()
        assert names(closed.left()) == ["a"]

    run(scene())
