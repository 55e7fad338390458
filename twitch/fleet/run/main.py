"""The command `run`, top to bottom: from its options to its exit status."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from twitch.fleet import exits, loop, question
from twitch.fleet.node.access import access
from twitch.fleet.node.api import NodeApi
from twitch.fleet.run import ending, introduction, job
from twitch.fleet.run.command_line import parse
from twitch.fleet.run.following import LOOKS_AT_ONCE, MAX_HELD
from twitch.fleet.run.invocation import Invocation
from twitch.fleet.run.outputs import Outputs
from twitch.fleet.servers import open_puppetdb, open_puppetservers
from twitch.fleet.who.choice import choose, of_options

NO_PUPPETDB = "Without a PuppetDB, no run is proven, and it is not known which nodes failed before."


def main(arguments: Sequence[str]) -> int:
    """Run Puppet on nodes; return the exit status."""
    return loop.run(_main(parse(arguments)))


async def _main(options: Namespace) -> int:
    how = access(options)
    job.take_over(options)
    ending.files(options).check()
    async with open_puppetdb(options) as database, open_puppetservers(options) as queues:
        chosen = await choose(of_options(options), database)
        todo = job.make(options, chosen, database, queues)
        looks = await queues.look() if queues is not None else []
        outputs = Outputs(options)
        for note in (*chosen.notes, *([NO_PUPPETDB] if database is None else [])):
            outputs.note(note)
        text = introduction.introduction(chosen, todo, looks, until=options.until)
        if question.must_ask(todo.nodes, options):
            if not question.agreed(f"{text} Start?", options):
                return exits.NOTHING_STARTED
        elif not options.quiet:
            outputs.note(text)
        async with NodeApi(how, connections=min(todo.plan.at_once, MAX_HELD) + LOOKS_AT_ONCE) as api:
            outputs.start(todo.plan, api.note)
            invocation = Invocation(options, todo, api, database, queues, outputs)
            try:
                status = await invocation.to_the_end()
            except BaseException:
                outputs.pause()  # so that the error can be read
                raise
        outputs.summary(invocation.summary(status))
        await ending.end(options, outputs, database)
        return status
