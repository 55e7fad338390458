"""Holds in `check`: those that should have ended, and those whose end nothing is waiting for."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from twitch import record_files
from twitch.check import disabling, systemd
from twitch.check.findings import FAULT, Finding
from twitch.root import expiry_timer
from twitch.root.settings import Settings
from twitch.root.store import Store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    lock = os.fspath(tmp_path / "agent_disabled.lock")
    return Settings("", lock, "", "", "", "", "")


@pytest.fixture(autouse=True)
def timer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the timer be active."""
    monkeypatch.setattr(record_files, "ROOT", os.fspath(tmp_path))
    monkeypatch.setattr(systemd, "show", lambda unit, name: "active")


def hold(settings: Settings, ends_in_s: float) -> None:
    fields = {
        "caller": "token:x",
        "client": "::1",
        "reason": "x",
        "since": 1,
        "until": time.time() + ends_in_s,
    }
    content = {"disabled_message": "x", "puppet_twitch": {"holds": [fields]}}
    Path(settings.agent_disabled_lockfile).write_text(json.dumps(content))


def remember(settings: Settings) -> None:
    store = Store(record_files.ROOT)
    store.prepare_state()
    Path(store.disabled_path).write_text(json.dumps({"lock": settings.agent_disabled_lockfile}))


def texts(found: list[Finding]) -> str:
    assert all((finding.level, finding.fix) == (FAULT, "puppet-twitch expire") for finding in found)
    return "\n".join(finding.text for finding in found)


def test_hold_that_will_end_is_no_fault(settings: Settings) -> None:
    assert list(disabling.check(settings)) == []
    hold(settings, 3600)
    remember(settings)
    assert list(disabling.check(settings)) == []


def test_hold_that_has_just_ended_is_no_fault(settings: Settings) -> None:
    hold(settings, -1)
    assert list(disabling.check(settings)) == []


def test_lock_of_another_tool_is_no_fault(settings: Settings) -> None:
    Path(settings.agent_disabled_lockfile).write_text('{"disabled_message":"by hand"}')
    assert list(disabling.check(settings)) == []


def test_hold_that_should_have_ended_is_a_fault(settings: Settings) -> None:
    hold(settings, -120)
    text = texts(list(disabling.check(settings)))
    assert text.startswith("Puppet is still disabled, although the hold of token:x has ended at 20")


@pytest.mark.parametrize("missing", ["timer", "file"])
def test_end_that_nothing_waits_for_is_a_fault(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    hold(settings, 3600)
    if missing == "timer":
        remember(settings)
        monkeypatch.setattr(systemd, "show", lambda unit, name: "inactive")
    text = texts(list(disabling.check(settings)))
    assert (expiry_timer.TIMER in text) is (missing == "timer")
    assert ("disabled.json is missing" in text) is (missing == "file")
