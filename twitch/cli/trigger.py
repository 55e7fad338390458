"""`puppet-twitch trigger`: start a run, or put it into the queue."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Optional

from twitch import views, wording
from twitch.arguments import Parser
from twitch.caller import Caller
from twitch.cli import exits, terminal
from twitch.cli.asking import ask
from twitch.cli.following import Choice, follow
from twitch.cli.person import person
from twitch.cli.run import say
from twitch.cli.waiting import wait
from twitch.errors import TwitchError, UsageError
from twitch.messages import (
    BUSY,
    DISABLED,
    ENVIRONMENT,
    ENVIRONMENT_FORM,
    FULL,
    LABEL,
    LABEL_FORM,
    MAX_TAGS,
    TAG,
    TAGS_FORM,
    Answer,
    Run,
)
from twitch.record_files import Records
from twitch.wording import MIN_DIGITS

DESCRIPTION = """\
Start a Puppet run on this node, as /puppet/twitch does, without the port and without the cooldown. It prints
the id of the run.
"""
EXIT_STATUS = f"""\
Exit status: 0 if the run has begun or waits in the queue, 1 if Puppet cannot be started, 3 if Puppet is
running, disabled, or the queue is taken. With --wait or --follow, that of the run:
{exits.OF_A_RUN}
{exits.OF_ERRORS}"""


class Refused(TwitchError):
    """The request did not become a run, because the node does something else."""

    exit_code = exits.EX_NOT_ATTEMPTED


def main(arguments: Sequence[str]) -> int:
    """Ask for a run; return the exit status for the answer, or for the verdict if it is waited for."""
    parser = Parser("trigger", DESCRIPTION, EXIT_STATUS)
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--wait", action="store_true", help="wait for the end of the run, and show it")
    end.add_argument("--follow", action="store_true", help="show the log of the run, to its end")
    parser.add_argument("--queue", action="store_true", help="if Puppet is running, start the run afterwards")
    parser.add_argument("--noop", action="store_true", help="change nothing, and show what would change")
    parser.add_argument("--tags", metavar="A,B", help="apply only resources with these tags")
    parser.add_argument("--label", metavar="TEXT", help="a name for the run, such as that of a ticket")
    parser.add_argument("--environment", metavar="NAME", help="the environment of the puppetserver")
    options = parser.parse_args(arguments)
    tags = _tags(options.tags)
    if options.environment is not None and not re.fullmatch(ENVIRONMENT, options.environment):
        raise UsageError(f"--environment must be {ENVIRONMENT_FORM}")
    if options.label is not None and not re.fullmatch(LABEL, options.label):
        raise UsageError(f"--label must be {LABEL_FORM}")
    terminal.prepare()
    caller = person("trigger")
    answer = ask(_question(options, tags, caller))
    if answer.kind not in wording.ACCEPTED or answer.run is None:
        raise _refusal(answer, caller)
    again = f"puppet-twitch log -f {answer.run[:MIN_DIGITS]}"
    try:
        print(f"{wording.ACCEPTED[answer.kind]} {answer.run}", flush=True)
        if options.follow:
            return follow(Records(), answer.run, caller, Choice())
        if not options.wait:
            terminal.hint(f"To follow its log: {again}")
            return exits.EX_GOOD
        record = wait(Records(), answer.run)
    except KeyboardInterrupt:
        print(f"The run goes on; to follow its log: {again}", file=sys.stderr)
        raise
    say(record, caller)
    return exits.of(record)


def _question(options: argparse.Namespace, tags: tuple[str, ...], caller: Caller) -> Run:
    return Run(
        caller=caller.name,
        client=caller.address,
        named=True,
        noop=options.noop,
        tags=tags,
        environment=options.environment,
        queue=options.queue,
        label=options.label,
    )


def _tags(text: Optional[str]) -> tuple[str, ...]:
    tags = () if text is None else tuple(text.split(","))
    if len(tags) > MAX_TAGS or not all(re.fullmatch(TAG, tag) for tag in tags):
        raise UsageError(f"--tags must be {TAGS_FORM}")
    return tags


def _refusal(answer: Answer, caller: Caller) -> TwitchError:
    """Return the error that says why the request did not become a run, and what to do about it."""
    if answer.kind in (BUSY, FULL):
        record = Records().read(answer.run) if answer.run else None
        text = wording.busy(answer.run, record, answer.status, caller)
        return Refused(f"{text}; to start a run afterwards: --queue" if answer.kind == BUSY else text)
    if answer.kind == DISABLED:
        disabled = answer.status.disabled if answer.status else None
        own = disabled is not None and all(hold.caller == caller.name for hold in disabled.holds)
        enable = f"puppet-twitch enable{'' if own else ' --force'}"
        return Refused(f"{views.disabled(answer.reason, caller)}; to lift this: {enable}")
    return TwitchError(views.why(wording.CANNOT_START, answer.reason, caller))
