"""`puppet-twitch cancel`: stop a run, and say what became of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from twitch import views, wording
from twitch.arguments import Parser
from twitch.caller import Caller
from twitch.cli import exits, finding, terminal
from twitch.cli.asking import ask
from twitch.cli.person import person
from twitch.cli.waiting import wait
from twitch.errors import TwitchError
from twitch.messages import CANCELLED, CURRENT, ENDED, FOREIGN, NO_RUN, Answer, Cancel, Status
from twitch.record_files import Records
from twitch.records import FINISHED

DESCRIPTION = """\
Tell the run under way to stop, or one in the queue. What Puppet has started, such as a package manager,
goes on. With --wait, say what became of the run, and what goes on.
"""
EXIT_STATUS = f"""\
Exit status: 0 if the run was told to stop (with --wait: and has ended), 1 if there is no such run, 3 if it
has ended before, or was not started by puppet-twitch (--force stops it all the same).
{exits.OF_ERRORS}"""

LOOK_S = 1.0


class NotCancelled(TwitchError):
    """The run goes on, or had ended before."""

    exit_code = exits.EX_NOT_ATTEMPTED


def main(arguments: Sequence[str]) -> int:
    """Tell a run to stop, and return 0."""
    parser = Parser("cancel", DESCRIPTION, EXIT_STATUS)
    which = f"{finding.HELP} (default: the run under way)"
    parser.add_argument("run", metavar="ID", nargs="?", default=CURRENT, help=which)
    parser.add_argument("--wait", action="store_true", help="wait for its end, and say what became of it")
    parser.add_argument("--force", action="store_true", help="also a run that puppet-twitch has not started")
    options = parser.parse_args(arguments)
    terminal.prepare()
    caller = person("cancel")
    records = Records()
    run = options.run
    if run != CURRENT:  # which names a run of Puppet's own, too
        record = finding.find(records, run)
        if record.state == FINISHED:
            raise NotCancelled(f"{wording.HAS_ENDED}: {wording.end(record)}")
        run = record.run
    answer = ask(Cancel(run, caller.name, caller.address, options.force))
    if answer.kind != CANCELLED:
        raise _refusal(answer, caller, records)
    if not options.wait:
        terminal.say(f"{wording.CANCELLING}: {answer.run}" if answer.run else wording.CANCELLING)
    elif answer.run:
        terminal.say(wording.cancelled(wait(records, answer.run), caller))
    else:
        _await_foreign(answer)
        terminal.say(wording.FOREIGN_ENDED)
    return exits.EX_GOOD


def _await_foreign(answer: Answer) -> None:
    """Wait until another process than that of the run is Puppet, or none."""
    pid = answer.status.pid if answer.status else None
    while (status := ask(Status()).status) and status.pid == pid:
        time.sleep(LOOK_S)


def _refusal(answer: Answer, caller: Caller, records: Records) -> TwitchError:
    if answer.kind == FOREIGN:
        return NotCancelled(wording.not_ours(answer.status, answer.reason, caller))
    if answer.kind == ENDED:
        record = records.read(answer.run) if answer.run else None
        return NotCancelled(f"{wording.HAS_ENDED}: {wording.end(record)}" if record else wording.HAS_ENDED)
    if answer.kind == NO_RUN:
        return finding.NoSuchRun(wording.NONE_UNDER_WAY)
    return TwitchError(views.why(wording.CANNOT_CANCEL, answer.reason, caller))
