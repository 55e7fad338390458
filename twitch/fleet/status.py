"""The command `status`: what Puppet is doing on each of many nodes."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from twitch.fleet import exits, loop, options, states
from twitch.fleet.node.access import access
from twitch.fleet.node.api import NodeApi
from twitch.fleet.notes import say
from twitch.fleet.servers import open_puppetdb
from twitch.fleet.show.paint import Paint, paint_for
from twitch.fleet.states import NodeState
from twitch.fleet.who import choice

DESCRIPTION = "Show what Puppet is doing on each node."
EPILOG = """\
idle      no run is under way
running   a run is under way, or waits for one
disabled  Puppet is disabled
stuck     a run has taken longer than Puppet's own runtimeout allows
silent    idle, and the last run ended more than a week ago
refused   the node does not show its status to this caller
unreachable  the node does not answer

Exit status: 0, or 4 if a node is unreachable or refuses.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    return loop.run(_main(parse(arguments)))


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options."""
    parser = options.Parser("status", DESCRIPTION, EPILOG)
    options.add_who_and_how_to_look(parser)
    parser.add_argument("--count", action="store_true", help="show only the numbers")
    return parser.parse_args(arguments)


async def _main(given: Namespace) -> int:
    how = access(given)
    async with open_puppetdb(given) as database:
        chosen = await choice.choose(choice.of_options(given), database)
    for note in chosen.notes:
        say(note)
    async with NodeApi(how, connections=min(len(chosen.nodes), states.AT_ONCE)) as api:
        found = await states.states_of(api, chosen.nodes, states.terminal())
    if given.json:
        print(json.dumps(fields(found, count=given.count)))
    else:
        print(text(found, paint_for(sys.stdout), count=given.count), end="")
    counts = states.counted(found)
    out_of_reach = counts.get(states.UNREACHABLE, 0) + counts.get(states.REFUSED, 0)
    return exits.UNREACHABLE if out_of_reach else exits.OK


def fields(found: Sequence[NodeState], *, count: bool) -> dict[str, Any]:
    """Return the states as an object; its fields are in puppet-twitch-fleet(1)."""
    numbers: dict[str, Any] = {"time": time.time(), "counts": states.counted(found)}
    return numbers if count else {**numbers, "nodes": [_node(one) for one in found]}


def _node(one: NodeState) -> dict[str, Any]:
    status = one.status
    disabled = status.disabled if status else None
    values = {
        "node": one.node.name,
        "state": one.state,
        "why": one.why,
        "run": status.run if status else None,
        "phase": status.phase if status else None,
        "elapsed_s": status.elapsed_s if status else None,
        "disabled": disabled._asdict() if disabled else None,
        "last": status.last._asdict() if status and status.last else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def text(found: Sequence[NodeState], paint: Paint, *, count: bool) -> str:
    """Return the states as text: the numbers, and then the nodes that are not idle."""
    counts = states.counted(found)
    # The nodes of the other states are below, with the reasons.
    idle = [] if count else [one.node.name for one in found if one.state == states.IDLE]
    blocks = [
        [
            states.count_line(number, _coloured(state, paint), idle if state == states.IDLE else ())
            for state, number in counts.items()
        ]
    ]
    for state in counts if not count else ():
        if state != states.IDLE:
            title = f"{state}: {counts[state]:,} node{'s' if counts[state] != 1 else ''}"
            blocks.append([paint.bold(title), *states.section(found, state, paint.width)])
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _coloured(state: str, paint: Paint) -> str:
    if state in (states.STUCK, states.UNREACHABLE, states.REFUSED):
        return paint.red(state)
    return paint.yellow(state) if state in (states.DISABLED, states.SILENT) else state
