"""The commands `disable` and `enable`: keep Puppet off many nodes for a while, with a reason."""

from __future__ import annotations

import time
from collections.abc import Sequence

from twitch.fleet import exits, loop
from twitch.fleet import options as groups
from twitch.fleet.node.answers import Answer
from twitch.fleet.node.api import NodeApi
from twitch.fleet.node_outcomes import NodeOutcome, of_error
from twitch.fleet.nodes import Node
from twitch.fleet.request import Request, add_options, send

# A request is quick, and costs a node one process of root's for an instant.
AT_ONCE = 50

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


def _until(answers: Sequence[Answer]) -> str:
    """Return until when nodes are disabled; the ends can differ, because other holds can be longer."""
    ends = [answer.disabled.until for answer in answers if answer.disabled and answer.disabled.until]
    if not ends:
        return ""
    first, last = (time.strftime("%Y-%m-%d %H:%M %z", time.localtime(end)) for end in (min(ends), max(ends)))
    return f" until {first}" if first == last else f" until {first} at least, {last} at most"


DISABLED = NodeOutcome("disabled", "disabled", names=False, suffix=_until)
RUNNING = NodeOutcome(
    "running", "disabled, but a run is still under way", status_after_wait=exits.UNCERTAIN, messages=False,
    suffix=_until,
)  # fmt: skip
ENABLED = NodeOutcome("enabled", "enabled", names=False)
HELD = NodeOutcome("held", "held by others", exits.FAILURES)
OUTCOMES = (DISABLED, RUNNING, ENABLED, HELD)


def disable(arguments: Sequence[str]) -> int:
    """Disable Puppet on nodes; return the exit status."""
    parser = groups.Parser("disable", DISABLE, EXIT_STATUS)
    add_options(parser, AT_ONCE)
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

    # A second request of the same caller replaces the first.
    request = Request("Disable Puppet on", ask, lambda answer: _outcome(answer, DISABLED), OUTCOMES, _details)
    return loop.run(send(request, options))


def enable(arguments: Sequence[str]) -> int:
    """Enable Puppet on nodes; return the exit status."""
    parser = groups.Parser("enable", ENABLE, EXIT_STATUS)
    add_options(parser, AT_ONCE)
    parser.add_argument("--force", action="store_true", help="lift the holds of others, too")
    options = parser.parse_args(arguments)
    options.wait = 0

    async def ask(api: NodeApi, node: Node) -> Answer:
        return await api.enable(node, force=options.force)

    request = Request("Enable Puppet on", ask, lambda answer: _outcome(answer, ENABLED), OUTCOMES, _details)
    return loop.run(send(request, options))


def _outcome(answer: Answer, good: NodeOutcome) -> NodeOutcome:
    by_status = {202: RUNNING, 200: good, 409: HELD}
    return by_status.get(answer.status) or of_error(answer)


def _details(answer: Answer) -> dict[str, object]:
    return {"until": answer.disabled.until if answer.disabled else None}
