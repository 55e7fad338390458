"""Which command to run, and the exit status that an error becomes. The only file that imports every side."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import NoReturn, Optional

from twitch.errors import EX_UNAVAILABLE, EX_USAGE, TwitchError, UsageError

USAGE = """\
usage: puppet-twitch COMMAND [OPTION...]

Puppet runs on this node, over HTTP (port 2023) and from its command line.

As root, on the node:

  status    what Puppet is doing, and how its last run has ended
  runs      the last runs
  run       the last run, or the one whose id follows
  log       its log; -f follows it to the end
  trigger   start a run; --wait waits for its end, --follow shows its log
  cancel    stop the run under way, or the one whose id follows
  disable   keep Puppet off this node for a while, with a reason
  enable    let Puppet run again
  metrics   print the metrics of this node; --output writes them to a file for node_exporter

Many nodes:

  fleet     run Puppet on many nodes, from any machine; the same as puppet-twitch-fleet

Setting it up:

  check     look at this node's setup, and show what is wrong and how to fix it
  token     make a new token for a caller over HTTP
  listen    answer HTTP in the foreground, for debugging. Normally systemd does so:
            systemctl enable --now puppet-twitch.socket
  handle, conclude, read-log, watch, expire
            started by systemd: root's part of a run, the reader of its log, what looks at the runs
            that Puppet has started itself, and the end of a time in which Puppet is disabled

puppet-twitch COMMAND --help says what options a command has, puppet-twitch --version the version,
and puppet-twitch(1) everything. What happened so far: journalctl -u 'puppet-twitch*'
"""

LISTEN = """\
usage: puppet-twitch listen [--bind ADDRESS] [--port PORT] [--idle-exit TIME] [--debug]

Answer HTTP on the sockets that systemd or systemd-socket-activate passes; with --bind or --port on
a socket of its own, in the foreground, for debugging. It exits after 30 seconds without a
connection (--idle-exit), in the foreground never. --debug, or PUPPET_TWITCH_DEBUG=1 in the
environment, logs each step.
"""

# Commands that systemd starts, without options of their own.
INTERNAL = ("handle", "conclude", "read-log", "watch", "expire")

# The commands of a person at the node: a module of twitch/cli/ each.
CLI = ("status", "runs", "run", "log", "trigger", "cancel", "disable", "enable", "metrics")


# The operator's side, which needs no node's side, and is a package of its own.
FLEET = "puppet-twitch-fleet"
HOW_TO_INSTALL_FLEET = "install the package of this name, or in the clone: pip install '.[fleet]'"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one of the commands and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _command(words)
    except TwitchError as error:
        from twitch.texts import escape

        # It may quote what another user of the node has written, such as Puppet's lock file.
        print(f"puppet-twitch: {escape(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _command(words: list[str]) -> int:
    # Each command imports only what it needs: a cold start is part of the answer's time.
    name, options = (words[0], words[1:]) if words else ("", [])
    help_wanted = options in (["--help"], ["-h"])
    if name in ("listen", "handle", "conclude", "watch", "expire"):
        # Nothing that is imported is garbage: 2 to 4 ms of CPU. The listener enables it before it serves, and
        # root's processes become Puppet or end.
        gc.disable()
    if name == "listen" and not help_wanted:
        from twitch.listener import main as listen

        return listen.main(options)
    if name == "handle" and not options:
        from twitch.root import handler

        handler.main()
        _end()
    elif name == "conclude" and not options:
        from twitch.root import after

        after.main()
        _end()
    elif name == "read-log" and not options:
        from twitch.log import reader

        reader.main()
    elif name == "watch" and not options:
        from twitch.root import watch

        watch.main()
        _end()
    elif name == "expire" and not options:
        from twitch.root import expiry_timer

        expiry_timer.main()
        _end()
    elif name == "token":
        from twitch.listener import tokens

        return tokens.main(options)
    elif name == "check":
        from twitch.check import main as check

        return check.main(options)
    elif name == "fleet":
        return _fleet(options)
    elif name in CLI:
        from importlib import import_module

        code: int = import_module(f"twitch.cli.{name}").main(options)
        return code
    elif words == ["--version"]:
        import twitch

        print(f"puppet-twitch {twitch.__version__}")
    elif name == "listen":
        print(LISTEN, end="")
    elif words in (["--help"], ["-h"]) or (name in INTERNAL and help_wanted):
        print(USAGE, end="")
    elif words:
        raise UsageError(f"{' '.join(words)}: not understood; see puppet-twitch --help")
    else:
        print(USAGE, end="", file=sys.stderr)
        return EX_USAGE
    return 0


def _end() -> NoReturn:
    """End this process of root's side now.

    Python would free every module first: 6 ms of CPU after a status, 4 at the end of a run's conclude. No
    file is open, because everything is written within a `with`.
    """
    import os

    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _fleet(options: list[str]) -> int:
    """Become puppet-twitch-fleet, as git becomes git-lfs; return an exit status if it is not installed.

    It has a package of its own, so it is looked for beside this command, and in PATH.
    """
    import os
    import shutil

    beside = os.path.dirname(os.path.abspath(sys.argv[0]))
    program = shutil.which(FLEET, path=os.pathsep.join((beside, os.environ.get("PATH", os.defpath))))
    if program is None:
        print(f"puppet-twitch: {FLEET} is not installed; {HOW_TO_INSTALL_FLEET}", file=sys.stderr)
        return EX_UNAVAILABLE
    sys.stdout.flush()
    os.execv(program, (program, *options))


if __name__ == "__main__":
    sys.exit(main())
