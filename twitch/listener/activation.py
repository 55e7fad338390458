"""What systemd hands over to the listener, and what it is told."""

from __future__ import annotations

import errno
import os
import pwd
import socket
from typing import NamedTuple

from twitch.errors import UsageError

# As in the handler: a site with another name for it says so.
USER = os.environ.get("PUPPET_TWITCH_USER", "twitch")


class Inherited(NamedTuple):
    """Sockets to accept from (Accept=no), or one connection to serve (Accept=yes)."""

    listening: tuple[socket.socket, ...]
    connection: tuple[socket.socket, ...]  # none or one


def inherited() -> Inherited:
    """Take over what systemd, or systemd-socket-activate, has opened.

    Raises `UsageError` if that is nothing: this process never opens a port by accident.
    """
    from systemd import daemon

    descriptors = daemon.listen_fds(unset_environment=True)
    if not descriptors:
        raise UsageError(
            "no sockets from systemd; systemctl start puppet-twitch.socket, "
            "or try: puppet-twitch listen --bind 127.0.0.1 --port 2023"
        )
    try:
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    except OSError as error:
        raise UsageError(f"what systemd handed over cannot be used: {error.strerror}") from error
    for one in sockets:
        os.set_inheritable(one.fileno(), False)
        if one.type != socket.SOCK_STREAM or one.family not in (socket.AF_INET, socket.AF_INET6):
            raise UsageError(f"{one.family.name} {one.type.name} from systemd is not a TCP socket")
    listening = tuple(one for one in sockets if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    for one in listening:
        one.setblocking(False)  # as NonBlocking=yes does; systemd-socket-activate has no such thing
    connection = tuple(one for one in sockets if one not in listening)
    if len(connection) > 1 or (connection and listening):
        raise UsageError("systemd handed over connections and listening sockets at once")
    return Inherited(listening, connection)


def notify(state: str) -> None:
    """Tell systemd READY=1 or STOPPING=1 (sd_notify(3)); without systemd nobody listens."""
    if os.environ.get("NOTIFY_SOCKET"):
        from systemd import daemon

        daemon.notify(state)


def opened(address: str, port: int) -> Inherited:
    """A listening socket of our own, where systemd gave none; raises `UsageError`."""
    try:
        listening = socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=128
        )
    except OSError as error:
        hint = "; systemctl stop puppet-twitch.socket" if error.errno == errno.EADDRINUSE else ""
        reason = str(error.strerror).partition(" (while")[0]  # Python repeats the address after it
        raise UsageError(f"cannot listen on {address} port {port}: {reason}{hint}") from error
    listening.setblocking(False)
    return Inherited((listening,), ())


def leave_root() -> None:
    """Become the listener's user, if this is root: the network never meets root, whoever started this.

    Raises `UsageError` where there is no such user.
    """
    if os.geteuid() != 0:
        return
    try:
        user = pwd.getpwnam(USER)
    except KeyError as error:
        mend = "systemd-sysusers makes it, or PUPPET_TWITCH_USER= names another"
        raise UsageError(f"there is no user {USER}; {mend}") from error
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
