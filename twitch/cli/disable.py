"""`puppet-twitch disable`: keep Puppet off this node for a while, with a reason."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Optional

from twitch import config, durations, views, wording
from twitch.arguments import Parser
from twitch.caller import Caller
from twitch.cli import exits, terminal
from twitch.cli.asking import ask
from twitch.cli.person import person
from twitch.errors import TwitchError, UsageError
from twitch.messages import DISABLED, HELD, REASON, Answer, Disable, Status
from twitch.node_status import NodeStatus

EVER = "ever"

DESCRIPTION = """\
Disable Puppet on this node, for every tool, until the time has passed: the reason, your name and the end are
in Puppet's own lock file. A run that is under way goes on. To change the reason or the end, disable again.
"""
EXIT_STATUS = f"""\
Exit status: 0 if Puppet is disabled (with --wait: and no run is under way), 3 if another tool has disabled
it, whose lock --force adds to.
{exits.OF_ERRORS}"""

# A run that we did not start is seen by asking root.
LOOK_S = 1.0


class Held(TwitchError):
    """Others have disabled Puppet, and it stays as it is."""

    exit_code = exits.EX_NOT_ATTEMPTED


def main(arguments: Sequence[str]) -> int:
    """Disable Puppet, and return 0."""
    parser = Parser("disable", DESCRIPTION, EXIT_STATUS)
    parser.add_argument("reason", metavar="REASON", help="why: a text or a ticket, as everybody will read it")
    parser.add_argument(
        "--for",
        dest="hold",
        metavar="TIME",
        help=f"how long, such as 2h or 3d; {EVER}: without an end (default: as [disable] default says)",
    )
    parser.add_argument("--wait", action="store_true", help="wait for the end of the run under way")
    parser.add_argument("--force", action="store_true", help="also if another tool has disabled Puppet")
    options = parser.parse_args(arguments)
    if not re.fullmatch(REASON, options.reason):
        raise UsageError("REASON must be a text of 1 to 200 characters on one line")
    terminal.prepare()
    caller = person("disable")
    until = _until(options.hold)
    answer = ask(Disable(caller.name, caller.address, options.reason, until, options.force))
    if answer.kind != DISABLED:
        raise refusal(answer, caller, wording.CANNOT_DISABLE, "--force adds a hold to that")
    terminal.say(wording.disabled_until(until, caller), DISABLED)
    if _is_busy(answer.status):
        if not options.wait:
            terminal.say("A Puppet run is still under way; --wait waits for its end")
        else:
            _await_quiet()
    return exits.EX_GOOD


def refusal(answer: Answer, caller: Caller, sentence: str, force: str) -> TwitchError:
    """Return the error that says why Puppet stays as it is."""
    if answer.kind == HELD:
        return Held(f"{wording.held(answer.status, answer.reason, caller)}; {force}")
    return TwitchError(views.why(sentence, answer.reason, caller))


def _until(hold: Optional[str]) -> Optional[int]:
    """Return when the hold ends, in epoch seconds; None if never."""
    if hold == EVER:
        return None
    hold_s = config.load().disable_s if hold is None else durations.seconds(hold)
    if not hold_s:
        raise UsageError(f"--for must be {durations.FORM}, or {EVER}")
    return int(time.time()) + hold_s


def _await_quiet() -> None:
    while _is_busy(ask(Status()).status):
        time.sleep(LOOK_S)


def _is_busy(status: Optional[NodeStatus]) -> bool:
    return status is not None and bool(status.run or status.pid)
