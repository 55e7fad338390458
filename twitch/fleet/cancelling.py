"""The command `cancel`: stop the runs of a result, or the run under way on each of many nodes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from twitch.errors import UsageError
from twitch.fleet import exits, loop
from twitch.fleet import options as groups
from twitch.fleet.node.answers import Answer
from twitch.fleet.node.api import CURRENT, NodeApi
from twitch.fleet.node_outcomes import Done, NodeOutcome, of_error
from twitch.fleet.nodes import Node
from twitch.fleet.notes import say
from twitch.fleet.open_runs import open_runs
from twitch.fleet.request import Request, add_options, send

# No run should wait for its turn to be stopped, and with --wait each holds a connection up to its end.
AT_ONCE = 500

DESCRIPTION = """\
Stop the runs of an earlier `run` (--from RESULT): those that have no end in the result, under way or in the
queue of their node, and no run of anybody else. With names, --nodes, --query or --affected-by instead, stop
the run under way on each node, if puppet-twitch has started it. Puppet sends its report and ends; the
processes that it has started go on, and --wait shows them. End a `run` that goes on with Ctrl-C before.
This needs the grant cancel.
"""
EXIT_STATUS = """\
Exit status, added up: 0 all runs were told to stop, or there was none, 1 nothing was asked, 2 some runs were
not started by puppet-twitch, or nodes have refused it, or failed, 4 some are unreachable, 8 Ctrl-C: not
every node was asked, 16 a run may go on: the result has no id of it, or with --wait, it is not over yet.
"""

CANCELLED = NodeOutcome("cancelled", "cancelled")
TOLD = NodeOutcome(
    "told to stop", "told to stop, and not over yet", status_after_wait=exits.UNCERTAIN, messages=False
)
NOTHING = NodeOutcome("nothing to cancel", "nothing to cancel")
NOT_OURS = NodeOutcome("not ours", "not started by puppet-twitch, and not cancelled", exits.FAILURES)
IN_DOUBT = NodeOutcome("in doubt", "asked for a run, without an answer; not cancelled", exits.UNCERTAIN)
OUTCOMES = (CANCELLED, TOLD, NOTHING, NOT_OURS, IN_DOUBT)

# The verdicts of a run that was stopped, or that was taken out of the queue.
STOPPED = frozenset({"interrupted", "not attempted"})

# What a node says when there is no run (twitch/wording.py). A node without this command answers 404, too.
NO_RUN = ("No Puppet run is under way", "No such run")


def main(arguments: Sequence[str]) -> int:
    """Cancel runs; return the exit status."""
    options = parse(arguments)
    return loop.run(send(_of_nodes(options) if options.result is None else _of_result(options), options))


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options; raises `UsageError`."""
    parser = groups.Parser("cancel", DESCRIPTION, EXIT_STATUS)
    add_options(parser, AT_ONCE)
    parser.add_argument(
        "--wait", metavar="TIME", type=groups.duration, default=0, help="wait for the ends of the runs"
    )
    parser.add_argument(
        "--force", action="store_true", help="without --from, also runs that puppet-twitch has not started"
    )
    options = parser.parse_args(arguments)
    if options.result is not None:
        if options.node or options.nodes or options.query or options.affected_by:
            raise UsageError(
                "--from cancels the runs of the result alone, so names, --nodes, --query and --affected-by "
                "do not go with it"
            )
        if options.force:
            raise UsageError("--from cancels only runs that the result names, so --force does not go with it")
    return options


def _of_nodes(options: Namespace) -> Request:
    """Return the request for the run under way."""

    async def ask(api: NodeApi, node: Node) -> Answer:
        return await api.cancel(node, CURRENT, force=options.force, wait_s=options.wait)

    # A second request could stop the run that has begun after the first one.
    return Request("Cancel the run under way on", ask, outcome_of, OUTCOMES, _details, repeatable=False)


def _of_result(options: Namespace) -> Request:
    """Return the request for the runs of a result; raises `ResultError`."""
    results = options.result.results
    if results.summary is None:
        say("The result has no end: its `run` was killed, or starts more runs until Ctrl-C")
    if options.address_fact is None and results.plan is not None:
        options.address_fact = results.plan.address_fact
    if options.address_fact is None:
        # PuppetDB would only have said which nodes failed before, and it may be overloaded by the runs.
        options.puppetdb = groups.NONE
    runs, in_doubt = open_runs(results)

    async def ask(api: NodeApi, node: Node) -> Answer:
        return await api.cancel(node, runs[node.name], wait_s=options.wait)

    known = {
        name: Done(IN_DOUBT, "the result has no id of a run")
        if name in in_doubt
        else Done(NOTHING, "the result has no run there that goes on")
        for name in results.nodes
        if name not in runs
    }
    return Request("Cancel the run of the result on", ask, outcome_of, OUTCOMES, _details, known=known)


def outcome_of(answer: Answer) -> NodeOutcome:
    """Return what an answer says of the run."""
    if answer.status == 200:
        # Without a verdict, the run was not one of puppet-twitch (--force).
        return CANCELLED if answer.verdict in (None, *STOPPED) else NOTHING
    if answer.status == 202:
        return TOLD
    if answer.status == 409:
        return NOTHING if answer.run else NOT_OURS
    if answer.status == 404 and answer.message.startswith(NO_RUN):
        return NOTHING
    return of_error(answer)


def _details(answer: Answer) -> dict[str, object]:
    left = answer.record.left_running if answer.record else ()
    return {
        "verdict": answer.verdict,
        "left_running": [process._asdict() for process in left] or None,
    }
