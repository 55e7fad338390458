"""`puppet-twitch enable`: let Puppet run again."""

from __future__ import annotations

from collections.abc import Sequence

from twitch import wording
from twitch.arguments import Parser
from twitch.cli import exits, terminal
from twitch.cli.asking import ask
from twitch.cli.disable import refusal
from twitch.cli.person import person
from twitch.messages import ENABLED, Enable

DESCRIPTION = """\
Lift your own hold. While there are holds of others, Puppet stays disabled, and they are named; --force lifts
all holds, also one that a person has made with `puppet agent`.
"""
EXIT_STATUS = f"""\
Exit status: 0 if Puppet is enabled, or was, 3 if others still disable it.
{exits.OF_ERRORS}"""


def main(arguments: Sequence[str]) -> int:
    """Enable Puppet, and return 0."""
    parser = Parser("enable", DESCRIPTION, EXIT_STATUS)
    parser.add_argument("--force", action="store_true", help="lift the holds of others, too")
    options = parser.parse_args(arguments)
    terminal.prepare()
    caller = person("enable")
    answer = ask(Enable(caller.name, caller.address, options.force))
    if answer.kind != ENABLED:
        raise refusal(answer, caller, wording.CANNOT_ENABLE, "--force enables it all the same")
    terminal.say(wording.ENABLED)
    return exits.EX_GOOD
