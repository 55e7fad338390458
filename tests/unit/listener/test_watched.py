"""A watched file: a change counts at once, an unchanged file is read once, a fault lasts as it stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twitch.errors import ConfigError
from twitch.listener import watched
from twitch.listener.watched import Watched


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


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change is taken to be an old one, but where a test says otherwise."""
    monkeypatch.setattr(watched, "SETTLED_NS", 0)


@pytest.fixture
def reader() -> Reader:
    return Reader()


def looks(file: Watched[str]) -> set[str]:
    return {file.current() for _ in range(3)}


def test_an_unchanged_file_is_read_once(path: Path, reader: Reader) -> None:
    path.write_text("one")
    assert looks(Watched(os.fspath(path), reader)) == {"one"}
    assert reader.reads == 1


def test_a_missing_file_is_looked_for_once(path: Path, reader: Reader) -> None:
    assert looks(Watched(os.fspath(path), reader)) == {"missing"}
    assert reader.reads == 1


def test_every_change_counts_at_once(path: Path, reader: Reader) -> None:
    file = Watched(os.fspath(path), reader)
    assert looks(file) == {"missing"}
    path.write_text("written")
    assert looks(file) == {"written"}
    path.write_text("longer than before")
    assert looks(file) == {"longer than before"}
    other = path.with_name("other")
    other.write_text("replaced by another")
    before = path.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)
    assert looks(file) == {"replaced by another"}
    path.unlink()
    assert looks(file) == {"missing"}
    assert reader.reads == 5


def test_a_fault_holds_until_it_is_mended_and_nothing_older_is_said_meanwhile(
    path: Path, reader: Reader
) -> None:
    path.write_text("one")
    file = Watched(os.fspath(path), reader)
    assert looks(file) == {"one"}
    path.write_text("fault")
    for _ in range(3):
        with pytest.raises(ConfigError):
            file.current()
    path.write_text("mended")
    assert looks(file) == {"mended"}


def test_a_fault_is_logged_once_and_again_when_it_comes_back(
    path: Path, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    file = Watched(os.fspath(path), reader)
    for _ in range(2):
        path.write_text("fault")
        for _ in range(3):
            with pytest.raises(ConfigError):
                file.current()
        assert caplog.messages == ["fault"]
        caplog.clear()
        path.write_text("mended")
        assert looks(file) == {"mended"}


def test_two_changes_within_one_tick_are_two(
    path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "SETTLED_NS", 3600 * 10**9)
    file = Watched(os.fspath(path), reader)
    path.write_text("one")
    stamp = file._stamp()
    assert file.current() == "one"
    monkeypatch.setattr(file, "_stamp", lambda: stamp)  # what a coarse clock makes of it
    path.write_text("two")
    assert file.current() == "two"
