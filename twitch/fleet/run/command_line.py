"""The options of `run`, and what does not go together."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from typing import Optional

from twitch.errors import UsageError
from twitch.fleet import options as groups
from twitch.fleet import question
from twitch.fleet.run.resume import resumes

DESCRIPTION = "Run Puppet on many nodes, so many at once, and stop if too many fail."
EPILOG = """\
Percentages are of all nodes, not of a batch. Exit status, added up: 2 more failures than --max-failures,
4 more unreachable than --max-unreachable, 8 not every node was run, 16 unproven, late or lost; with
--exit-pending 32 if a noop run would change something; 1 if nothing was started; if the
runs under way are not followed to their ends, 130 after a second Ctrl-C, 143 SIGTERM, 129 SIGHUP.
"""

FOLLOW = ("nodes", "puppetdb")


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options; raises UsageError."""
    parser = groups.Parser("run", DESCRIPTION, EPILOG)
    groups.add_who(parser)
    groups.add_how(parser)
    parser.add_argument(
        "--exit-pending",
        action="store_true",
        help="with --noop, add 32 to the exit status if there are changes",
    )
    parser.add_argument(
        "--follow",
        choices=FOLLOW,
        help="learn of the ends of runs by connections to the nodes (up to 500 at once), or from PuppetDB",
    )
    groups.add_how_far(parser)
    groups.add_where_to(parser)
    groups.add_as_whom(parser)
    groups.add_servers(parser)
    options = parser.parse_args(arguments)
    # Which options are there: with --from, the others are those of the earlier invocation (see job.py).
    options.given = frozenset(word.partition("=")[0] for word in arguments if word.startswith("--"))
    _check(options)
    return options


def one_per(options: Namespace) -> tuple[Optional[str], Optional[int]]:
    """Return the fact of --one-per, and how many nodes with one value of it may run at once."""
    if options.one_per is None:
        return None, None
    found = re.fullmatch(r"([^=\s]+?)(?:=([1-9][0-9]{0,5}))?", options.one_per)
    if found is None:
        raise UsageError("--one-per is a fact such as facts.cluster, or with a number: facts.cluster=2")
    return found[1], int(found[2] or 1)


def _check(options: Namespace) -> None:
    one_per(options)
    # A run that is resumed has the --noop of the earlier one.
    if options.exit_pending and not options.noop and not resumes(options):
        raise UsageError("--exit-pending is for --noop")
    if options.confirm and options.canary.number == 0:
        raise UsageError("--confirm asks after the canaries, so it needs --canary")
    if options.stop_on_surprise and options.canary.number == 0:
        raise UsageError("--stop-on-surprise compares with the canaries, so it needs --canary")
    if options.confirm and not question.can_ask(options):
        raise UsageError("--confirm asks a question, and there is no terminal")
    if options.follow == "puppetdb" and options.puppetdb == groups.NONE:
        raise UsageError("--follow puppetdb needs a PuppetDB")
