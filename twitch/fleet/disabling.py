"""The commands `disable` and `enable`: keep Puppet off many nodes for a while, with a reason."""

from __future__ import annotations

import asyncio
import json
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Callable, NamedTuple, Optional

from twitch.fleet import exits, loop, question
from twitch.fleet import options as groups
from twitch.fleet.each_node import each
from twitch.fleet.node.access import access
from twitch.fleet.node.answers import RESET, TIMEOUT, Answer, NotReached
from twitch.fleet.node.api import NodeApi
from twitch.fleet.nodes import Node
from twitch.fleet.notes import say
from twitch.fleet.servers import open_puppetdb
from twitch.fleet.show import folding
from twitch.fleet.show.brief import brief
from twitch.fleet.stopping import Stop, signals
from twitch.fleet.who.choice import choose, of_options

# What became of a node, as --json has it, and as people read it.
DISABLED, RUNNING, ENABLED, HELD = "disabled", "running", "enabled", "held"
REFUSED, FAILED, UNREACHABLE, NOT_ASKED = "refused", "failed", "unreachable", "not asked"
WORDS = {
    DISABLED: "disabled",
    RUNNING: "disabled, but a run is still under way",
    ENABLED: "enabled",
    HELD: "held by others",
    REFUSED: "refused",
    FAILED: "failed",
    UNREACHABLE: "unreachable",
    NOT_ASKED: "not asked",
}
AS_ASKED = frozenset({DISABLED, RUNNING, ENABLED})

# A request is quick, and costs a node one process of root's for an instant.
AT_ONCE = 50

# Both requests can be repeated: a second one of the same caller replaces the first.
TRIES = 3
RETRY_S = 2.0
MAX_RETRY_AFTER_S = 30.0

WIDTH = 100  # of a line with names

DISABLE = """\
Disable Puppet on many nodes, for every tool, until the time has passed: the reason, your name and the end
are in Puppet's own lock file on the node. A run that is under way goes on. To change the reason or the end,
disable again. `enable` ends it earlier.
"""
ENABLE = """\
Lift your own hold on many nodes. A node that has holds of others stays disabled, and is listed with the
reason; --force lifts all holds, also that of `puppet agent --disable` by hand.
"""
EXIT_STATUS = """\
Exit status, added up: 0 all nodes are as you have asked, 1 nothing was asked, 2 some are held by others,
refused it, or failed, 4 some are unreachable, 8 Ctrl-C: not every node was asked, 16 with --wait, a run is
still under way.
"""


class Done(NamedTuple):
    """What became of one node."""

    outcome: str
    message: str  # one line
    answer: Optional[Answer] = None


Ask = Callable[[NodeApi, Node], Awaitable[Answer]]


def disable(arguments: Sequence[str]) -> int:
    """Disable Puppet on nodes; return the exit status."""
    parser = _parser("disable", DISABLE)
    parser.add_argument(
        "--reason", metavar="TEXT", type=groups.reason, required=True, help="why: everybody will read it"
    )
    parser.add_argument(
        "--for", dest="hold_s", metavar="TIME", type=groups.duration,
        help="how long, such as 2h or 3d (as [disable] of each node says, normally 24h)",
    )  # fmt: skip
    parser.add_argument(
        "--wait", metavar="TIME", type=groups.duration, default=0, help="wait for the end of a run under way"
    )
    parser.add_argument("--force", action="store_true", help="also if another tool has disabled Puppet")
    options = parser.parse_args(arguments)

    async def ask(api: NodeApi, node: Node) -> Answer:
        return await api.disable(
            node, options.reason, hold_s=options.hold_s, force=options.force, wait_s=options.wait
        )

    return loop.run(_command(options, "Disable Puppet on", DISABLED, ask))


def enable(arguments: Sequence[str]) -> int:
    """Enable Puppet on nodes; return the exit status."""
    parser = _parser("enable", ENABLE)
    parser.add_argument("--force", action="store_true", help="lift the holds of others, too")
    options = parser.parse_args(arguments)
    options.wait = 0

    async def ask(api: NodeApi, node: Node) -> Answer:
        return await api.enable(node, force=options.force)

    return loop.run(_command(options, "Enable Puppet on", ENABLED, ask))


def _parser(command: str, description: str) -> groups.Parser:
    parser = groups.Parser(command, description, EXIT_STATUS)
    groups.add_who(parser)
    groups.add_as_whom(parser)
    groups.add_servers(parser)
    how = parser.add_argument_group("HOW")
    groups.add_at_once(how, AT_ONCE, "nodes")
    how.add_argument("--yes", action="store_true", help=f"do not ask before more than {question.MANY} nodes")
    how.add_argument("--json", action="store_true", help="print one JSON object a line, for programs")
    return parser


