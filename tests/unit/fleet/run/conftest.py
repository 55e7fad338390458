"""What the tests of `run` share: where results are left behind, and short pauses and limits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twitch.fleet.node import connection
from twitch.fleet.run import following, proving, stage, start_once


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory of the default result files."""
    monkeypatch.setitem(os.environ, "XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses before something is asked again, from minutes to moments."""
    monkeypatch.setattr(start_once, "LOOKS_S", (0.05, 0.1))
    monkeypatch.setattr(start_once, "NOT_SENT_S", 0.05)
    monkeypatch.setattr(start_once, "BUSY_S", (0.1, 0.2))
    monkeypatch.setattr(start_once, "MAX_RETRY_AFTER_S", 0.2)
    monkeypatch.setattr(stage, "OVERTAKEN_S", 0.1)
    monkeypatch.setattr(following, "AGAIN_S", (0.1, 0.2))
    monkeypatch.setattr(following, "LOOK_S", (0.1, 0.2))
    monkeypatch.setattr(following, "SILENT_S", 0.5)
    monkeypatch.setattr(following, "TURN_S", 0.2)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon what does not come: in tests where nothing comes, or nothing may come late."""
    monkeypatch.setattr(connection, "ANSWER_S", 0.5)
    monkeypatch.setattr(following, "OUT_OF_REACH_S", 0.5)
    monkeypatch.setattr(proving, "PROOF_S", 0.5)
    monkeypatch.setattr(proving, "LONGEST_S", 1.0)
