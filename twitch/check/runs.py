"""The run that is under way, and the one in the queue: the reason why a trigger is answered 409."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Optional

from twitch import record_files
from twitch.check import systemd
from twitch.check.findings import FAULT, GOOD, Finding
from twitch.root import puppet_locks
from twitch.root.claims import Claim
from twitch.root.settings import Settings
from twitch.root.store import Store


def check(settings: Optional[Settings]) -> Iterator[Finding]:
    """Report who has a run under way, since when, and its process; without settings, nothing."""
    if settings is None:
        return
    store = Store(record_files.ROOT)
    ours, waiting = store.claims.running(), store.claims.queued()
    holder = puppet_locks.run_lock_holder(settings.agent_catalog_run_lockfile)
    if ours:
        yield Finding(GOOD, f"Puppet is running: {_run(store, ours)}; until it ends, triggers get 409")
        if not holder:  # a run of an agent has the lock, of which `agent` reports the age
            yield from _stuck(store, ours, settings)
    elif holder:
        since_s = time.time() - holder.age_s
        text = (
            f"Puppet is running: not started by puppet-twitch, since {_moment(since_s)}, "
            f"{_process(holder.pid)}; until it ends, triggers get 409"
        )
        yield Finding(GOOD, text)
    if waiting:
        yield Finding(GOOD, f"in the queue: {_run(store, waiting)}")


def _stuck(store: Store, claim: Claim, settings: Settings) -> Iterator[Finding]:
    """Report a run of `puppet apply` that the status calls stuck; it has no lock."""
    record = store.read(claim.run)
    if record is None or record.started is None:
        return
    age_s = int(time.time() - record.started)
    if puppet_locks.is_stuck(age_s, settings.runtimeout_s):
        limit = f"longer than a runtimeout of {settings.runtimeout_s} s allows"
        text = f"Puppet process {claim.pid} has taken {age_s} s, {limit}"
        yield Finding(FAULT, text, systemd.end_command(claim.pid))


def _run(store: Store, claim: Claim) -> str:
    record = store.read(claim.run)
    if record is None:
        return f"run {claim.run}, {_process(claim.pid)}"
    asked = f"asked for by {record.caller or 'unknown'} at {record.client or 'unknown'}"
    since_s = record.asked if record.started is None else record.started
    return f"run {claim.run}, {asked}, since {_moment(since_s)}, {_process(claim.pid)}"


def _process(pid: int) -> str:
    return f"pid {pid}, unit {systemd.unit_of(pid) or 'unknown'}"


def _moment(epoch_s: float) -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(epoch_s))} UTC"
