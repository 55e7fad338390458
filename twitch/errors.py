"""One family of errors; each knows its HTTP status and its exit code.

Whoever raises one writes a text for people: what was wrong, where, what to do.
`__main__` turns it into an exit code, `wording` into an answer.
"""

from __future__ import annotations

from collections.abc import Sequence

# sysexits(3): systemd shows these by name, and RestartPreventExitStatus= can tell them apart.
EX_USAGE = 64
EX_UNAVAILABLE = 69
EX_CONFIG = 78


# What strangers are told of a `ConfigError`; its own text is for the journal.
MISCONFIGURED = "The configuration of puppet-twitch on this node is at fault; its journal says where"


class TwitchError(Exception):
    """Something this program can explain. `str()` of it is shown to people."""

    status = 500
    exit_code = 1


class UsageError(TwitchError):
    """The command line, or what systemd handed over, is not what this command works with."""

    exit_code = EX_USAGE


class ConfigError(TwitchError):
    """A fault in a file below /etc/puppet-twitch: the port answers 503, never something laxer."""

    status = 503
    exit_code = EX_CONFIG


class PacketError(TwitchError):
    """A packet between listener and handler that is not of the agreed form."""

    status = 500


class HandlerUnavailable(TwitchError):
    """The run socket is down, full, or its handler left without an answer."""

    status = 503
    exit_code = EX_UNAVAILABLE


class PuppetError(TwitchError):
    """Puppet cannot be found, asked for its settings, or started."""


class HTTPError(TwitchError):
    """A request that is answered with `status` and this text.

    `headers` go into the answer as they are; `close` ends the connection after it, for requests
    after which the position in the byte stream is not certain.
    """

    def __init__(
        self, status: int, text: str, *, headers: Sequence[tuple[str, str]] = (), close: bool = False
    ) -> None:
        super().__init__(text)
        self.status = status
        self.headers = tuple(headers)
        self.close = close
