"""A file system without room for a new file, and a record that is longer than its room."""

from __future__ import annotations

import os
from typing import Any

import pytest

from twitch.resources import Resource
from twitch.root import files

MANY = tuple(Resource(f"File[/{number}]", "changed", False, "/site.pp", number) for number in range(200))


def no_room(monkeypatch: pytest.MonkeyPatch, *directories: str) -> None:
    """Let every new file in these directories fail, as on a full disk."""
    replacing = files.replacing

    def full(path: str, temporary: str, mode: int) -> Any:
        if os.path.dirname(path) in directories:
            raise OSError(28, "No space left on device", path)
        return replacing(path, temporary, mode)

    monkeypatch.setattr(files, "replacing", full)
