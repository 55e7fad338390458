"""`puppet-twitch check`, the part about the listener's user and the files that it reads."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from typing import Optional

from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.check.units import Identity

WRITE = (
    "write who may ask, as puppet-twitch.conf(5) says, or a comment; a listener that has known another file "
    "answers 503 until then, or until systemctl stop puppet-twitch.service"
)


def user(who: Identity) -> Iterator[Finding]:
    """Whether there are such a user and group, and nobody can log in as it."""
    try:
        found = pwd.getpwnam(who.user)
    except KeyError:
        yield Finding(FAULT, f"there is no user {who.user}", "systemd-sysusers")
        return
    try:
        grp.getgrnam(who.group)
    except KeyError:
        yield Finding(FAULT, f"there is no group {who.group}", "systemd-sysusers")
    if found.pw_shell.rpartition("/")[2] not in ("nologin", "false", ""):
        mend = f"usermod -s /usr/sbin/nologin {who.user}"
        yield Finding(NOTE, f"user {who.user} has the shell {found.pw_shell}", mend)
    yield Finding(GOOD, f"user {who.user} exists")


def file(path: str, who: Identity, *, secret: bool) -> Iterator[Finding]:
    """Owner, mode, and whether the listener can read it, and something in it."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        if not secret:
            yield Finding(NOTE, f"there is no {path}: the defaults hold, so anybody may trigger runs", WRITE)
        return
    mode, group = stat.S_IMODE(info.st_mode), group_name(info.st_gid)
    shared = mode & (0o037 if secret else 0o022) or (secret and group != who.group)
    if info.st_uid != 0 or shared:
        what = f"{path}: owner {_owner(info.st_uid)}, group {group}, mode {mode:o}"
        owner, wanted = (f"root:{who.group}", 640) if secret else ("root", 644)
        yield Finding(FAULT, what, f"chown {owner} {path}; chmod {wanted} {path}")
    elif _readable(path, who) is False:
        above = os.path.dirname(path)
        mend = f"chmod 755 {above}" if mode & 0o040 else f"chmod 644 {path}"
        yield Finding(FAULT, f"{path}: user {who.user} cannot read it", mend)
    if info.st_size == 0 and not secret:
        text = f"{path} is empty, 0 bytes: the defaults hold, so anybody may trigger runs"
        yield Finding(NOTE, text, WRITE)


def roots_alone(path: str, why: str) -> Iterator[Finding]:
    """Whether only root can change a file or directory; `why` completes `others may change it, and …`."""
    try:
        info = os.stat(path)
    except OSError:
        return  # which is said where it matters
    if info.st_uid != 0 or info.st_mode & 0o022:
        text = f"{path}: owner {_owner(info.st_uid)}, mode {stat.S_IMODE(info.st_mode):o}: others may {why}"
        yield Finding(FAULT, text, f"chown root {path}; chmod go-w {path}")


def group_name(gid: int) -> str:
    """Return the name of a group, or its number."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _readable(path: str, who: Identity) -> Optional[bool]:
    """Whether the listener can read it; None if only root could tell."""
    try:
        uid, gid = pwd.getpwnam(who.user).pw_uid, grp.getgrnam(who.group).gr_gid
        done = subprocess.run(["test", "-r", path], user=uid, group=gid, extra_groups=[], check=False)
    except (KeyError, OSError):
        return None
    return done.returncode == 0


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
