"""The command `plan`: the nodes that would be run, their state, and how long it would take."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from statistics import mean
from typing import Any, NamedTuple, Optional

from twitch import durations
from twitch.fleet import exits, loop, options, states
from twitch.fleet.node.access import access
from twitch.fleet.node.api import NodeApi
from twitch.fleet.nodes import Node
from twitch.fleet.puppetserver import settings
from twitch.fleet.puppetserver.forecast import Forecast, forecast
from twitch.fleet.puppetserver.queue import Look, Queues, ServerQueue, jrubies, name
from twitch.fleet.servers import open_puppetdb
from twitch.fleet.show.folding import few, named
from twitch.fleet.show.paint import Paint, paint_for
from twitch.fleet.states import INDENT, NodeState
from twitch.fleet.who import choice
from twitch.fleet.who.choice import Chosen

DESCRIPTION = "Show which nodes `run` would run, their state, and how long it would take. Starts nothing."


class Plan(NamedTuple):
    """What is known before anything starts."""

    chosen: Chosen
    at_once: int
    states: Optional[list[NodeState]]  # None: the nodes were not asked
    servers: list[Look]
    puppetdb: Optional[str]
    depth: Optional[int]  # of the queue of PuppetDB

    @property
    def forecast(self) -> Optional[Forecast]:
        """Return what the puppetservers can do."""
        return forecast(self.servers)

    @property
    def run_s(self) -> Optional[float]:
        """Return how long a run takes, as far as nodes say so."""
        lengths = [length for one in self.states or () for length in [one.duration_s] if length]
        return mean(lengths) if lengths else None

    @property
    def shortest_s(self) -> Optional[float]:
        """Return how long all runs take at the earliest: by the servers, and by --at-once."""
        number = len(self.chosen.nodes)
        by_servers = self.forecast.shortest_s(number) if self.forecast else None
        by_window = self.run_s * max(1.0, number / self.at_once) if self.run_s else None
        return max((length for length in (by_servers, by_window) if length is not None), default=None)


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    return loop.run(_main(parse(arguments)))


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options."""
    parser = options.Parser("plan", DESCRIPTION)
    options.add_who_and_how_to_look(parser)
    options.add_at_once(parser, options.AT_ONCE, "runs")
    parser.add_argument("--no-nodes", action="store_true", help="do not ask the nodes for their state")
    return parser.parse_args(arguments)


async def _main(given: Namespace) -> int:
    how = None if given.no_nodes else access(given)
    async with open_puppetdb(given) as database:
        chosen = await choice.choose(choice.of_options(given), database)
        depth = await database.queue_depth() if database is not None else None
    found = None
    if how is not None:
        async with NodeApi(how, connections=min(len(chosen.nodes), states.AT_ONCE)) as api:
            found = await states.states_of(api, chosen.nodes, states.terminal())
    async with Queues(settings.of_options(given)) as queues:
        servers = await queues.look()
    at_once = given.at_once.at_least_one_of(len(chosen.nodes))
    plan = Plan(chosen, at_once, found, servers, database.url if database is not None else None, depth)
    if given.json:
        print(json.dumps(fields(plan)))
    else:
        print(text(plan, paint_for(sys.stdout)), end="")
    return exits.OK


# ---- as text


