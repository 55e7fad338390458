"""`puppet-twitch check`: look at a node like a careful colleague, and say what to mend.

It changes nothing. A fault is what keeps a caller from being served, or lets in more than is
written; a note is what somebody should know. Exit status 1 if there is a fault.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

from twitch import config, runs, texts
from twitch.check import callers, certificates, files, units
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.check.units import Identity
from twitch.config import Config
from twitch.errors import ConfigError, PuppetError
from twitch.listener import tokens
from twitch.root import locks, puppet
from twitch.root.settings import load as load_settings

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
    who = units.identity()
    yield from files.user(who)
    settings, known = None, None
    above = os.path.dirname(config.CONFIG_FILE)
    yield from files.roots_alone(above, "replace its files, and so say who may ask")
    try:
        settings = config.load()
        yield from files.file(config.CONFIG_FILE, who, secret=False)
        yield Finding(GOOD, f"{config.CONFIG_FILE}: understood")
    except ConfigError as error:
        yield Finding(FAULT, str(error), f"mend that line; {UNTIL_THEN}")
    if root:
        try:
            known = tokens.load()
            yield from _tokens(known, who)
        except ConfigError as error:
            yield from files.file(tokens.TOKENS_FILE, who, secret=True)
            yield Finding(FAULT, str(error), f"mend that line; {UNTIL_THEN}")
    yield from units.units(who)
    if root:
        yield from _puppet(settings or Config())
    if settings:  # a default would say what nobody has written
        if root:
            yield from certificates.certificates(settings, units.listener())
        yield from units.filters(settings)
        yield from callers.callers(settings, known)


# ---- tokens


def _tokens(known: tuple[tokens.Token, ...], who: Identity) -> Iterator[Finding]:
    path = tokens.TOKENS_FILE
    if not os.path.exists(path):
        return
    yield from files.file(path, who, secret=True)
    now = time.time()
    for token in known:
        if token.expires is not None and token.expires <= now:
            text = f"{path}: a token of {token.name} has expired"
            yield Finding(NOTE, text, f"puppet-twitch token {token.name}, and its line instead; or remove it")
        elif token.expires is not None and token.expires < now + SOON_S:
            text = f"{path}: a token of {token.name} expires within two weeks"
            yield Finding(NOTE, text, f"puppet-twitch token {token.name}, and its line beside the old one")
    names = sorted({token.name for token in known})
    count = f"{len(known)} token{'' if len(known) == 1 else 's'}"
    yield Finding(GOOD, f"{path}: {count}{' of ' + ', '.join(names) if names else ''}")


# ---- Puppet


def _puppet(settings: Config) -> Iterator[Finding]:
    try:
        path = puppet.find(settings.puppet_path)
        cache = os.path.join(runs.ROOT, "settings.json")
        found = load_settings(path, cache, puppet.environment(os.environ))
    except PuppetError as error:
        yield Finding(FAULT, str(error), "install Puppet, or set [puppet] path in puppet-twitch.conf")
        return
    yield Finding(GOOD, f"Puppet is {path}; its lock is {found.agent_catalog_run_lockfile}")
    yield from _lock(found.agent_catalog_run_lockfile, "whether Puppet runs is seen by its own lock only")
    yield from _lock(
        found.agent_disabled_lockfile, "Puppet counts as disabled, and triggers are answered 423"
    )
    reason = locks.disabled_reason(found.agent_disabled_lockfile)
    if reason is not None:
        yield Finding(NOTE, f"Puppet is disabled: {reason or 'no reason given'}", "puppet agent --enable")
    holder = locks.run_lock_holder(found.agent_catalog_run_lockfile)
    if holder and locks.is_stuck(holder, found.runtimeout_s):
        text = f"Puppet {holder.pid} has held its lock for {holder.age_s} s, longer than runtimeout lets it"
        yield Finding(FAULT, text, f"kill {holder.pid}")
    if settings.command != "apply":
        return
    yield from files.roots_alone(str(settings.manifest), "say what root applies here")
    if not os.path.exists(str(settings.manifest)):
        mend = "write it, or set [puppet] manifest in puppet-twitch.conf"
        yield Finding(FAULT, f"[puppet] manifest: {settings.manifest} does not exist", mend)


def _lock(path: str, means: str) -> Iterator[Finding]:
    try:
        with open(path, "rb") as file:
            file.read(1)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Finding(FAULT, f"{path} cannot be read ({error.strerror}): {means}", f"ls -ld {path}")
