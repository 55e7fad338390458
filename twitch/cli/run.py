"""`puppet-twitch run`: what became of a run."""

from __future__ import annotations

from collections.abc import Sequence

from twitch import run_wording, views
from twitch.arguments import Parser
from twitch.caller import Caller
from twitch.cli import exits, finding, terminal
from twitch.cli.person import person
from twitch.cli.waiting import wait
from twitch.record_files import Records
from twitch.records import Record

DESCRIPTION = "Show what became of a run: its verdict and reason, and what it changed."
EXIT_STATUS = f"""\
Exit status: 0 whatever became of the run, 1 if there is no such run. With --wait, that of the run:
{exits.OF_A_RUN}
{exits.OF_ERRORS}"""


def main(arguments: Sequence[str]) -> int:
    """Print a run; with --wait, return the exit status for its verdict."""
    parser = Parser("run", DESCRIPTION, EXIT_STATUS)
    parser.add_argument("run", metavar="ID", nargs="?", help=finding.DEFAULT)
    parser.add_argument("--wait", action="store_true", help="wait for its end first")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    options = parser.parse_args(arguments)
    terminal.prepare()
    caller = person("run")
    records = Records()
    record = finding.find(records, options.run)
    if options.wait:
        record = wait(records, record.run)
    if options.json:
        terminal.say_json(views.run_fields(record, caller))
    else:
        say(record, caller)
    return exits.of(record) if options.wait else exits.EX_GOOD


def say(record: Record, caller: Caller) -> None:
    """Print a run as a text."""
    terminal.say(run_wording.run_text(record, caller), record.verdict)
