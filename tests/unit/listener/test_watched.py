"""A watched file: a change takes effect at once, an unchanged file is read once, a fault is logged once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twitch.errors import ConfigError
from twitch.listener import watched
from twitch.listener.watched import FaultLog, Watched


class Reader:
    """Returns the text of the file, and counts how often the file is read."""

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
    """Let every change count as an old one, unless a test says otherwise."""
    monkeypatch.setattr(watched, "SETTLED_NS", 0)


@pytest.fixture
def reader() -> Reader:
    return Reader()


def contents(file: Watched[str]) -> set[str]:
    """Return the contents that three requests get."""
    return {file.current() for _ in range(3)}


def test_unchanged_file_is_read_once(path: Path, reader: Reader) -> None:
    path.write_text("one")
    assert contents(Watched(os.fspath(path), reader)) == {"one"}
    assert reader.reads == 1


def test_missing_file_is_read_once(path: Path, reader: Reader) -> None:
    assert contents(Watched(os.fspath(path), reader)) == {"missing"}
    assert reader.reads == 1


def test_every_change_takes_effect_at_once(path: Path, reader: Reader) -> None:
    file = Watched(os.fspath(path), reader)
    assert contents(file) == {"missing"}
    path.write_text("written")
    assert contents(file) == {"written"}
    path.write_text("longer than before")
    assert contents(file) == {"longer than before"}
    other = path.with_name("other")
    other.write_text("replaced by another")
    before = path.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)
    assert contents(file) == {"replaced by another"}
    path.unlink()
    assert contents(file) == {"missing"}
    assert reader.reads == 5


def test_fault_lasts_until_it_is_fixed_and_hides_the_old_content(path: Path, reader: Reader) -> None:
    path.write_text("one")
    file = Watched(os.fspath(path), reader)
    assert contents(file) == {"one"}
    path.write_text("fault")
    for _ in range(3):
        with pytest.raises(ConfigError):
            file.current()
    path.write_text("fixed")
    assert contents(file) == {"fixed"}


def test_fault_is_logged_once_and_again_when_it_comes_back(
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
        path.write_text("fixed")
        assert contents(file) == {"fixed"}


def test_two_changes_within_one_tick_of_the_clock(
    path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "SETTLED_NS", 3600 * 10**9)
    file = Watched(os.fspath(path), reader)
    path.write_text("one")
    stamp = file._stamp()
    assert file.current() == "one"
    monkeypatch.setattr(file, "_stamp", lambda: stamp)  # as with a coarse clock
    path.write_text("two")
    assert file.current() == "two"


def test_fault_log_logs_another_fault_and_only_faults(caplog: pytest.LogCaptureFixture) -> None:
    faults = FaultLog()
    for text in ("one", "one", "two", "two", "one"):
        with pytest.raises(ConfigError), faults.once():
            raise ConfigError(text)
    with pytest.raises(RuntimeError), faults.once():
        raise RuntimeError("not a fault in a file")
    assert caplog.messages == ["one", "two", "one"]


def test_debug_log_says_when_a_file_is_read(
    path: Path, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    path.write_text("one")
    file = Watched(os.fspath(path), reader)
    assert contents(file) == {"one"}
    path.write_text("another")
    assert contents(file) == {"another"}
    assert caplog.messages == [f"{path} is read"] * 2
