"""One request to one node: when it is sent again, and what becomes of the node without an answer."""

from __future__ import annotations

from typing import Union, cast

import pytest

from twitch.fleet import request
from twitch.fleet.node.answers import GARBAGE, RESET, TIMEOUT, Answer, NotReached
from twitch.fleet.node.api import NodeApi
from twitch.fleet.node_outcomes import FAILED, UNREACHABLE, Done, NodeOutcome
from twitch.fleet.nodes import Node
from twitch.fleet.request import TRIES, Request

DONE = NodeOutcome("done", "done")
GOOD, BUSY = Answer(200, "done"), Answer(503, "try again", retry_after_s=0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "RETRY_S", 0.0)


async def ask(*answers: Union[Answer, NotReached], repeatable: bool = True) -> tuple[Done, int]:
    """Ask a node that answers so; return what became of it, and how many times it was asked."""
    asked = 0

    async def answer(api: NodeApi, node: Node) -> Answer:
        nonlocal asked
        asked += 1
        found = answers[asked - 1]
        if isinstance(found, NotReached):
            raise found
        return found

    def outcome(answer: Answer) -> NodeOutcome:
        return DONE if answer.status == 200 else FAILED

    what = Request("Ask", answer, outcome, (DONE,), lambda answer: {}, repeatable=repeatable)
    return await request.ask_node(cast(NodeApi, None), Node("web1"), what), asked


def broken(*, sent: bool, kind: str = RESET) -> NotReached:
    return NotReached("the connection was reset", kind, sent=sent)


async def test_request_is_repeated_where_that_does_no_more() -> None:
    assert await ask(broken(sent=True), GOOD) == (Done(DONE, "done", GOOD), 2)
    assert await ask(broken(sent=True, kind=TIMEOUT), BUSY, GOOD) == (Done(DONE, "done", GOOD), 3)


async def test_request_is_repeated_only_a_few_times() -> None:
    done, asked = await ask(*[broken(sent=True)] * TRIES)
    assert (done, asked) == (Done(UNREACHABLE, "the connection was reset"), TRIES)
    assert await ask(*[BUSY] * TRIES) == (Done(FAILED, "try again", BUSY), TRIES)
    assert (await ask(broken(sent=True, kind=GARBAGE)))[1] == 1


async def test_request_that_may_have_arrived_is_not_repeated_if_it_could_do_more() -> None:
    done, asked = await ask(broken(sent=True), GOOD, repeatable=False)
    assert (done.outcome, asked) == (UNREACHABLE, 1)
    assert done.message == "the connection was reset; the node may have done it all the same"
    assert await ask(broken(sent=False), BUSY, GOOD, repeatable=False) == (Done(DONE, "done", GOOD), 3)
