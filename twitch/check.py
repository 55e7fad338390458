"""`puppet-twitch check`: look at a node like a careful colleague, and say what to mend.

It changes nothing. A fault is what keeps a caller from being served, or lets in more than is
written; a note is what somebody should know. Exit status 1 if there is a fault.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
import subprocess
import time
from collections.abc import Iterator
from typing import Optional

from twitch import (
    check_callers,
    check_tls,
    check_units,
    config,
    locks,
    puppet,
    puppet_settings,
    runs,
    texts,
    tokens,
)
from twitch.config import Config
from twitch.errors import ConfigError, PuppetError
from twitch.findings import FAULT, GOOD, NOTE, Finding

USER = "twitch"

SOON_S = 14 * 86400

MARKS = {GOOD: "ok   ", NOTE: "note ", FAULT: "FAULT"}

UNTIL_THEN = "until then the port answers 503"


def main(*, as_json: bool) -> int:
    """Print what is found, and return the exit code."""
    findings = list(_all())
    faults = sum(finding.level == FAULT for finding in findings)
    if as_json:
        print(json.dumps({"faults": faults, "findings": [finding._asdict() for finding in findings]}))
        return 1 if faults else 0
    for finding in findings:
        print(f"{MARKS[finding.level]} {texts.one_line(finding.text)}")
        if finding.mend:
            print(f"      mend: {texts.one_line(finding.mend)}")
    print(f"{faults} fault{'s' if faults > 1 else ''}." if faults else "No faults found.")
    return 1 if faults else 0


def _all() -> Iterator[Finding]:
    root = os.geteuid() == 0
    if not root:
        text = "not run as root: tokens, Puppet and certificates are not looked at"
        yield Finding(NOTE, text, "sudo puppet-twitch check")
    yield from _user()
    settings, known = None, None
    try:
        settings = config.load()
        yield from _file(config.CONFIG_FILE, secret=False)
        if _empty(config.CONFIG_FILE):
            text = f"{config.CONFIG_FILE} is empty, 0 bytes: the defaults hold, so anybody may trigger runs"
            yield Finding(NOTE, text, "write who may ask, as puppet-twitch.conf(5) says, or a comment")
        yield Finding(GOOD, f"{config.CONFIG_FILE}: understood")
    except ConfigError as error:
        yield Finding(FAULT, str(error), f"mend that line; {UNTIL_THEN}")
    if root:
        try:
            known = tokens.load()
            yield from _tokens(known)
        except ConfigError as error:
            yield from _file(tokens.TOKENS_FILE, secret=True)
            yield Finding(FAULT, str(error), f"mend that line; {UNTIL_THEN}")
    yield from check_units.units()
    if root:
        yield from _puppet(settings or Config())
    if settings:  # a default would say what nobody has written
        if root:
            yield from check_tls.certificates(settings, check_units.listener())
        yield from check_units.filters(settings)
        yield from check_callers.callers(settings, known)


# ---- files and users


def _user() -> Iterator[Finding]:
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        yield Finding(FAULT, f"there is no user {USER}", "systemd-sysusers")
        return
    if user.pw_shell.rpartition("/")[2] not in ("nologin", "false", ""):
        mend = f"usermod -s /usr/sbin/nologin {USER}"
        yield Finding(NOTE, f"user {USER} has the shell {user.pw_shell}", mend)
    yield Finding(GOOD, f"user {USER} exists")


def _tokens(known: tuple[tokens.Token, ...]) -> Iterator[Finding]:
    path = tokens.TOKENS_FILE
    if not os.path.exists(path):
        return
    yield from _file(path, secret=True)
    now = time.time()
    for token in known:
        if token.expires is not None and token.expires <= now:
            text = f"{path}: a token of {token.name} has expired"
            yield Finding(NOTE, text, "remove its line")
        elif token.expires is not None and token.expires < now + SOON_S:
            text = f"{path}: a token of {token.name} expires within two weeks"
            yield Finding(NOTE, text, f"puppet-twitch token {token.name}")
    names = sorted({token.name for token in known})
    yield Finding(GOOD, f"{path}: {len(known)} tokens{' of ' + ', '.join(names) if names else ''}")


def _file(path: str, *, secret: bool) -> Iterator[Finding]:
    """Owner, mode, and whether the listener can read it."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return
    mode, group = stat.S_IMODE(info.st_mode), _group(info.st_gid)
    shared = mode & (0o037 if secret else 0o022) or (secret and group != USER)
    if info.st_uid != 0 or shared:
        what = f"{path}: owner {_owner(info.st_uid)}, group {group}, mode {mode:o}"
        owner, wanted = (f"root:{USER}", 640) if secret else ("root", 644)
        yield Finding(FAULT, what, f"chown {owner} {path}; chmod {wanted} {path}")
    elif _readable(path) is False:
        mend = f"ls -ld {os.path.dirname(path)} {path}; chmod 755 {os.path.dirname(path)}"
        yield Finding(FAULT, f"{path}: user {USER} cannot read it", mend)


def _empty(path: str) -> bool:
    try:
        return os.stat(path).st_size == 0
    except OSError:
        return False


def _readable(path: str) -> Optional[bool]:
    """Whether the listener's user can read it; None if only root could tell."""
    try:
        user = pwd.getpwnam(USER)
        command = ["test", "-r", path]
        return (
            subprocess.run(
                command, user=user.pw_uid, group=user.pw_gid, extra_groups=[], check=False
            ).returncode
            == 0
        )
    except (KeyError, OSError):
        return None


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


# ---- Puppet


def _puppet(settings: Config) -> Iterator[Finding]:
    try:
        path = puppet.find(settings.puppet_path)
        cache = os.path.join(runs.ROOT, "settings.json")
        found = puppet_settings.load(path, cache, puppet.environment(os.environ))
    except PuppetError as error:
        yield Finding(FAULT, str(error), "install Puppet, or set [puppet] path in puppet-twitch.conf")
        return
    yield Finding(GOOD, f"Puppet is {path}; its lock is {found.agent_catalog_run_lockfile}")
    reason = locks.disabled_reason(found.agent_disabled_lockfile)
    if reason is not None:
        yield Finding(NOTE, f"Puppet is disabled: {reason or 'no reason given'}", "puppet agent --enable")
    holder = locks.run_lock_holder(found.agent_catalog_run_lockfile)
    if holder and locks.is_stuck(holder, found.runtimeout_s):
        text = f"Puppet {holder.pid} has held its lock for {holder.age_s} s, longer than runtimeout lets it"
        yield Finding(FAULT, text, f"kill {holder.pid}")
    if settings.command == "apply" and not os.path.exists(str(settings.manifest)):
        mend = "write it, or set [puppet] manifest in puppet-twitch.conf"
        yield Finding(FAULT, f"[puppet] manifest: {settings.manifest} does not exist", mend)
