"""Errors with a text for people: what was wrong, where, and what to do.

`__main__` turns them into an exit status. What a client hears of one is decided in `listener/`.
"""

from __future__ import annotations

# sysexits(3): systemd shows these by name, and RestartPreventExitStatus= can tell them apart.
EX_USAGE = 64
EX_UNAVAILABLE = 69
EX_NOPERM = 77
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


class RootUnavailable(TwitchError):
    """The run socket is down or full, or the handler ended without an answer."""

    exit_code = EX_UNAVAILABLE


NO_ANSWER = "The handler left without an answer; try again"


def no_answer(error: OSError, patience_s: float) -> RootUnavailable:
    """Return the error for a question that the run socket has not taken, or not answered in time."""
    if isinstance(error, BlockingIOError):
        return RootUnavailable("Too many questions at once; try again")
    if isinstance(error, TimeoutError):
        return RootUnavailable(f"No answer from the handler in {patience_s:g} s")
    if isinstance(error, ConnectionResetError):
        return RootUnavailable(NO_ANSWER)  # the handler ended before it read the packet
    # Not `start`, which does nothing if the file is gone and the unit is still active.
    fix = "systemctl restart puppet-twitch-run.socket"
    return RootUnavailable(f"The handler cannot be reached ({error.strerror}); {fix}")


class PacketError(TwitchError):
    """A packet between listener and root that does not have the agreed form."""


class PuppetError(TwitchError):
    """Puppet cannot be found, asked for its settings, or started."""
