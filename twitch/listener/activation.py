"""Sockets that systemd passes to the listener, and what the listener tells systemd."""

from __future__ import annotations

import errno
import os
import pwd
import socket
from typing import NamedTuple, Optional

from twitch.errors import UsageError
from twitch.listener_user import USER

# As in puppet-twitch.socket, which gives the reasons. Accepted connections inherit the options.
OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 8),
    (socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024),
    (socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024),
)

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START


class Inherited(NamedTuple):
    """Sockets to accept from (Accept=no), or one connection to serve (Accept=yes)."""

    listening: tuple[socket.socket, ...]
    connection: Optional[socket.socket]


def inherited() -> Inherited:
    """Return the sockets that systemd, or systemd-socket-activate, has opened.

    Raises `UsageError` if there are none: this process never opens a port by accident.
    """
    descriptors = _descriptors()
    if not descriptors:
        raise UsageError(
            "no sockets from systemd; systemctl start puppet-twitch.socket, "
            "or try: puppet-twitch listen --bind 127.0.0.1 --port 2023"
        )
    try:
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    except OSError as error:
        raise UsageError(f"the descriptors from systemd are not sockets: {error.strerror}") from error
    for one in sockets:
        os.set_inheritable(one.fileno(), False)
        if one.type != socket.SOCK_STREAM or one.family not in (socket.AF_INET, socket.AF_INET6):
            raise UsageError(f"{one.family.name} {one.type.name} from systemd is not a TCP socket")
    listening = tuple(one for one in sockets if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    for one in listening:
        one.setblocking(False)  # as NonBlocking=yes does; systemd-socket-activate has no such option
    connections = [one for one in sockets if one not in listening]
    if len(connections) > 1 or (connections and listening):
        raise UsageError("systemd passed connections and listening sockets at once")
    return Inherited(listening, connections[0] if connections else None)


def _descriptors() -> range:
    """Return the descriptors that systemd has passed (sd_listen_fds(3)).

    Without its library, which maps libgcrypt and three libraries for compression: 1.1 MiB of resident memory.
    """
    number = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not number.isdecimal():
        return range(0)
    return range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(number))


def opened(address: str, port: int) -> Inherited:
    """Return a listening socket of our own, for `listen --bind` and `--port`; raises `UsageError`."""
    try:
        listening = socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=128
        )
    except OSError as error:
        hint = "; systemctl stop puppet-twitch.socket" if error.errno == errno.EADDRINUSE else ""
        reason = str(error.strerror).partition(" (while")[0]  # Python repeats the address after it
        raise UsageError(f"cannot listen on {address} port {port}: {reason}{hint}") from error
    listening.setblocking(False)
    for level, option, value in OPTIONS:
        listening.setsockopt(level, option, value)
    return Inherited((listening,), None)


def leave_root() -> None:
    """Become the listener's user, if this process is root: root never parses what a client sends.

    Raises `UsageError` where there is no such user.
    """
    if os.geteuid() != 0:
        return
    _leave_terminal()
    try:
        user = pwd.getpwnam(USER)
    except KeyError as error:
        fix = "systemd-sysusers creates it, or PUPPET_TWITCH_USER= names another"
        raise UsageError(f"there is no user {USER}; {fix}") from error
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def _leave_terminal() -> None:
    """Keep root's terminal for output only, so that the listener's user cannot type into root's shell.

    A process can put input into its controlling terminal (TIOCSTI in ioctl_tty(2)), and read what root types
    through any descriptor that is open for reading. Ctrl-C goes on working: it reaches the process group.
    """
    import fcntl
    import termios

    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        terminal = None  # as under systemd
    if terminal is not None:
        # If this process leads its session (`ssh -t`), the session has no shell that could be typed into,
        # and giving up the terminal would send SIGHUP to all of it.
        if os.getsid(0) != os.getpid():
            fcntl.ioctl(terminal, termios.TIOCNOTTY)
        os.close(terminal)
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if not os.isatty(descriptor):
            continue
        if descriptor in (1, 2):
            replacement = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NOCTTY)
        else:
            replacement = os.open(os.devnull, os.O_RDONLY)
        os.dup2(replacement, descriptor, inheritable=descriptor <= 2)
        os.close(replacement)
