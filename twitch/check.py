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

from twitch import access, config, locks, puppet, runs, tokens
from twitch.check_tls import certificates
from twitch.config import Config
from twitch.errors import ConfigError, PuppetError
from twitch.findings import FAULT, GOOD, NOTE, Finding

USER = "twitch"
SOCKETS = ("puppet-twitch.socket", "puppet-twitch-run.socket")
SERVICES = ("puppet-twitch.service", "puppet-twitch@.service", "puppet-twitch-run@.service")

SOON_S = 14 * 86400

MARKS = {GOOD: "ok   ", NOTE: "note ", FAULT: "FAULT"}


def main(*, as_json: bool) -> int:
    """Print what is found, and return the exit code."""
    findings = list(_all())
    faults = [finding for finding in findings if finding.level == FAULT]
    if as_json:
        print(json.dumps({"faults": len(faults), "findings": [finding._asdict() for finding in findings]}))
    else:
        for finding in findings:
            print(f"{MARKS[finding.level]} {finding.text}")
            if finding.mend:
                print(f"      mend: {finding.mend}")
        print(f"{len(faults)} faults" if faults else "No faults found.")
    return 1 if faults else 0


def _all() -> Iterator[Finding]:
    if os.geteuid() != 0:
        yield Finding(NOTE, "not run as root: locks, tokens and keys may be unreadable here", "use sudo")
    settings = config.Config()
    try:
        settings = config.load()
        yield Finding(GOOD, f"{config.CONFIG_FILE}: understood")
    except ConfigError as error:
        yield Finding(FAULT, str(error), "until then the port answers 503")
    known: tuple[tokens.Token, ...] = ()
    try:
        known = tokens.load()
        yield from _tokens_file(known)
    except ConfigError as error:
        yield Finding(FAULT, str(error), "until then the port answers 503")
    yield from _user()
    yield from _units()
    yield from _puppet(settings)
    yield from certificates(settings)
    yield from _filters(settings)
    yield from _callers(settings, known)


# ---- files and users


def _tokens_file(known: tuple[tokens.Token, ...]) -> Iterator[Finding]:
    path = tokens.TOKENS_FILE
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return
    group = _group_name(info.st_gid)
    if info.st_uid != 0 or group != USER or stat.S_IMODE(info.st_mode) & 0o037:
        yield Finding(
            FAULT,
            f"{path}: owner {info.st_uid}, group {group}, mode {stat.S_IMODE(info.st_mode):o}",
            f"chown root:{USER} {path}; chmod 640 {path}",
        )
    now = time.time()
    for token in known:
        if token.expires is not None and token.expires <= now:
            yield Finding(NOTE, f"a token of {token.name} has expired", "remove its line")
        elif token.expires is not None and token.expires < now + SOON_S:
            yield Finding(NOTE, f"a token of {token.name} expires within two weeks", "puppet-twitch token")
    yield Finding(GOOD, f"{path}: {len(known)} tokens")


def _user() -> Iterator[Finding]:
    try:
        user = pwd.getpwnam(USER)
        shell = user.pw_shell.rpartition("/")[2]
        if shell not in ("nologin", "false", ""):
            yield Finding(
                NOTE, f"user {USER} has the shell {user.pw_shell}", f"usermod -s /usr/sbin/nologin {USER}"
            )
        yield Finding(GOOD, f"user {USER} exists")
    except KeyError:
        yield Finding(FAULT, f"there is no user {USER}", "systemd-sysusers")


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


# ---- systemd


def _units() -> Iterator[Finding]:
    missing = [unit for unit in (*SOCKETS, *SERVICES) if _show(unit, "LoadState") == "not-found"]
    if missing:
        yield Finding(FAULT, f"not installed: {', '.join(missing)}", "install puppet-twitch again")
        return
    for unit in SOCKETS:
        state, sub = _show(unit, "ActiveState"), _show(unit, "SubState")
        if state != "active":
            yield Finding(FAULT, f"{unit} is {state} ({_show(unit, 'Result')})", f"systemctl restart {unit}")
        else:
            yield Finding(GOOD, f"{unit} is {sub}: {_show(unit, 'Listen')}")
    if _show(SOCKETS[0], "UnitFileState") != "enabled":
        yield Finding(NOTE, f"{SOCKETS[0]} does not start at boot", f"systemctl enable {SOCKETS[0]}")


