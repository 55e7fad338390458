"""`puppet-twitch log`: what Puppet has logged in a run, or is logging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from twitch.arguments import Parser
from twitch.cli import exits, finding, following, terminal
from twitch.cli.following import Choice
from twitch.cli.person import person
from twitch.errors import UsageError
from twitch.log_lines import LEVELS
from twitch.log_packets import MAX_TAIL
from twitch.record_files import Records

DESCRIPTION = """\
Show what Puppet has logged in a run, in the format of Puppet's own log file. Lines that begin with `# ` are
puppet-twitch's; the last one is the verdict, or without -f says how far the run is.
"""
EXIT_STATUS = f"""\
Exit status: 0, or 1 if there is no such run or log. With -f, that of the run:
{exits.OF_A_RUN}
{exits.OF_ERRORS}"""


def main(arguments: Sequence[str]) -> int:
    """Print the log of a run; with -f, return the exit status for its verdict."""
    parser = Parser("log", DESCRIPTION, EXIT_STATUS)
    parser.add_argument("run", metavar="ID", nargs="?", help=finding.DEFAULT)
    parser.add_argument("-f", "--follow", action="store_true", help="go on to the end of the run")
    levels = f"this or a worse one: {' '.join(LEVELS)}"
    parser.add_argument("--level", metavar="LEVEL", choices=LEVELS, default=LEVELS[-1], help=levels)
    parser.add_argument("--tail", metavar="LINES", help="begin with only so many of the last lines")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, for programs")
    options = parser.parse_args(arguments)
    choice = Choice(options.level, _tail(options.tail), options.json)
    terminal.prepare()
    caller = person("log")
    records = Records()
    run = finding.find(records, options.run).run
    if options.follow:
        return following.follow(records, run, caller, choice)
    following.show(records, run, caller, choice)
    return exits.EX_GOOD


def _tail(text: Optional[str]) -> Optional[int]:
    if text is None:
        return None
    if not text.isdecimal() or int(text) > MAX_TAIL:
        raise UsageError(f"--tail must be a number of lines, at most {MAX_TAIL}")
    return int(text)
