"""`puppet-twitch runs`: the last runs, in a table."""

from __future__ import annotations

from collections.abc import Sequence

from twitch import views, wording
from twitch.arguments import Parser
from twitch.cli import exits, terminal
from twitch.cli.person import person
from twitch.errors import UsageError
from twitch.record_files import Records
from twitch.records import FINISHED

SHOWN = 20

DESCRIPTION = "Show the last runs, the newest first. Other commands take the first column as the id of a run."
EXIT_STATUS = f"Exit status: 0, also without a run.\n{exits.OF_ERRORS}"


def main(arguments: Sequence[str]) -> int:
    """Print the runs, and return 0."""
    parser = Parser("runs", DESCRIPTION, EXIT_STATUS)
    parser.add_argument(
        "-n", metavar="NUMBER", default=str(SHOWN), help=f"at most so many (default: {SHOWN})"
    )
    parser.add_argument("--failed", action="store_true", help="only those that are not complete")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    options = parser.parse_args(arguments)
    if not options.n.isdecimal() or int(options.n) == 0:
        raise UsageError("-n must be a number of runs, such as 5")
    terminal.prepare()
    caller = person("runs")
    records = Records().newest()
    if options.failed:
        records = [record for record in records if record.state == FINISHED and not record.good]
    records = records[: int(options.n)]
    if options.json:
        terminal.say_json({"runs": [views.run_fields(record, caller) for record in records]})
    elif not records:
        terminal.say(wording.NO_SUCH_RUNS if options.failed else wording.NO_RUNS)
    else:
        lines = wording.runs_text(records, caller).split("\n")
        terminal.say_table(lines, (None, *(record.verdict for record in records)))
    return exits.EX_GOOD
