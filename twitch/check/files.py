"""The listener's user, and the files below /etc/puppet-twitch: the listener reads, only root writes."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
import subprocess
from collections.abc import Generator, Iterator
from typing import Optional

from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.check.systemd import Account
from twitch.config import CONFIG_FILE, Config
from twitch.config import RESTORE as SEE_CHECK
from twitch.config import load as load_config
from twitch.errors import ConfigError

INVALID_FIX = "correct the file; until then the port answers 503"
# For a missing or empty file. install(1) replaces a dangling link as well. The command closes the node,
# because the lost file may have closed it: with the defaults, anyone who reaches the port may trigger runs.
RESTORE = (
    "restore it from a backup, or by the Puppet run that writes it; until then the port answers 503 and "
    "nothing runs. The fix is a stopgap: nobody may do anything, and grants, from and [puppet] stay lost"
)
RESTORE_FIX = "{{ echo '[access]'; echo 'anonymous ='; }} | install -m 644 /dev/stdin {path}"
# The first line of the files that the Puppet module writes (puppet-module/twitch/templates).
MODULE_HEADER = "# Written by Puppet, module twitch."
# The listener's sandbox hides these (ProtectHome=, PrivateTmp=, TemporaryFileSystem=).
HIDDEN = ("/home/", "/root/", "/run/", "/tmp/", "/var/tmp/")  # noqa: S108
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
        fix = f"groupadd --system {account.group}"
        if group_name(entry.pw_gid) == str(entry.pw_gid):  # so that it has the files of the lost group
            fix = f"groupadd --system --gid {entry.pw_gid} {account.group}"
        yield Finding(FAULT, f"group {account.group} does not exist", fix)
        members = []
    shell = entry.pw_shell or "/bin/sh"  # passwd(5)
    if shell.rpartition("/")[2] not in ("nologin", "false"):
        text = (
            f"user {account.user} (uid {entry.pw_uid}) can log in with the shell {shell}, "
            "and trigger runs as any caller"
        )
        text += "; if it is a person's account, give the listener another user (puppet-twitch.service(8))"
        yield Finding(FAULT, text, f"usermod -s /usr/sbin/nologin {account.user}")
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
        text = str(error)
        if text.endswith(SEE_CHECK):
            text = text.replace(SEE_CHECK, RESTORE)
            yield Finding(FAULT, text, RESTORE_FIX.format(path=CONFIG_FILE))
        else:
            yield Finding(FAULT, text, INVALID_FIX, by_hand=True)
        return None
    yield from permissions(CONFIG_FILE, account, secret=False)
    yield Finding(GOOD, f"the configuration is valid: {CONFIG_FILE}{_in_hiera()}")
    return config


def _in_hiera() -> str:
    """Return where to make changes that a fix asks for, if the module writes these files."""
    with open(CONFIG_FILE, encoding="utf-8", errors="replace") as file:
        by_module = MODULE_HEADER in file.read(len(MODULE_HEADER))
    return "; Puppet writes it, so change twitch::access, tokens, tls or config in Hiera" if by_module else ""


def other_configuration(path: str) -> Generator[Finding, None, Optional[Config]]:
    """Report on a file that is not in place; return the configuration, or None if it is invalid."""
    try:
        config = load_config(path)
    except ConfigError as error:
        yield Finding(FAULT, str(error).removesuffix(f"; {SEE_CHECK}"), "correct the file", by_hand=True)
        return None
    yield Finding(GOOD, f"the configuration is valid: {path}")
    return config


def permissions_in_place(path: str, account: Account) -> Iterator[Finding]:
    """Report a file that is not in place, and that mv(1) would put there with a wrong owner or mode.

    The directories above it are not looked at, because mv(1) does not take them along. A pipe, such as
    /dev/stdin, is not reported.
    """
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        return
    mode, group = stat.S_IMODE(info.st_mode), group_name(info.st_gid)
    readable = mode & (0o040 if group == account.group else 0o004)
    if info.st_uid != 0 or mode & 0o022 or not readable:
        consequence = "" if readable else f", or user {account.user} cannot read it"
        text = (
            f"{path} has owner {owner_name(info.st_uid)}, group {group}, mode {mode:o}, which mv keeps; "
            f"in its place it must have owner root, mode 644{consequence}"
        )
        name = shlex.quote(path)
        yield Finding(FAULT, text, f"chown root {name}; chmod 644 {name}")


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
    elif _can_read(account, path) is False or os.path.realpath(path).startswith(HIDDEN):
        fix = _readable(path, f"root:{account.group}" if secret else "root", 640 if secret else 644)
        yield Finding(FAULT, f"{path} cannot be read by user {account.user}", fix)


def _readable(path: str, owner: str, mode: int) -> str:
    """Return the command that lets the listener read a file.

    A link is replaced by a copy, because the directories of its target are not ours to open.
    """
    commands = []
    if os.path.islink(path):
        target = shlex.quote(os.path.realpath(path))
        commands += [f"cp --remove-destination {target} {path}", f"chown {owner} {path}"]
    closed: list[str] = []
    directory = os.path.dirname(path)
    while directory != "/":
        if not os.stat(directory).st_mode & 0o001:
            closed.insert(0, directory)
        directory = os.path.dirname(directory)
    return "; ".join([*commands, *(f"chmod o+x {name}" for name in closed), f"chmod {mode} {path}"])


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
