"""What is to be done: which nodes, in which order, what they are asked for, and what was done before."""

from __future__ import annotations

import random
import re
import secrets
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import NamedTuple, Optional

from twitch.fleet.events import Ask, Plan
from twitch.fleet.nodes import Node
from twitch.fleet.options import Share
from twitch.fleet.outcomes import Outcome
from twitch.fleet.puppetdb.client import PuppetDB
from twitch.fleet.puppetserver.queue import Queues
from twitch.fleet.run.ledger import NOTHING_EARLIER, Earlier
from twitch.fleet.run.resume import resume, resumes
from twitch.fleet.show.results import NodeResult, Results
from twitch.fleet.who.choice import Chosen

# A label of one invocation: 4,000,000,000 of them, and a node keeps its last 50 runs.
LABEL = "fleet-"
LABEL_BYTES = 4
OWN_LABEL = rf"{LABEL}[0-9a-f]{{{2 * LABEL_BYTES}}}"

MOST_SEEDS = 10**6

# What a resumed run takes from the plan of the earlier one, unless the option is there.
RESUMED = {
    "--at-once": "at_once",
    "--canary": "canary",
    "--max-failures": "max_failures",
    "--max-unreachable": "max_unreachable",
}


# And what is set as if the option were there: else two nodes of one cluster would be run at once.
OPTIONS = {
    "--one-per": "one_per",
    "--address-fact": "address_fact",
    "--count-old-failures": "count_old_failures",
    "--stop-on-surprise": "stop_on_surprise",
}


class Job(NamedTuple):
    """What is to be done."""

    plan: Plan
    nodes: list[Node]  # in the order of their turns
    label_is_unique: bool  # no run but those of this invocation, and of the one that it resumes, has it
    kept: Sequence[tuple[Node, NodeResult]] = ()  # nodes that have ended in an earlier invocation
    earlier: Earlier = NOTHING_EARLIER


def take_over(options: Namespace) -> None:
    """Set the options of the earlier run with which this one goes on, unless they are there."""
    if not resumes(options):
        return
    plan = options.result.results.plan
    for option, field in OPTIONS.items():
        if option not in options.given:
            setattr(options, field, getattr(plan, field))


def make(options: Namespace, chosen: Chosen, database: Optional[PuppetDB], queues: Optional[Queues]) -> Job:
    """Return what the options ask for: anew, or with --from and without --only further."""
    ask = Ask(options.noop, tuple(options.tags), options.environment, not options.no_queue, options.label)
    failed_before = frozenset(node.name for node in chosen.nodes if node.before and node.before.failed)
    result: Optional[Results] = options.result.results if options.result is not None else None
    if result is not None and database is None:
        failed_before = frozenset(node.name for node in result.having({Outcome.FAILED}))
    nodes, earlier = chosen.nodes, NOTHING_EARLIER
    kept: Sequence[tuple[Node, NodeResult]] = ()
    if result is not None and resumes(options):
        resumed = resume(result, chosen.nodes, ask, proves=database is not None)
        # PuppetDB's last runs are by now those of the earlier invocation.
        ask, nodes, kept, failed_before, earlier = resumed
    # An operator's own label may begin as ours do, and belong to many runs.
    unique = ask.label is None or (resumes(options) and re.fullmatch(OWN_LABEL, ask.label) is not None)
    ask = ask._replace(label=ask.label or LABEL + secrets.token_hex(LABEL_BYTES))
    servers = queues.urls if queues is not None else ()
    seed = options.seed if options.seed is not None else secrets.randbelow(MOST_SEEDS)
    plan = _plan(options, chosen, ask, seed, failed_before, database)._replace(puppetservers=servers)
    if resumes(options):
        assert result is not None and result.plan is not None, "read"
        same = {field for option, field in RESUMED.items() if option not in options.given}
        plan = plan._replace(**{field: getattr(result.plan, field) for field in same})
    return Job(
        plan,
        in_order(nodes, seed, earlier),
        unique,
        kept,
        earlier,
    )


def in_order(nodes: list[Node], seed: int, earlier: Earlier) -> list[Node]:
    """Return the nodes in random order, so that not all of one rack or customer come first.

    Nodes on which an earlier invocation has begun are the first, because their runs go on.
    """
    begun = earlier.nodes
    order = sorted(nodes, key=lambda node: node.name)
    random.Random(seed).shuffle(order)  # noqa: S311 - no secret
    return sorted(order, key=lambda node: node.name not in begun)


def _plan(
    options: Namespace,
    chosen: Chosen,
    ask: Ask,
    seed: int,
    failed_before: frozenset[str],
    database: Optional[PuppetDB],
) -> Plan:
    total = len(chosen.nodes)
    unreachable: Optional[Share] = options.max_unreachable
    return Plan(
        time=time.time(),
        nodes=tuple(node.name for node in chosen.nodes),
        ask=ask,
        who=chosen.who,
        at_once=max(1, options.at_once.at_least_one_of(total)),
        canary=options.canary.at_least_one_of(total),
        max_failures=options.max_failures.of(total),
        max_unreachable=None if unreachable is None else unreachable.of(total),
        seed=seed,
        puppetdb=database.url if database is not None else None,
        **{field: getattr(options, field) for field in OPTIONS.values()},
        failed_before=tuple(name for name in (node.name for node in chosen.nodes) if name in failed_before),
    )