def _show(unit: str, what: str) -> str:
    # A template has no state of its own; systemd knows an instance of it.
    unit = unit.replace("@.", "@check.")
    try:
        command = ["systemctl", "show", "-P", what, unit]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return "unknown"


# ---- Puppet


def _puppet(settings: Config) -> Iterator[Finding]:
    try:
        path = puppet.find(settings.puppet_path)
        cache = os.path.join(runs.ROOT, "settings.json")
        found = puppet.settings(path, cache, puppet.environment(os.environ))
    except PuppetError as error:
        yield Finding(FAULT, str(error), "[puppet] path in puppet-twitch.conf, or install Puppet")
        return
    yield Finding(GOOD, f"Puppet is {path}; its lock is {found.agent_catalog_run_lockfile}")
    reason = locks.disabled_reason(found.agent_disabled_lockfile)
    if reason is not None:
        yield Finding(NOTE, f"Puppet is disabled: {reason or 'no reason given'}", "puppet agent --enable")
    holder = locks.run_lock_holder(found.agent_catalog_run_lockfile)
    if holder and locks.is_stuck(holder, found.runtimeout_s):
        yield Finding(
            FAULT, f"Puppet {holder.pid} has held its lock for {holder.age_s} s", f"kill {holder.pid}"
        )
    if settings.command == "apply" and not os.path.exists(str(settings.manifest)):
        yield Finding(FAULT, f"[puppet] manifest: {settings.manifest} does not exist", "write it")


# ---- who may do what


def _filters(settings: Config) -> Iterator[Finding]:
    networks = " ".join(str(network) for network in settings.networks)
    yield Finding(GOOD, f"requests are heard from {networks} ([access] from)")
    denied = _show(SOCKETS[0], "IPAddressDeny")
    if denied:
        detect = ["systemd-detect-virt", "--container", "--quiet"]
        if subprocess.run(detect, check=False).returncode == 0:
            text = f"IPAddressDeny={denied} of {SOCKETS[0]} may filter nothing in this container"
            yield Finding(NOTE, text, "rely on [access] from, or on the host's firewall")
        else:
            yield Finding(GOOD, f"{SOCKETS[0]} also has IPAddressDeny={denied}")


def _callers(settings: Config, known: tuple[tokens.Token, ...]) -> Iterator[Finding]:
    for caller, grants in settings.grants.items():
        yield Finding(GOOD, f"{caller} may: {' '.join(grants) or 'nothing'}")
        runs_at_all = {"trigger", "noop"} & set(grants)
        if not runs_at_all and any(word == "tags" or word.startswith("environment=") for word in grants):
            yield Finding(FAULT, f"{caller}: tags and environment= need trigger or noop", "grant one of them")
        yield from _unreachable(settings, known, caller)
    for token in known:
        if access.most_specific(settings.grants, f"token:{token.name}") is None:
            text = f"the token {token.name} may no more than anybody"
            yield Finding(NOTE, text, f"token:{token.name} = … in [access]")
    if settings.plaintext_tokens:
        text = "plaintext_tokens = yes: whoever is on the way can read the tokens"
        yield Finding(NOTE, text, "TLS ([tls] enabled = yes)")


def _unreachable(settings: Config, known: tuple[tokens.Token, ...], caller: str) -> Iterator[Finding]:
    kind = caller.partition(":")[0]
    if kind == "cert" and not settings.tls:
        yield Finding(FAULT, f"{caller} can never ask: there is no TLS", "[tls] enabled = yes, see tls.conf")
    if kind == "token":
        names = [token.name for token in known if access.matches(caller, f"token:{token.name}")]
        if not names:
            text = f"{caller} can never ask: {tokens.TOKENS_FILE} has no such token"
            yield Finding(FAULT, text, "puppet-twitch token NAME")
        elif not settings.tls and not settings.plaintext_tokens:
            text = f"{caller} can ask from this machine only: without TLS, no token is taken from elsewhere"
            yield Finding(NOTE, text, "[tls] enabled = yes")
