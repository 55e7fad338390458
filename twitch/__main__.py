"""The command, and the one place where an error becomes an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Optional

from twitch.errors import EX_USAGE, TwitchError, UsageError

USAGE = """\
usage: puppet-twitch listen [--bind ADDRESS] [--port PORT] [--idle-exit SECONDS]
       puppet-twitch token NAME [--expires YYYY-MM-DD]
       puppet-twitch check [--json]
       puppet-twitch --version

Trigger a Puppet run on this node over HTTP. Ordinarily systemd does the rest:

  systemctl enable --now puppet-twitch.socket
  curl http://localhost:2023/puppet/twitch
  journalctl -u 'puppet-twitch*'

listen    answer HTTP on the sockets that systemd or systemd-socket-activate hands over;
          with --bind or --port on a socket of its own, in the foreground, for debugging.
          It leaves after so long without a connection: 30 seconds, in the foreground never
token     make a new token: shown once, with the line for /etc/puppet-twitch/tokens
check     look at this node's setup; say what is wrong, and how to mend it
handle, conclude
          root's part of a run, started by puppet-twitch-run@.service
"""

DEFAULT_BIND, DEFAULT_PORT = "127.0.0.1", 2023


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
    if name == "listen":
        return _listen(options)
    if name == "handle" and not options:
        from twitch.root import handler

        handler.main()
    elif name == "conclude" and not options:
        from twitch.root import conclude

        conclude.main()
    elif name == "token":
        _token(options)
    elif name == "check" and options in ([], ["--json"]):
        from twitch.check import main as check

        return check.main(as_json=bool(options))
    elif name == "--version":
        import twitch

        print(f"puppet-twitch {twitch.__version__}")
    elif name in ("--help", "-h"):
        print(USAGE, end="")
    elif words:
        raise UsageError(f"{' '.join(words)}: not understood; see puppet-twitch --help")
    else:
        print(USAGE, end="", file=sys.stderr)
        return EX_USAGE
    return 0


def _token(options: list[str]) -> None:
    from twitch.listener import tokens

    if len(options) not in (1, 3) or (len(options) == 3 and options[1] != "--expires"):
        raise UsageError("usage: puppet-twitch token NAME [--expires YYYY-MM-DD]")
    token, line = tokens.new(options[0], options[2] if len(options) == 3 else None)
    print(f"The token, for its holder; it is not shown again:\n\n  {token}\n")
    print(f"The line for {tokens.TOKENS_FILE} (root:twitch, mode 640) on each node:\n\n  {line}")


def _listen(options: list[str]) -> int:
    if "CREDENTIALS_DIRECTORY" not in os.environ:
        # Without credentials there is no TLS, and they only come with a start. asyncio can do without ssl,
        # and OpenSSL is 8 ms of a cold start and 4 MiB of memory.
        sys.modules["ssl"] = None  # type: ignore[assignment]
    import logging

    from twitch.listener import activation, server

    # systemd reads the priority from the angle brackets (sd-daemon(3)).
    in_journal = not sys.stderr.isatty()
    logging.basicConfig(format=f"{'<4>' if in_journal else ''}%(message)s", level=logging.INFO)
    bind, port, idle_exit_s = _listen_options(options)
    if bind is None and port is None:
        given = activation.inherited()
        idle_exit_s = server.IDLE_EXIT_S if idle_exit_s is None else idle_exit_s
        activation.leave_root()
    else:
        given = activation.opened(bind or DEFAULT_BIND, DEFAULT_PORT if port is None else port)
        activation.leave_root()
        address = given.listening[0].getsockname()
        print(f"listening on {address[0]} port {address[1]}; Ctrl-C ends", file=sys.stderr)
    server.main(given, idle_exit_s)
    return 0


def _listen_options(options: list[str]) -> tuple[Optional[str], Optional[int], Optional[float]]:
    bind: Optional[str] = None
    port: Optional[int] = None
    idle_exit_s: Optional[float] = None
    if len(options) % 2:
        raise UsageError(f"{options[-1]} needs a value; see puppet-twitch --help")
    for name, value in zip(options[::2], options[1::2]):
        if name == "--bind":
            bind = value
        elif name == "--port" and value.isdecimal() and int(value) < 65536:
            port = int(value)
        elif name == "--idle-exit" and value.isdecimal():
            idle_exit_s = float(value)
        else:
            raise UsageError(f"{name} {value}: not understood; see puppet-twitch --help")
    return bind, port, idle_exit_s


if __name__ == "__main__":
    sys.exit(main())
