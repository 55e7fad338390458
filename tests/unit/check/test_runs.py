"""The run that is under way, by `check`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twitch import record_files
from twitch.check import runs, systemd
from twitch.check.findings import FAULT, GOOD, Finding
from twitch.records import QUEUED, RUNNING, Record
from twitch.root import puppet_locks
from twitch.root.claims import Claim
from twitch.root.process import start_time
from twitch.root.settings import Settings
from twitch.root.store import Store

ONE, OTHER = "a" * 32, "b" * 32
SETTINGS = Settings(
    agent_catalog_run_lockfile="/none/run.lock",
    agent_disabled_lockfile="/none/disabled.lock",
    config="",
    lastrunfile="",
    lastrunreport="",
    logdest="",
    runtimeout="1h",
)


@pytest.fixture
def store(root: None, history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    run = tmp_path / "run"
    run.mkdir(mode=0o755)
    monkeypatch.setattr(record_files, "ROOT", os.fspath(run))
    monkeypatch.setattr(systemd, "unit_of", lambda pid: "puppet-twitch-run@5.service")
    store = Store(os.fspath(run))
    store.prepare(os.getegid())
    return store


def claim(run: str) -> Claim:
    start = start_time(os.getpid())
    assert start is not None
    return Claim(run, os.getpid(), start)


def test_an_idle_node_has_no_finding(store: Store) -> None:
    assert list(runs.check(SETTINGS)) == []


def test_a_run_of_ours_is_named_with_its_caller(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1764126011.0)
    record = Record(
        ONE, RUNNING, 1764126000.0, caller="token:deploy", client="192.0.2.7", started=1764126001.0
    )
    store.write(record)
    store.claims.write_current(claim(ONE))
    store.write(Record(OTHER, QUEUED, 1764126002.0, caller="anonymous", client="::1"))
    store.claims.write_queued(claim(OTHER))
    process = f"pid {os.getpid()}, unit puppet-twitch-run@5.service"
    assert list(runs.check(SETTINGS)) == [
        Finding(
            GOOD,
            f"Puppet is running: run {ONE}, asked for by token:deploy at 192.0.2.7, "
            f"since 2025-11-26 03:00:01 UTC, {process}; until it ends, triggers get 409",
        ),
        Finding(
            GOOD,
            f"in the queue: run {OTHER}, asked for by anonymous at ::1, "
            f"since 2025-11-26 03:00:02 UTC, {process}",
        ),
    ]


def test_a_masterless_run_that_takes_too_long_is_a_fault(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(Record(ONE, RUNNING, 1764126000.0, caller="anonymous", client="::1", started=1764126001.0))
    store.claims.write_current(claim(ONE))
    monkeypatch.setattr(systemd, "end_command", lambda pid: f"end {pid}")
    monkeypatch.setattr("time.time", lambda: 1764126001.0 + 3600 + puppet_locks.STUCK_GRACE_S)
    assert [finding.level for finding in runs.check(SETTINGS)] == [GOOD]
    monkeypatch.setattr("time.time", lambda: 1764126001.0 + 3601 + puppet_locks.STUCK_GRACE_S)
    [_, fault] = runs.check(SETTINGS)
    text = f"Puppet process {os.getpid()} has taken 3901 s, longer than a runtimeout of 3600 s allows"
    assert fault == Finding(FAULT, text, f"end {os.getpid()}")
    # An agent has the lock, and its age is reported once.
    monkeypatch.setattr(puppet_locks, "run_lock_holder", lambda lock: puppet_locks.Holder(os.getpid(), 3901))
    assert [finding.level for finding in runs.check(SETTINGS)] == [GOOD]


def test_a_run_of_another_is_named_with_its_unit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puppet_locks, "run_lock_holder", lambda lock: puppet_locks.Holder(4711, 10))
    monkeypatch.setattr(systemd, "unit_of", lambda pid: "session-3.scope")
    monkeypatch.setattr("time.time", lambda: 1764126011.0)
    text = (
        "Puppet is running: not started by puppet-twitch, since 2025-11-26 03:00:01 UTC, "
        "pid 4711, unit session-3.scope; until it ends, triggers get 409"
    )
    assert list(runs.check(SETTINGS)) == [Finding(GOOD, text)]


def test_without_settings_nothing_is_said(store: Store) -> None:
    assert list(runs.check(None)) == []