async def _command(options: Namespace, sentence: str, good: str, ask: Ask) -> int:
    how = access(options)
    async with open_puppetdb(options) as database:
        chosen = await choose(of_options(options), database)
    for note in chosen.notes:
        say(note)
    nodes, stop = chosen.nodes, Stop()
    text = f"{sentence} {len(nodes)} node{'' if len(nodes) == 1 else 's'} ({chosen.who})"
    if question.must_ask(nodes, options) and not question.agreed(f"{text}?", options):
        return exits.NOTHING_STARTED
    done: dict[str, Done] = {}
    asked: set[str] = set()

    async def ask_one(node: Node) -> Done:
        asked.add(node.name)
        return await _ask(api, node, good, ask)

    def is_done(node: Node, one: Done) -> None:
        done[node.name] = one
        if options.json:
            _print(line="node", time=round(time.time(), 3), node=node.name, **_fields(one))

    at_once = max(1, options.at_once.at_least_one_of(len(nodes)))
    async with NodeApi(how, connections=at_once) as api:
        if api.note:
            say(api.note)
        stop.on_first_interrupt = lambda: say("Interrupted: no other node is asked; once more to leave now")
        with signals(stop):
            say(f"{text}, {at_once} at once")
            async for node, one in each(nodes, ask_one, at_once=at_once, stop=stop):
                is_done(node, one)
    for node in nodes:
        if node.name not in done:
            is_done(node, _left(stop.reason or "interrupted", asked=node.name in asked))
    status = exit_status(done, waited=bool(options.wait))
    if options.json:
        outcomes = Counter(one.outcome for one in done.values())
        _print(line="summary", time=round(time.time(), 3), outcomes=outcomes, exit=status)
    else:
        print("\n".join(summary(done)))
    return status


async def _ask(api: NodeApi, node: Node, good: str, ask: Ask) -> Done:
    """Ask one node, again after an answer or a failure that passes by itself."""
    for tries in range(1, TRIES + 1):
        try:
            answer = await ask(api, node)
        except NotReached as error:
            if tries < TRIES and error.kind in (RESET, TIMEOUT):
                await asyncio.sleep(RETRY_S * tries)
                continue
            return Done(UNREACHABLE, str(error))
        if tries < TRIES and answer.status in (429, 503) and answer.retry_after_s is not None:
            await asyncio.sleep(min(answer.retry_after_s, MAX_RETRY_AFTER_S))
            continue
        # The node speaks of the parameter, and people have the option.
        return Done(_outcome(answer, good), answer.message.replace("force=true", "--force"), answer)
    raise AssertionError("the last try returns")


def _left(reason: str, *, asked: bool) -> Done:
    """Return what became of a node without an answer when the command leaves."""
    if asked:
        return Done(UNREACHABLE, f"asked, but {reason} before the answer; the node may do it all the same")
    return Done(NOT_ASKED, reason)


def _outcome(answer: Answer, good: str) -> str:
    if answer.status == 202:
        return RUNNING
    if answer.status == 200:
        return good
    if answer.status == 409:
        return HELD
    return REFUSED if 400 <= answer.status < 500 else FAILED


def exit_status(done: dict[str, Done], *, waited: bool) -> int:
    """Return the exit status for what became of the nodes."""
    outcomes = {one.outcome for one in done.values()}
    status = exits.OK
    status |= exits.FAILURES if outcomes & {HELD, REFUSED, FAILED} else 0
    status |= exits.UNREACHABLE if UNREACHABLE in outcomes else 0
    status |= exits.STOPPED if NOT_ASKED in outcomes else 0
    status |= exits.UNCERTAIN if waited and RUNNING in outcomes else 0
    return status


def summary(done: dict[str, Done]) -> list[str]:
    """Return the lines for people: how many nodes there are of each outcome, and which are not as asked."""
    lines = []
    for outcome, words in WORDS.items():
        some = {name: one for name, one in done.items() if one.outcome == outcome}
        if not some:
            continue
        lines.append(f"{len(some):>6} {words}{_until(some) if outcome in AS_ASKED else ''}")
        if outcome in (DISABLED, ENABLED):
            continue
        by_message: dict[str, list[str]] = {}
        for name, one in some.items():
            by_message.setdefault("" if outcome == RUNNING else brief(one.message), []).append(name)
        for message, names in by_message.items():
            who = folding.named(names, width=WIDTH)
            lines.append(f"       {who}{f': {message}' if message else ''}")
    return lines


def _until(done: dict[str, Done]) -> str:
    """Return until when nodes are disabled; the ends can differ, because other holds can be longer."""
    answers = [one.answer for one in done.values() if one.answer]
    ends = [answer.disabled.until for answer in answers if answer.disabled and answer.disabled.until]
    if not ends:
        return ""
    first, last = (time.strftime("%Y-%m-%d %H:%M %z", time.localtime(end)) for end in (min(ends), max(ends)))
    return f" until {first}" if first == last else f" until {first} at least, {last} at most"


def _fields(done: Done) -> dict[str, object]:
    """Return what JSON has of a node, without what is not known."""
    answer = done.answer
    until = answer.disabled.until if answer and answer.disabled else None
    fields = {
        "outcome": done.outcome,
        "status": answer.status if answer else None,
        "message": done.message,
        "run": answer.run if answer else None,
        "until": until,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _print(**fields: object) -> None:
    print(json.dumps(fields), flush=True)
