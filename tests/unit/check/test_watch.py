"""The optional watch, as check reports on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.check.levels import texts
from twitch.check import systemd, watch
from twitch.check.findings import FAULT, GOOD, NOTE


@pytest.mark.parametrize("usual", [True, False], ids=["usual place", "place of the site"])
def test_missing_directory_of_the_textfile_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usual: bool
) -> None:
    path = os.fspath(tmp_path / "textfiles/puppet-twitch.prom")
    shown = {"UnitFileState": "enabled", "ActiveState": "active", "Result": "success"}
    if usual:
        monkeypatch.setattr(watch, "TEXTFILE", path)
    else:
        shown["Environment"] = f"PUPPET_TWITCH_TEXTFILE={path}"
    monkeypatch.setattr(systemd, "show", lambda unit, name: shown.get(name, ""))
    # A node without node_exporter may have the watch for the history alone.
    text = [f"{tmp_path}/textfiles does not exist, so no metrics are written"]
    assert texts(watch.check(None), GOOD if usual else FAULT) == text
    (tmp_path / "textfiles").mkdir()
    assert len(texts(watch.check(None), NOTE)) == 1
    Path(path).touch()
    assert texts(watch.check(None), GOOD) == [f"metrics for node_exporter are in {path}"]
