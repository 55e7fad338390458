"""`puppet-twitch listen`: its options, its log, and the sockets that it serves."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, Optional

from twitch import durations
from twitch.errors import ConfigError, UsageError

DEFAULT_BIND, DEFAULT_PORT = "127.0.0.1", 2023

# The priorities of syslog(3), which systemd reads in front of a line (sd-daemon(3)). None is below a notice,
# because the units leave out such lines (LogLevelMax=), systemd's own among them. So the debug log needs one
# switch and not two.
PRIORITIES = {"DEBUG": 5, "INFO": 5, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


# Units get them from their drop-in (tls.conf).
NO_CREDENTIALS = (
    "[tls] enabled = yes, and no certificate and key: every request gets 503; "
    "puppet-twitch(1), listen, says how to pass them"
)


class Options(NamedTuple):
    """The options of `listen`. Without `bind` and `port`, sockets are systemd's."""

    bind: Optional[str] = None
    port: Optional[int] = None
    idle_exit_s: Optional[float] = None
    debug: bool = False


def main(arguments: Sequence[str]) -> int:
    """Serve until there is nothing left to do, and return the exit status."""
    options = _options(arguments)
    from twitch.listener import tls

    if tls.DIRECTORY in os.environ:
        # 3 ms, for listeners with TLS only; and now, because an upgrade may replace these files.
        from twitch.listener import tls_context  # noqa: F401
    else:
        tls.leave_out()
    from twitch.listener import activation, lifetime, server

    # What is imported stays, so no collection has to look at it: neither the first one, 3 ms before the first
    # answer, nor that at the end, 10 ms.
    gc.freeze()
    gc.enable()  # `__main__` has disabled it
    _start_log(debug=options.debug or os.environ.get("PUPPET_TWITCH_DEBUG") == "1")
    if options.bind is None and options.port is None:
        sockets = activation.inherited()
        idle_exit_s = lifetime.IDLE_EXIT_S if options.idle_exit_s is None else options.idle_exit_s
        activation.leave_root()
        server.main(sockets, idle_exit_s)
    else:
        port = DEFAULT_PORT if options.port is None else options.port
        sockets = activation.opened(options.bind or DEFAULT_BIND, port)
        activation.leave_root()
        address = sockets.listening[0].getsockname()
        print(f"listening on {address[0]} port {address[1]}; Ctrl-C ends", file=sys.stderr)
        if _lacks_credentials():
            print(NO_CREDENTIALS, file=sys.stderr)
        server.main(sockets, options.idle_exit_s)
    return 0


def _lacks_credentials() -> bool:
    """Return whether TLS is enabled and nobody has passed the certificate and the key."""
    from twitch import config
    from twitch.listener import tls

    try:
        return config.load().tls and not {tls.CERT, tls.KEY} <= tls.credentials_passed().keys()
    except ConfigError:
        return False  # the log says what is wrong, with the first request


def _options(arguments: Sequence[str]) -> Options:
    # By hand: argparse is 10 ms of a cold start.
    options, words = Options(), list(arguments)
    while words:
        name = words.pop(0)
        if name == "--debug":
            options = options._replace(debug=True)
            continue
        if not words:
            raise UsageError(f"{name} needs a value; see puppet-twitch listen --help")
        value = words.pop(0)
        if name == "--bind":
            options = options._replace(bind=value)
        elif name == "--port" and value.isdecimal() and int(value) < 65536:
            options = options._replace(port=int(value))
        elif name == "--idle-exit" and (idle_exit_s := durations.seconds(value)) is not None:
            options = options._replace(idle_exit_s=idle_exit_s)
        else:
            raise UsageError(f"{name} {value}: not understood; see puppet-twitch listen --help")
    return options


def _start_log(*, debug: bool) -> None:
    import logging

    class WithPriority(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return f"<{PRIORITIES[record.levelname]}>{super().format(record)}"

    handler = logging.StreamHandler()
    text = "%(name)s: %(message)s" if debug else "%(message)s"
    handler.setFormatter(WithPriority(text) if _in_journal() else logging.Formatter(text))
    log = logging.getLogger()
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.INFO)  # its debug lines are about its own loop


def _in_journal() -> bool:
    """Return whether stderr is the journal's.

    Shells in a terminal of a desktop or of tmux inherit JOURNAL_STREAM; it names the device and the inode of
    the stream, so that a program can tell whether it still writes there (systemd.exec(5)).
    """
    info = os.fstat(sys.stderr.fileno())
    return os.environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"
