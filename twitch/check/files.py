"""The listener's user, and the files below /etc/puppet-twitch: the listener reads, only root writes."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
from collections.abc import Generator, Iterator
from typing import Optional

from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.check.systemd import Account
from twitch.config import CONFIG_FILE, RESTORE, Config
from twitch.config import load as load_config
from twitch.errors import ConfigError

INVALID_FIX = "correct the file; until then the port answers 503"
# For a missing or empty file. install(1) replaces a dangling link as well. The operator is told first what
# the defaults allow, because the lost file may have closed the node.
RESTORE_FIX = (
    "restore the file from a backup or by the Puppet run that writes it. To use the defaults instead, with "
    "which anyone who reaches the port may trigger runs: "
    "echo '# The defaults apply.' | install -m 644 /dev/stdin {path}"
)
# The user and group that the package's sysusers.d file declares.
PACKAGED = Account()


def user(account: Account) -> Iterator[Finding]:
    """Report whether the listener's user and group exist, and whether they are the listener's alone."""
    try:
        entry = pwd.getpwnam(account.user)
    except KeyError:
        useradd = f"useradd --system --gid {account.group} --shell /usr/sbin/nologin {account.user}"
        own_name = f"groupadd --system --force {account.group}; {useradd}"
        fix = "systemd-sysusers" if account.user == PACKAGED.user else own_name
        yield Finding(FAULT, f"user {account.user} does not exist", fix)
        return
    try:
        members = grp.getgrnam(account.group).gr_mem
    except KeyError:
        fix = "systemd-sysusers" if account.group == PACKAGED.group else f"groupadd --system {account.group}"
        yield Finding(FAULT, f"group {account.group} does not exist", fix)
        members = []
    shell = entry.pw_shell or "/bin/sh"  # passwd(5)
    if shell.rpartition("/")[2] not in ("nologin", "false"):
        text = (
            f"user {account.user} (uid {entry.pw_uid}) can log in with the shell {shell}, "
            "and trigger runs as any caller"
        )
        fix = (
            f"usermod -s /usr/sbin/nologin {account.user}; if it is a person's account, give the listener "
            "another user (puppet-twitch.service(8))"
        )
        yield Finding(FAULT, text, fix)
    others = [name for name in members if name != account.user]
    if others:
        text = f"group {account.group} has other members, who can read all runs: {', '.join(others)}"
        yield Finding(NOTE, text, "; ".join(f"gpasswd -d {name} {account.group}" for name in others))
    yield Finding(GOOD, f"user {account.user} exists")


def configuration(account: Account) -> Generator[Finding, None, Optional[Config]]:
    """Report on the configuration file; return the configuration, or None if the file is invalid."""
    try:
        config = load_config()
    except ConfigError as error:
        lost = str(error).endswith(RESTORE)
        text = str(error).replace(RESTORE, "until it is restored the port answers 503 and nothing runs")
        yield Finding(FAULT, text, RESTORE_FIX.format(path=CONFIG_FILE) if lost else INVALID_FIX)
        return None
    yield from permissions(CONFIG_FILE, account, secret=False)
    yield Finding(GOOD, f"the configuration is valid: {CONFIG_FILE}")
    return config


def permissions(path: str, account: Account, *, secret: bool) -> Iterator[Finding]:
    """Report a file that users other than root can change, or that the listener cannot read.

    A secret file may be read by root and the listener's group only. A missing file is not reported.
    """
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return
    mode, group = stat.S_IMODE(info.st_mode), group_name(info.st_gid)
    exposed = mode & (0o037 if secret else 0o022) or (secret and group != account.group)
    if info.st_uid != 0 or exposed:
        owner, permitted = (f"root:{account.group}", 640) if secret else ("root", 644)
        text = (
            f"{path} has owner {owner_name(info.st_uid)}, group {group}, mode {mode:o}; "
            f"it must have owner {owner}, mode {permitted}"
        )
        yield Finding(FAULT, text, f"chown {owner} {path}; chmod {permitted} {path}")
    elif _can_read(account, path) is False:
        readable = mode & 0o004 or (mode & 0o040 and group == account.group)
        fix = f"chmod 755 {os.path.dirname(path)}" if readable else f"chmod {640 if secret else 644} {path}"
        yield Finding(FAULT, f"{path} cannot be read by user {account.user}", fix)


def only_root_writes(path: str, consequence: str) -> Iterator[Finding]:
    """Report a path that users other than root can change; `consequence` completes "they can …".

    A missing path is not reported here, but by the check that needs the file.
    """
    try:
        info = os.stat(path)
    except OSError:
        return
    if info.st_uid != 0 or info.st_mode & 0o022:
        text = (
            f"{path} has owner {owner_name(info.st_uid)}, mode {stat.S_IMODE(info.st_mode):o}, "
            f"so users other than root can {consequence}"
        )
        yield Finding(FAULT, text, f"chown root {path}; chmod go-w {path}")


def owner_name(uid: int) -> str:
    """Return the name of a user, or the number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return the name of a group, or the number if it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _can_read(account: Account, path: str) -> Optional[bool]:
    """Return whether the listener can read a file; None if only root could tell."""
    try:
        uid, gid = pwd.getpwnam(account.user).pw_uid, grp.getgrnam(account.group).gr_gid
        done = subprocess.run(["test", "-r", path], user=uid, group=gid, extra_groups=[], check=False)
    except (KeyError, OSError):
        return None
    return done.returncode == 0
