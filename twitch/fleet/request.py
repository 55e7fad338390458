"""A command that asks many nodes for one thing: a question before it, and one outcome for each node."""

from __future__ import annotations

import asyncio
import json
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from typing import Callable, NamedTuple

from twitch.fleet import exits, question
from twitch.fleet import options as groups
from twitch.fleet.each_node import each
from twitch.fleet.node.access import Access, access
from twitch.fleet.node.answers import RESET, TIMEOUT, Answer, NotReached
from twitch.fleet.node.api import NodeApi
from twitch.fleet.node_outcomes import (
    NOT_ASKED,
    UNREACHABLE,
    Done,
    NodeOutcome,
    exit_status,
    summary,
)
from twitch.fleet.nodes import Node
from twitch.fleet.notes import say
from twitch.fleet.servers import open_puppetdb
from twitch.fleet.stopping import Stop, signals
from twitch.fleet.who.choice import choose, of_options

TRIES = 3
RETRY_S = 2.0
MAX_RETRY_AFTER_S = 30.0


class Request(NamedTuple):
    """What each node is asked for, and what its answer means."""

    sentence: str  # "Disable Puppet on"
    ask: Callable[[NodeApi, Node], Awaitable[Answer]]
    outcome: Callable[[Answer], NodeOutcome]
    outcomes: tuple[NodeOutcome, ...]  # of this request alone, in the order of the summary
    details: Callable[[Answer], Mapping[str, object]]  # what --json also has; None: not known
    repeatable: bool = True  # whether a second request does no more than the first
    known: Mapping[str, Done] = {}  # nodes that need not be asked


def add_options(parser: groups.Parser, at_once: int) -> None:
    """Add the options of all these commands: who, as whom, and how many nodes at once."""
    groups.add_who(parser)
    groups.add_as_whom(parser)
    groups.add_servers(parser)
    how = parser.add_argument_group("HOW")
    groups.add_at_once(how, at_once, "nodes")
    how.add_argument("--yes", action="store_true", help=f"do not ask before more than {question.MANY} nodes")
    how.add_argument("--json", action="store_true", help="print one JSON object a line, for programs")


async def send(request: Request, options: Namespace) -> int:
    """Ask the nodes that the options choose, and print what became of each; return the exit status."""
    how = access(options)
    async with open_puppetdb(options) as database:
        chosen = await choose(of_options(options), database)
    for note in chosen.notes:
        say(note)
    nodes = [node for node in chosen.nodes if node.name not in request.known]
    text = f"{request.sentence} {len(nodes)} node{'' if len(nodes) == 1 else 's'} ({chosen.who})"
    if question.must_ask(nodes, options) and not question.agreed(f"{text}?", options):
        return exits.NOTHING_STARTED
    done: dict[str, Done] = {}

    def is_done(node: Node, one: Done) -> None:
        done[node.name] = one
        if options.json:
            _print(line="node", time=round(time.time(), 3), node=node.name, **_fields(one, request))

    for node in chosen.nodes:
        if node.name in request.known:
            is_done(node, request.known[node.name])
    if nodes:
        at_once = max(1, options.at_once.at_least_one_of(len(nodes)))
        await _ask_all(request, nodes, how, at_once, text, is_done)
    status = exit_status(done.values(), waited=bool(options.wait))
    if options.json:
        outcomes = Counter(one.outcome.name for one in done.values())
        _print(line="summary", time=round(time.time(), 3), outcomes=outcomes, exit=status)
    else:
        print("\n".join(summary(done, request.outcomes)))
    return status


async def _ask_all(
    request: Request,
    nodes: Sequence[Node],
    how: Access,
    at_once: int,
    text: str,
    is_done: Callable[[Node, Done], None],
) -> None:
    """Ask the nodes, so many at once; call `is_done` with what became of each, also after Ctrl-C."""
    stop = Stop()
    stop.on_first_interrupt = lambda: say("Interrupted: no other node is asked; once more to leave now")
    asked: set[str] = set()
    answered: set[str] = set()

    async def ask_one(node: Node) -> Done:
        asked.add(node.name)
        return await ask_node(api, node, request)

    async with NodeApi(how, connections=at_once) as api:
        if api.note:
            say(api.note)
        with signals(stop):
            say(f"{text}, {at_once} at once")
            async for node, one in each(nodes, ask_one, at_once=at_once, stop=stop):
                answered.add(node.name)
                is_done(node, one)
    for node in nodes:
        if node.name not in answered:
            is_done(node, _left(stop.reason or "interrupted", asked=node.name in asked))


async def ask_node(api: NodeApi, node: Node, request: Request) -> Done:
    """Ask one node, again after an answer or a failure that passes by itself."""
    for tries in range(1, TRIES + 1):
        try:
            answer = await request.ask(api, node)
        except NotReached as error:
            if error.sent and not request.repeatable:
                return Done(UNREACHABLE, f"{error}; the node may have done it all the same")
            if tries < TRIES and error.kind in (RESET, TIMEOUT):
                await asyncio.sleep(RETRY_S * tries)
                continue
            return Done(UNREACHABLE, str(error))
        if tries < TRIES and answer.status in (429, 503) and answer.retry_after_s is not None:
            await asyncio.sleep(min(answer.retry_after_s, MAX_RETRY_AFTER_S))
            continue
        # The node speaks of the parameter, and people have the option.
        return Done(request.outcome(answer), answer.message.replace("force=true", "--force"), answer)
    raise AssertionError("the last try returns")


def _left(reason: str, *, asked: bool) -> Done:
    """Return what became of a node without an answer when the command leaves."""
    if asked:
        return Done(UNREACHABLE, f"asked, but {reason} before the answer; the node may do it all the same")
    return Done(NOT_ASKED, reason)


def _fields(done: Done, request: Request) -> dict[str, object]:
    """Return what JSON has of a node, without what is not known."""
    answer = done.answer
    fields = {
        "outcome": done.outcome.name,
        "status": answer.status if answer else None,
        "message": done.message,
        "run": answer.run if answer else None,
        **(request.details(answer) if answer else {}),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _print(**fields: object) -> None:
    print(json.dumps(fields), flush=True)
