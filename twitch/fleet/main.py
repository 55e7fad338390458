"""The command line of puppet-twitch-fleet: which command to run, and the exit status of an error."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Callable, Optional

from twitch.errors import TwitchError, UsageError
from twitch.fleet import exits
from twitch.fleet.notes import say

USAGE = """\
usage: puppet-twitch-fleet COMMAND [OPTION...] WHO

Puppet on many nodes, which all have puppet-twitch.

  run       run Puppet, so many nodes at once, and stop if too many fail
  plan      say what `run` would do, and how long it would take; starts nothing
  status    what Puppet is doing on each node
  disable   keep Puppet off the nodes for a while, with a reason
  enable    let Puppet run again
  cancel    stop the runs of an earlier `run`, or the run under way on each node
  log       Puppet's log of the runs under way, each line with its node
  show      the result of an earlier `run`

WHO is names of nodes, --nodes FILE, --query PQL, --from RESULT or --affected-by PATH. For example:

  puppet-twitch-fleet run --noop --query 'inventory[certname] { facts.os.name = "Debian" }'

puppet-twitch-fleet COMMAND --help says what options a command has, puppet-twitch-fleet --version the
version, and puppet-twitch-fleet(1) everything.
"""

# command -> its module, which is loaded for it alone, and the function in it: (arguments) -> exit status
COMMANDS = {
    "run": ("twitch.fleet.run.main", "main"),
    "plan": ("twitch.fleet.plan", "main"),
    "status": ("twitch.fleet.status", "main"),
    "disable": ("twitch.fleet.disabling", "disable"),
    "enable": ("twitch.fleet.disabling", "enable"),
    "cancel": ("twitch.fleet.cancelling", "main"),
    "log": ("twitch.fleet.log", "main"),
    "show": ("twitch.fleet.show.main", "main"),
}

# Packages that are not Python's own, and how to install them.
LIBRARIES = {"aiohttp", "rich"}
HOW_TO_INSTALL = "apt install python3-aiohttp python3-rich, or pip install aiohttp rich"

DEBUG = "PUPPET_TWITCH_DEBUG"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one of the commands and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _command(words)
        sys.stdout.flush()
        return status
    except TwitchError as error:
        say(str(error))
        return exits.NOTHING_STARTED
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in LIBRARIES:
            return _bug(error)
        say(f"the Python library {library} is missing: {HOW_TO_INSTALL}")
        return exits.NOTHING_STARTED
    except BrokenPipeError:
        # `| head` has read enough.
        _write_nowhere(1)
        return exits.BROKEN_PIPE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EIO:
            # A terminal that is closed (tty(4)); files of ours have errors of their own (ResultError).
            _write_nowhere(1, 2)
            return exits.HUNG_UP
        return _bug(error)


def _write_nowhere(*files: int) -> None:
    """Write the rest to nowhere: Python flushes its streams at the end, and would complain."""
    for file in files:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file)


def _bug(error: Exception) -> int:
    """Say that this program has an error; runs may have been started."""
    if os.environ.get(DEBUG) == "1":
        raise error
    say(f"an error in this program, please report it ({DEBUG}=1 shows more): {type(error).__name__}: {error}")
    return exits.UNCERTAIN


def _command(words: list[str]) -> int:
    name, options = (words[0], words[1:]) if words else ("", [])
    if name in COMMANDS:
        module, function = COMMANDS[name]
        command: Callable[[Sequence[str]], int] = getattr(import_module(module), function)
        return command(options)
    if words in (["--help"], ["-h"]):
        print(USAGE, end="")
    elif words == ["--version"]:
        import twitch

        print(f"puppet-twitch-fleet {twitch.__version__}")
    elif words:
        raise UsageError(f"{' '.join(words)}: not understood; see puppet-twitch-fleet --help")
    else:
        print(USAGE, end="", file=sys.stderr)
        return exits.NOTHING_STARTED
    return exits.OK


if __name__ == "__main__":
    sys.exit(main())
