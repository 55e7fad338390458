"""The command `log`: what Puppet logs on several nodes, one line each with the node before it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Optional

from twitch import durations
from twitch.errors import UsageError
from twitch.fields import FieldError, Fields
from twitch.fleet import exits, loop
from twitch.fleet import options as groups
from twitch.fleet.each_node import each
from twitch.fleet.node.access import access
from twitch.fleet.node.answers import RUN_ID, LogLine, NotReached
from twitch.fleet.node.api import CURRENT, END, LAST, NodeApi, Refusal
from twitch.fleet.nodes import Node
from twitch.fleet.notes import say
from twitch.fleet.servers import open_puppetdb
from twitch.fleet.show.brief import brief
from twitch.fleet.stopping import Stop, signals
from twitch.fleet.who.choice import choose, of_options
from twitch.texts import escape, one_line

DESCRIPTION = """\
Show what Puppet has logged in a run of each node, in the format of Puppet's own log file, with the name of
the node before each line. Without --run that is the run under way, or else the last one; with --from the run
that the result has of each node, and no other one. Lines that begin with `# ` are puppet-twitch's. This needs
the grant logs.
"""
EXIT_STATUS = """\
Exit status, added up: 0 all logs were shown, 1 nothing was asked, 2 some have no log, or refused it, or with
-f some runs failed, 4 some nodes are unreachable, 8 Ctrl-C: not every log was shown to its end.
"""

LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
GOOD = ("unchanged", "changed")

# Without -f, logs are printed one after the other; with it, each followed node holds a connection.
AT_ONCE, FOLLOWED = 20, 500

SHOWN, BAD, UNREACHABLE = "shown", "bad", "unreachable"


def main(arguments: Sequence[str]) -> int:
    """Print logs; return the exit status."""
    return loop.run(show(parse(arguments)))


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options; raises `UsageError`."""
    parser = groups.Parser("log", DESCRIPTION, EXIT_STATUS)
    groups.add_who(parser)
    parser.add_argument("--run", metavar="ID", help="the run with this id; current; or last")
    parser.add_argument("-f", "--follow", action="store_true", help="go on to the ends of the runs")
    parser.add_argument(
        "--level", choices=LEVELS, metavar="LEVEL", help=f"this or a worse one: {' '.join(LEVELS)}"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, for programs")
    groups.add_as_whom(parser)
    groups.add_servers(parser)
    options = parser.parse_args(arguments)
    if options.run is not None and options.run not in (CURRENT, LAST) and not RUN_ID.fullmatch(options.run):
        raise UsageError("--run must be the id of a run (32 digits), current, or last")
    return options


async def show(options: Namespace) -> int:
    """Print the logs of the nodes that the options choose; return the exit status."""
    how = access(options)
    async with open_puppetdb(options) as database:
        chosen = await choose(of_options(options), database)
    for note in chosen.notes:
        say(note)
    at_once = FOLLOWED if options.follow else AT_ONCE
    if options.follow and len(chosen.nodes) > FOLLOWED:
        say(f"{FOLLOWED} logs are followed at once; the next one begins when one of these ends")
    stop = Stop()
    stop.on_first_interrupt = stop.leave  # nothing is lost: the runs go on, and their logs stay
    outcomes: dict[str, str] = {}
    async with NodeApi(how, connections=at_once) as api:
        if api.note:
            say(api.note)
        logs = _Logs(api, options, chosen.nodes)
        with signals(stop):
            async for node, outcome in each(chosen.nodes, logs.show, at_once=at_once, stop=stop):
                outcomes[node.name] = outcome
    status = exits.FAILURES if BAD in outcomes.values() else exits.OK
    status |= exits.UNREACHABLE if UNREACHABLE in outcomes.values() else 0
    return status | (exits.STOPPED if len(outcomes) < len(chosen.nodes) else 0)


class _Logs:
    """Prints the logs of nodes: followed ones as their lines come, others each as a whole."""

    def __init__(self, api: NodeApi, options: Namespace, nodes: Sequence[Node]) -> None:
        self._api = api
        self._follow: bool = options.follow
        self._level: Optional[str] = options.level
        self._json: bool = options.json
        self._run: Optional[str] = options.run
        results = options.result.results.nodes if options.result is not None else {}
        self._runs = {name: node.run for name, node in results.items()}
        self._printing = asyncio.Lock()

    async def show(self, node: Node) -> str:
        """Print the log of a node, and return what became of that."""
        if self._run is None and node.name in self._runs and self._runs[node.name] is None:
            # Another run of the node would be taken for that of the result.
            _print(self._trouble(node, "the result has no run of this node"))
            return BAD
        lines: list[str] = []
        verdict: Optional[str] = None
        try:
            async for line in self._lines(node):
                if line.event == END:
                    verdict = str(line.fields.get("verdict"))
                lines += self._shown(node, line)
                if self._follow:
                    _print(lines)
                    lines = []
        except NotReached as error:
            lines += self._trouble(node, str(error))
            outcome = BAD if isinstance(error, Refusal) else UNREACHABLE
        else:
            outcome = BAD if self._follow and verdict not in GOOD else SHOWN
        _print(lines)
        return outcome

    async def _lines(self, node: Node) -> AsyncIterator[LogLine]:
        run = self._run or self._runs.get(node.name)
        if run is None:
            with contextlib.suppress(_NoRun):
                async for line in self._of_run(node, CURRENT):
                    yield line
                return
            run = LAST
        async for line in self._of_run(node, run):
            yield line

    async def _of_run(self, node: Node, run: str) -> AsyncIterator[LogLine]:
        try:
            async for line in self._api.log(node, run, follow=self._follow, level=self._level):
                yield line
        except Refusal as error:
            if run == CURRENT and self._run is None and error.answer.status == 404:
                raise _NoRun from error
            raise

    def _shown(self, node: Node, line: LogLine) -> list[str]:
        if self._json:
            return [json.dumps({**line.fields, "node": node.name})]  # a node speaks for itself alone
        return [f"{node.name}: {text}" for text in text_of(line).split("\n")]

    def _trouble(self, node: Node, text: str) -> list[str]:
        if self._json:
            return [json.dumps({"node": node.name, "event": "error", "message": text})]
        return [f"{node.name}: # {brief(text)}"]


class _NoRun(Exception):
    """No run is under way."""


def text_of(line: LogLine) -> str:
    """Return a line as the node shows it, with times in the zone of this machine."""
    if line.event is None:
        head = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(line.time or 0))
        message = escape(line.message).replace("\n", "\n  ")
        return f"{head} {one_line(line.source or '')} ({one_line(line.level or '')}): {message}"
    fields = line.fields
    if line.event == END:
        words = [fields.get("verdict") or "ended", fields.get("reason"), fields.get("error")]
        return f"# {one_line(': '.join(str(word) for word in words if word))}"
    if line.event == "state":
        return f"# {one_line(_state(fields))}"
    if line.event == "no-log":
        return f"# no log: {one_line(str(fields.get('reason', 'no reason is known')))}"
    return f"# {one_line(line.message or line.event)}"


def _state(event: Mapping[str, Any]) -> str:
    state, resources = str(event.get("phase") or event.get("state") or "under way"), event.get("resources")
    parts = [f"{state} {resources} resources" if isinstance(resources, int) else state]
    doing = event.get("doing")
    age = _duration(doing.get("age_s")) if isinstance(doing, dict) else None
    usual, elapsed = _duration(event.get("usual_s")), _duration(event.get("elapsed_s"))
    parts += [f"{doing.get('name')} for {age}"] if isinstance(doing, dict) and age else []
    parts += [f"usually {usual}"] if usual else []
    text = "; ".join(parts)
    return f"{elapsed}: {text}" if elapsed else text


def _duration(value: object) -> Optional[str]:
    """Return a duration for people; None if the node has sent no number, or an impossible one."""
    try:
        seconds_s = Fields({"s": value}).optional_number("s")
    except FieldError:
        return None
    return None if seconds_s is None else durations.shown(seconds_s)


def _print(lines: list[str]) -> None:
    if lines:
        print("\n".join(lines), flush=True)
