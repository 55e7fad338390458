"""`puppet-twitch status`: what Puppet is doing, and what became of its last run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from twitch import durations, views, wording
from twitch.arguments import Parser
from twitch.cli import exits, terminal
from twitch.cli.asking import PATIENCE_S, ask
from twitch.cli.person import NotRoot, person
from twitch.errors import EX_NOPERM, TwitchError, UsageError
from twitch.messages import Status
from twitch.node_status import NodeStatus

MAX_AGE = "2h"
# A login waits for --brief.
BRIEF_PATIENCE_S = 5.0

DESCRIPTION = """\
Show what Puppet is doing on this node, whether it is disabled, and what became of its last run, started by
anyone. The words are those of /puppet/status.
"""
EXIT_STATUS = f"""\
Exit status: 0 whatever the state is; with --check, 1 if the node needs attention.
{exits.OF_ERRORS}"""


def main(arguments: Sequence[str]) -> int:
    """Print the status; return 1 with --check if the node needs attention, else 0."""
    parser = Parser("status", DESCRIPTION, EXIT_STATUS)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    form.add_argument(
        "--brief",
        action="store_true",
        help="for a login: print a line if Puppet is disabled, failing or stuck, else nothing",
    )
    parser.add_argument(
        "--check", action="store_true", help="for monitoring: exit 1 where /puppet/status?max_age= is 503"
    )
    parser.add_argument(
        "--max-age",
        metavar="TIME",
        default=MAX_AGE,
        help=f"with --check: how long ago the last run may have ended (default: {MAX_AGE})",
    )
    options = parser.parse_args(arguments)
    max_age_s = durations.seconds(options.max_age)
    if max_age_s is None:
        raise UsageError(f"--max-age must be {durations.FORM}")
    terminal.prepare()
    try:
        caller = person("status")
    except NotRoot:
        if options.brief:
            return EX_NOPERM  # every user has a login, and none but root can do anything
        raise
    answer = ask(Status(), BRIEF_PATIENCE_S if options.brief else PATIENCE_S)
    status = answer.status
    if status is None:
        raise TwitchError(views.why(wording.CANNOT_ASK, answer.reason, caller))
    complaint = wording.complaint(status, max_age_s, caller) if options.check else None
    if options.json:
        fields = views.status_fields(status, caller)
        terminal.say_json({**fields, "complaint": complaint} if options.check else fields)
    elif options.brief:
        brief = complaint or wording.trouble(status, caller)
        if brief:
            terminal.say(brief, *_words(status))
    else:
        terminal.say(complaint or wording.status_text(status, caller), *_words(status))
    return exits.EX_FAILED if complaint else exits.EX_GOOD


def _words(status: NodeStatus) -> tuple[Optional[str], ...]:
    return (status.state, status.last and status.last.verdict)