def text(plan: Plan, paint: Paint) -> str:
    """Return the plan as text."""
    number = len(plan.chosen.nodes)
    blocks = [
        [paint.bold(f"{number:,} node{'s' if number != 1 else ''} ({plan.chosen.who})"), *_numbers(plan)],
        *(_section(plan, state, paint) for state in states.STATES if state != states.IDLE),
        _names("failed last time", failed_before(plan), paint),
        _names("silent for a week, by PuppetDB", silent(plan), paint),
        [*_servers(plan), *_length(plan)],
        [paint.yellow(note) for note in plan.chosen.notes],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _numbers(plan: Plan) -> list[str]:
    counts = states.counted(plan.states or ())
    counts.update({"failed last time": len(failed_before(plan))})
    idle = [one.node.name for one in plan.states or () if one.state == states.IDLE]
    lines = [
        states.count_line(count, what, idle if what == states.IDLE else ())
        for what, count in counts.items()
        if count
    ]
    left_out: dict[str, list[str]] = {}
    for name_, why in plan.chosen.left_out:
        left_out.setdefault(why, []).append(name_)
    return [
        *_not_asked(plan),
        *lines,
        *(states.count_line(len(names), f"left out: {why}", names) for why, names in left_out.items()),
    ]


def _not_asked(plan: Plan) -> list[str]:
    """Return the names of a few nodes that are in no state, because they were not asked."""
    names = few([node.name for node in plan.chosen.nodes]) if plan.states is None else ""
    return [INDENT + names] if names and names != plan.chosen.who else []


def _section(plan: Plan, state: str, paint: Paint) -> list[str]:
    lines = states.section(plan.states or (), state, paint.width)
    return [paint.bold(state), *lines] if lines else []


def _names(title: str, nodes: Sequence[Node], paint: Paint) -> list[str]:
    if not nodes:
        return []
    names = named([node.name for node in nodes], width=paint.width - len(INDENT) - 20)
    return [paint.bold(title), f"{len(nodes):>8,}  {names}"]


def failed_before(plan: Plan) -> list[Node]:
    """Return the nodes whose last run failed."""
    return [node for node in plan.chosen.nodes if node.before is not None and node.before.failed]


def silent(plan: Plan) -> list[Node]:
    """Return the nodes without a report for a week. Nodes that were asked are in their own section."""
    if plan.states is not None:
        return []
    oldest = time.time() - states.SILENT_S
    before = ((node, node.before.reported if node.before else None) for node in plan.chosen.nodes)
    return [node for node, reported in before if reported is not None and reported < oldest]


def _servers(plan: Plan) -> list[str]:
    lines = []
    for look in plan.servers:
        if isinstance(look, ServerQueue):
            waiting = f"{look.waiting} wait, oldest {look.oldest_s:.0f} s" if look.waiting else "none waits"
            lines.append(f"{name(look.url)}: {jrubies(look.jrubies)}, {look.free} free; {waiting}")
        else:
            lines.append(f"The queue of {name(look.url)} cannot be read: {look.why}")
    if not plan.servers:
        lines.append("No puppetserver is known, so the queue is not watched; see --puppetserver")
    if plan.puppetdb is None:
        lines.append("No PuppetDB is known, so runs are not proven; see --puppetdb")
    elif plan.depth:
        lines.append(f"PuppetDB ({plan.puppetdb}): {plan.depth:,} commands in its queue")
    return lines


def _length(plan: Plan) -> list[str]:
    lines = []
    capacity = plan.forecast
    if capacity is not None and capacity.runs_per_minute and capacity.jruby_s:
        lines.append(
            f"A run needs a JRuby for {capacity.jruby_s:.1f} s, so the servers can do "
            f"{capacity.runs_per_minute:,.0f} runs a minute"
        )
    if plan.run_s is not None:
        lines.append(f"A run takes {durations.shown(plan.run_s)} on a node; {plan.at_once:,} at once")
    shortest_s = plan.shortest_s
    if shortest_s is None:
        return [*lines, "It is not known how long all of them take"]
    return [*lines, f"All of them take {durations.shown(shortest_s)} at the earliest"]


# ---- JSON


def fields(plan: Plan) -> dict[str, Any]:
    """Return the plan as an object; its fields are in puppet-twitch-fleet(1)."""
    capacity = plan.forecast
    found = {one.node.name: one for one in plan.states or ()}
    return {
        "time": time.time(),
        "who": plan.chosen.who,
        "at_once": plan.at_once,
        "counts": states.counted(plan.states) if plan.states is not None else None,
        "nodes": [_node(node, found.get(node.name)) for node in plan.chosen.nodes],
        "left_out": dict(plan.chosen.left_out),
        "notes": list(plan.chosen.notes),
        "puppetdb": plan.puppetdb,
        "puppetdb_queue": plan.depth,
        "puppetservers": [look._asdict() for look in plan.servers],
        "runs_per_minute": capacity.runs_per_minute if capacity else None,
        "shortest_s": plan.shortest_s,
    }


def _node(node: Node, state: Optional[NodeState]) -> dict[str, Any]:
    values = {
        "node": node.name,
        "address": node.address,
        "state": state.state if state else None,
        "why": state.why if state else None,
        "last": node.before._asdict() if node.before else None,
    }
    return {key: value for key, value in values.items() if value is not None}
