"""Stamps: any change of a directory or a file is seen, and what cannot be seen is never unchanged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest

from twitch import stamps


def test_stamp_changes_with_every_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "RACY_S", 0)
    paths = (os.fspath(tmp_path),)
    seen = [stamps.stamp(paths)]
    lock = tmp_path / "lock"
    changes: list[Callable[[], object]] = [
        lock.touch,
        lambda: os.replace(lock, tmp_path / "other"),
        (tmp_path / "other").unlink,
    ]
    for change in changes:
        before = os.stat(tmp_path).st_ctime_ns
        while os.stat(tmp_path).st_ctime_ns == before:  # the clock of the file system has ticks
            (tmp_path / "tick").touch()
            (tmp_path / "tick").unlink()
        seen.append(stamps.stamp(paths))
        change()
    assert None not in seen and len(set(seen)) == len(seen)
    assert stamps.stamp(paths) == stamps.stamp(paths)


def test_change_of_this_moment_has_no_stamp(tmp_path: Path) -> None:
    tmp_path.joinpath("lock").touch()
    assert stamps.stamp((os.fspath(tmp_path),)) is None


def test_missing_path_has_no_stamp(tmp_path: Path) -> None:
    assert stamps.stamp((os.fspath(tmp_path / "missing"),)) is None
