"""The user and group of the listener."""

from __future__ import annotations

import grp
import os
import pwd

# A site that uses other names sets these in drop-ins for all three services; `check` compares them.
USER = os.environ.get("PUPPET_TWITCH_USER", "twitch")
GROUP = os.environ.get("PUPPET_TWITCH_GROUP", "twitch")


def uid() -> int:
    """Return the uid of the listener; root's if there is no such user."""
    try:
        return pwd.getpwnam(USER).pw_uid
    except KeyError:
        return 0


def gid() -> int:
    """Return the gid of the listener; root's if there is no such group."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return 0
