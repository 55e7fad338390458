"""Puppet's lock file, written beside other tools: whole, exclusive, and never over what they have done."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from twitch.errors import TwitchError
from twitch.root import disabled_lock, files
from twitch.root.disabled_lock import LockFile, NotALock, opened
from twitch.root.puppet_locks import MAX_LOCK_BYTES

OURS, NEW, BY_HAND = b'{"ours":1}', b'{"ours":2}', b'{"by hand":1}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent_disabled.lock"


@pytest.fixture
def lock(path: Path) -> Iterator[LockFile]:
    with opened(os.fspath(path)) as file:
        yield file


def test_new_lock_is_whole_and_readable_for_all(lock: LockFile, path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert lock.create(OURS)
    finally:
        os.umask(before)
    assert path.read_bytes() == OURS
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == [path.name]


def test_new_lock_takes_the_place_of_no_other(lock: LockFile, path: Path) -> None:
    path.write_bytes(BY_HAND)
    assert not lock.create(OURS)
    assert path.read_bytes() == BY_HAND
    assert os.listdir(path.parent) == [path.name]


def test_lock_is_replaced_and_removed(lock: LockFile, path: Path) -> None:
    assert lock.read() is None
    path.write_bytes(OURS)
    found = lock.read()
    assert found and found.content == OURS
    assert lock.replace(found, NEW)
    assert path.read_bytes() == NEW
    found = lock.read()
    assert found and lock.remove(found)
    assert os.listdir(path.parent) == []


def enable(path: Path) -> None:
    path.unlink()


def enable_and_disable(path: Path) -> None:
    path.unlink()
    path.write_bytes(BY_HAND)


BETWEEN: dict[str, tuple[Callable[[Path], None], list[bytes]]] = {
    "enabled": (enable, []),
    "enabled-and-disabled": (enable_and_disable, [BY_HAND]),
}


@pytest.mark.parametrize(("by_hand", "left"), BETWEEN.values(), ids=BETWEEN)
@pytest.mark.parametrize("change", ["replace", "remove"])
@pytest.mark.parametrize("moment", ["before the look", "after the look"])
def test_lock_that_was_changed_by_hand_is_left_alone(
    lock: LockFile,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by_hand: Callable[[Path], None],
    left: list[bytes],
    change: str,
    moment: str,
) -> None:
    path.write_bytes(OURS)
    found = lock.read()
    assert found
    if moment == "before the look":
        by_hand(path)
    else:
        look = LockFile._is

        def is_and_then(self: LockFile, name: str, one: disabled_lock.Found) -> bool:
            answer = look(self, name, one)
            if name == path.name:
                by_hand(path)
            return answer

        monkeypatch.setattr(LockFile, "_is", is_and_then)
    assert not (lock.replace(found, NEW) if change == "replace" else lock.remove(found))
    assert [file.read_bytes() for file in path.parent.iterdir()] == left


def test_lock_that_was_written_in_place_is_another_one(lock: LockFile, path: Path) -> None:
    path.write_bytes(OURS)
    found = lock.read()
    path.write_bytes(BY_HAND)
    assert found and not lock.replace(found, NEW)


def test_file_system_that_cannot_exchange(
    lock: LockFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(disabled_lock, "_exchange", cannot)
    path.write_bytes(OURS)
    found = lock.read()
    assert found and lock.replace(found, NEW)
    assert path.read_bytes() == NEW


PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "directory": (
        lambda path: path.mkdir(),
        "is a directory, and not a lock of Puppet",
    ),
    "link": (lambda path: path.symlink_to("/etc/passwd"), "is a symbolic link"),
    "dangling-link": (lambda path: path.symlink_to("/nonexistent"), "is a symbolic link"),
    "fifo": (lambda path: os.mkfifo(path), "is a FIFO"),
    "large": (lambda path: path.write_bytes(b" " * (MAX_LOCK_BYTES + 1)), "has more than"),
}


@pytest.mark.parametrize(("make", "text"), PLACES.values(), ids=PLACES)
def test_other_things_in_the_place_of_the_lock_are_named(
    lock: LockFile, path: Path, make: Callable[[Path], object], text: str
) -> None:
    make(path)
    with pytest.raises(NotALock, match=text):
        lock.read()
    assert path.is_symlink() or path.exists()


def test_missing_directory_is_named(tmp_path: Path) -> None:
    text = f"^{tmp_path}/state does not exist, because Puppet has never run on this node; puppet agent --dis"
    with pytest.raises(TwitchError, match=text), opened(os.fspath(tmp_path / "state" / "lock")):
        pass


def test_full_disk_leaves_the_lock_as_it_is(
    lock: LockFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(OURS)
    found = lock.read()
    assert found

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*agent_disabled\.lock'"):
        lock.replace(found, NEW)
    assert [file.read_bytes() for file in path.parent.iterdir()] == [OURS]


def test_file_that_a_killed_writer_has_left_is_removed(lock: LockFile, path: Path) -> None:
    (path.parent / ".agent_disabled.lock.puppet-twitch-0011223344556677").write_bytes(OURS)
    assert lock.create(OURS)
    assert os.listdir(path.parent) == [path.name]


def test_lock_behind_a_link_of_another_user_is_not_written(tmp_path: Path) -> None:
    # As files.open_directory; the link is in a directory that others may change.
    (tmp_path / "elsewhere").mkdir()
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "state").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Too many levels"), opened(os.fspath(open_to_all / "state" / "lock")):
        pass
    files.remove(os.fspath(open_to_all / "state"))
