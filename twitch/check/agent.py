"""Puppet itself: whether it is found, its locks, and the manifest that `command = apply` applies."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Optional

from twitch import record_files
from twitch.check import files, systemd
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.config import Config
from twitch.errors import PuppetError
from twitch.root import files as root_files
from twitch.root import puppet, puppet_locks
from twitch.root.ownership import NotOurs
from twitch.root.settings import Settings
from twitch.root.settings import load as load_settings
from twitch.root.store import Store


def check(config: Config) -> Generator[Finding, None, Optional[Settings]]:
    """Report on Puppet as root's part of a run would find it; return its settings, or None without them."""
    store = Store(record_files.ROOT)
    try:
        store.trust()
    except NotOurs as error:
        yield Finding(FAULT, error.fault, error.fix)
        return None  # root would not use the settings that are stored there either
    try:
        store.trust_history()
    except NotOurs as error:
        yield Finding(FAULT, error.fault, error.fix)
    command = yield from installed(config)
    if command is None:
        return None
    try:
        cache = os.path.join(record_files.ROOT, "settings.json")
        settings = load_settings(command, cache, puppet.environment(puppet.inherited()))
    except PuppetError as error:
        fix = f"run {command} config print --section agent as root, and fix the error that it reports"
        yield Finding(FAULT, str(error), fix, by_hand=True)
        return None
    yield Finding(GOOD, f"Puppet is {command}; its lock is {settings.agent_catalog_run_lockfile}")
    yield from _certificate(config, settings)
    yield from _locks(settings)
    return settings


def installed(config: Config) -> Generator[Finding, None, Optional[str]]:
    """Report a missing Puppet or manifest; return the path of Puppet, or None without one."""
    if config.command == "apply":
        yield from _manifest(str(config.manifest))
    try:
        return puppet.find(config.puppet_path)
    except PuppetError as error:
        fix = "install Puppet, or correct [puppet] path in puppet-twitch.conf"
        yield Finding(FAULT, str(error), fix, by_hand=True)
        return None


def _certificate(config: Config, settings: Settings) -> Iterator[Finding]:
    """Report an agent without a certificate, whose runs are not attempted."""
    if config.command == "apply" or not settings.hostcert or os.path.exists(settings.hostcert):
        return
    name = f" --certname {settings.certname}" if settings.certname else ""
    text = f"this node has no certificate ({settings.hostcert}), so no agent run can begin"
    if not settings.localcacert or os.path.exists(settings.localcacert):
        fix = f"sign it on the puppetserver: puppetserver ca sign{name}"
    else:
        fix = (
            "see why the agent does not reach its puppetserver: puppet agent -t;"
            " without a puppetserver, set [puppet] command = apply and a manifest"
        )
    yield Finding(NOTE, text, fix, by_hand=True)


def _locks(settings: Settings) -> Iterator[Finding]:
    run_lock, disabled_lock = settings.agent_catalog_run_lockfile, settings.agent_disabled_lockfile
    yield from _unreadable(run_lock, "puppet-twitch cannot see whether Puppet is running")
    yield from _unreadable(
        disabled_lock, "puppet-twitch treats Puppet as disabled and answers triggers with 423"
    )
    reason = puppet_locks.disabled_reason(disabled_lock)
    if reason is not None:
        yield Finding(NOTE, f"Puppet is disabled: {reason or 'no reason given'}", "puppet agent --enable")
    holder = puppet_locks.run_lock_holder(run_lock)
    if holder and puppet_locks.is_stuck(holder.age_s, settings.runtimeout_s):
        text = (
            f"Puppet process {holder.pid} has held {run_lock} for {holder.age_s} s, "
            f"longer than its runtimeout of {settings.runtimeout_s} s allows"
        )
        # `kill` alone does nothing to a process that is stopped, or waits for a child.
        yield Finding(FAULT, text, systemd.end_command(holder.pid))


def _unreadable(lock: str, consequence: str) -> Iterator[Finding]:
    """Report a lock file that root's part of a run cannot read: a directory, for instance, or a FIFO."""
    try:
        with root_files.open_foreign(lock, puppet_locks.MAX_LOCK_BYTES) as file:
            file.read(1)
    except FileNotFoundError:
        return
    except OSError as error:
        text = f"{lock} cannot be read ({error.strerror}), so {consequence}"
        yield Finding(FAULT, text, f"mv --no-target-directory --backup=numbered {lock} {lock}.unreadable")


def _manifest(path: str) -> Iterator[Finding]:
    yield from files.only_root_writes(path, "change what root applies")
    if not os.path.exists(path):
        fix = f"create {path}, or correct [puppet] manifest in puppet-twitch.conf"
        yield Finding(FAULT, f"the manifest {path} does not exist", fix, by_hand=True)
