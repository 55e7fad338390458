"""The store of root's side, in a directory of the test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twitch.root.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store without records."""
    store = Store(os.fspath(tmp_path))
    os.mkdir(store.directory)
    return store
