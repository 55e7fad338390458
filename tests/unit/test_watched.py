"""A watched file: a change counts at once, an unchanged file is read once, a fault lasts as it stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twitch.errors import ConfigError
from twitch.watched import Watched


class Reader:
    """Returns what stands in the file, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, path: str) -> str:
        self.reads += 1
        text = Path(path).read_text() if os.path.exists(path) else "missing"
        if text == "fault":
            raise ConfigError(text)
        return text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.fixture
def reader() -> Reader:
    return Reader()


def looks(watched: Watched[str]) -> set[str]:
    return {watched.current() for _ in range(3)}


def test_an_unchanged_file_is_read_once(path: Path, reader: Reader) -> None:
    path.write_text("one")
    assert looks(Watched(os.fspath(path), reader)) == {"one"}
    assert reader.reads == 1


def test_a_missing_file_is_looked_for_once(path: Path, reader: Reader) -> None:
    assert looks(Watched(os.fspath(path), reader)) == {"missing"}
    assert reader.reads == 1


def test_every_change_counts_at_once(path: Path, reader: Reader) -> None:
    watched = Watched(os.fspath(path), reader)
    assert looks(watched) == {"missing"}
    path.write_text("written")
    assert looks(watched) == {"written"}
    path.write_text("longer than before")
    assert looks(watched) == {"longer than before"}
    other = path.with_name("other")
    other.write_text("replaced by another")
    before = path.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)
    assert looks(watched) == {"replaced by another"}
    path.unlink()
    assert looks(watched) == {"missing"}
    assert reader.reads == 5


def test_a_fault_holds_until_it_is_mended_and_nothing_older_is_said_meanwhile(
    path: Path, reader: Reader
) -> None:
    path.write_text("one")
    watched = Watched(os.fspath(path), reader)
    assert looks(watched) == {"one"}
    path.write_text("fault")
    for _ in range(3):
        with pytest.raises(ConfigError):
            watched.current()
    path.write_text("mended")
    assert looks(watched) == {"mended"}
