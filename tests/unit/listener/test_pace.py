"""Steps in passes of the loop, and what they are for: a pipelining crowd does not hold a pass up."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.listener.test_room import QUICK, REQUEST, crowd
from twitch.listener import server
from twitch.listener.pace import Pace


async def test_steps_run_in_order_so_many_in_a_pass() -> None:
    pace, ran = Pace(2), []
    for number in range(5):
        pace(lambda number=number: ran.append(number))  # type: ignore[misc]
    counts = []
    for _ in range(4):
        await asyncio.sleep(0)
        counts.append(len(ran))
    assert counts == [2, 4, 5, 5]
    assert ran == [0, 1, 2, 3, 4]


async def test_step_that_fails_does_not_keep_the_next_ones_from_running() -> None:
    errors: list[object] = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: errors.append(context["exception"]))
    try:
        pace, ran = Pace(1), []

        def fail() -> None:
            raise RuntimeError("a fault of ours")

        pace(fail)
        pace(lambda: pace(lambda: ran.append("added by a step")))
        for _ in range(3):
            await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(handler)
    assert [str(error) for error in errors] == ["a fault of ours"]
    assert ran == ["added by a step"]


@pytest.mark.parametrize("pieces", [1, 2], ids=["whole", "in-two-pieces"])
async def test_new_connection_is_answered_before_the_crowd_that_pipelines(pieces: int) -> None:
    # In a pass, the crowd is answered a few requests; before, each of the crowd was answered one.
    count, requests, passes = 40, 200, 12
    async with crowd() as one:
        for number in range(count):
            await one.enter(f"192.0.2.{number}", REQUEST % b"/first")
        for client in one.held:
            client.sendall(QUICK * requests)
        while len(one.service.seen) < count + 20:
            await asyncio.sleep(0)
        before = len(one.service.seen)
        request = REQUEST % b"/good"
        client, _ = await one.enter("192.0.2.200", request[: len(request) // pieces])
        client.sendall(request[len(request) // pieces :] if pieces > 1 else b"")
        while not any(seen.target == "/good" for seen in one.service.seen[before:]):
            await asyncio.sleep(0)
        assert len(one.service.seen) - before <= passes * server.LATER_REQUESTS_AT_ONCE
        # The order of the crowd's own answers, and their number, are as ever.
        for client in one.held[:count]:
            answer = b""
            while answer.count(b"HTTP/1.1 200 ") < requests:
                answer += await asyncio.get_running_loop().sock_recv(client, 65536)
        assert one.service.drops == []
