"""The person at the command line: root by now, but known by the login that sudo and su do not change."""

from __future__ import annotations

import os
import pwd
import re
from typing import Optional

from twitch.caller import Caller
from twitch.config import GRANTS
from twitch.errors import EX_NOPERM, TwitchError
from twitch.messages import LOCAL, USER

# Set by pam_loginuid at the login; every later process inherits it (proc(5)). A service, and a container
# that no login has started, have this value, which is no uid.
LOGINUID = "/proc/self/loginuid"
NO_LOGIN = 0xFFFFFFFF

MAX_NAME = 100


class NotRoot(TwitchError):
    """The command asks root's side, whose socket and records only root may use."""

    exit_code = EX_NOPERM


def person(command: str) -> Caller:
    """Return the caller for this process; raises `NotRoot`."""
    if os.geteuid() != 0:
        raise NotRoot(f"{command} needs root: sudo puppet-twitch {command}")
    return Caller(f"{USER}{_name()}", LOCAL, frozenset(GRANTS), named=True)


def _name() -> str:
    name = _login() or os.environ.get("SUDO_USER") or "root"
    # A name of Windows' may have a space (winbind), which separates names in a packet.
    return re.sub(r"[^!-~]", "_", name)[:MAX_NAME]


def _login() -> Optional[str]:
    """Return the name of the user that has logged in; None if there was no login, or it is not of this node.

    A container that was started from a login has the number of a user of its host.
    """
    try:
        with open(LOGINUID, encoding="ascii") as file:
            uid = int(file.read())
        return None if uid == NO_LOGIN else pwd.getpwuid(uid).pw_name
    except (OSError, ValueError, KeyError):
        return None
