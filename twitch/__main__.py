"""Which command to run, and the exit code that an error becomes. The only file that imports every side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Optional

from twitch.errors import EX_USAGE, TwitchError, UsageError

USAGE = """\
usage: puppet-twitch listen [--bind ADDRESS] [--port PORT] [--idle-exit TIME] [--debug]
       puppet-twitch token [--expires YYYY-MM-DD] NAME
       puppet-twitch check [--json] [--quiet] [--config FILE]
       puppet-twitch --version

Trigger a Puppet run on this node over HTTP. Normally systemd starts everything:

  systemctl enable --now puppet-twitch.socket
  curl http://localhost:2023/puppet/twitch
  journalctl -u 'puppet-twitch*'

listen    answer HTTP on the sockets that systemd or systemd-socket-activate passes; with --bind
          or --port on a socket of its own, in the foreground, for debugging. It exits after 30
          seconds without a connection (--idle-exit), in the foreground never. --debug, or
          PUPPET_TWITCH_DEBUG=1 in the environment, logs each step
token     make a new token: it is shown once, with the line for /etc/puppet-twitch/tokens
check     look at this node's setup, and show what is wrong and how to fix it; --quiet shows faults
          only, --config looks at a file that is not in place yet
handle, conclude, read-log
          root's part of a run, and the reader of its log; started by systemd
"""

# Commands without options of their own, which systemd starts.
INTERNAL = ("listen", "handle", "conclude", "read-log")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one of the commands and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _command(words)
    except TwitchError as error:
        print(f"puppet-twitch: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _command(words: list[str]) -> int:
    # Each command imports only what it needs: a cold start is part of the answer's time.
    name, options = (words[0], words[1:]) if words else ("", [])
    help_wanted = options in (["--help"], ["-h"])
    if name == "listen" and not help_wanted:
        from twitch.listener import main as listen

        return listen.main(options)
    if name == "handle" and not options:
        from twitch.root import handler

        handler.main()
    elif name == "conclude" and not options:
        from twitch.root import conclude

        conclude.main()
    elif name == "read-log" and not options:
        from twitch.log import reader

        reader.main()
    elif name == "token":
        from twitch.listener import tokens

        return tokens.main(options)
    elif name == "check":
        from twitch.check import main as check

        return check.main(options)
    elif words == ["--version"]:
        import twitch

        print(f"puppet-twitch {twitch.__version__}")
    elif words in (["--help"], ["-h"]) or (name in INTERNAL and help_wanted):
        print(USAGE, end="")
    elif words:
        raise UsageError(f"{' '.join(words)}: not understood; see puppet-twitch --help")
    else:
        print(USAGE, end="", file=sys.stderr)
        return EX_USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
