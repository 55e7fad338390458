"""Errors with a text for people: what was wrong, where, and what to do.

`__main__` turns them into an exit code. What a client hears of one is decided in `listener/`.
"""

from __future__ import annotations

# sysexits(3): systemd shows these by name, and RestartPreventExitStatus= can tell them apart.
EX_USAGE = 64
EX_CONFIG = 78

# What a client is told of a `ConfigError`; its own text is for the journal.
MISCONFIGURED = "puppet-twitch is misconfigured on this node; see its journal"


class TwitchError(Exception):
    """An error that this program can explain. `str()` of it is shown to people."""

    exit_code = 1


class UsageError(TwitchError):
    """The command line, or what systemd handed over, is not what this command works with."""

    exit_code = EX_USAGE


class ConfigError(TwitchError):
    """An invalid file below /etc/puppet-twitch: the port answers 503, never anything more permissive."""

    exit_code = EX_CONFIG


class PacketError(TwitchError):
    """A packet between listener and root that does not have the agreed form."""


class PuppetError(TwitchError):
    """Puppet cannot be found, asked for its settings, or started."""
