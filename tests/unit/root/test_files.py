"""Files that may belong to another user are opened without waiting, bounded, and without their links."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from twitch.root import files

LIMIT = 1024
OTHER_UID = 65124


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(path))


def make_sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**30)


def make_loop(path: Path) -> None:
    path.symlink_to(path)


UNREADABLE: dict[str, tuple[Callable[[Path], object], int]] = {
    "fifo": (os.mkfifo, errno.EINVAL),
    "directory": (Path.mkdir, errno.EINVAL),
    "socket": (make_socket, errno.ENXIO),
    "link-to-zeros-without-end": (lambda path: path.symlink_to("/dev/zero"), errno.ELOOP),
    "link-to-a-file": (lambda path: path.symlink_to("/etc/passwd"), errno.ELOOP),
    "link-loop": (make_loop, errno.ELOOP),
    "a-gigabyte": (make_sparse, errno.EFBIG),
    "one-byte-too-large": (lambda path: path.write_bytes(b"x" * (LIMIT + 1)), errno.EFBIG),
    "missing": (lambda path: None, errno.ENOENT),
}


@pytest.mark.parametrize(("make", "error"), UNREADABLE.values(), ids=UNREADABLE)
def test_file_that_is_not_regular_small_and_in_place_is_an_error(
    tmp_path: Path, make: Callable[[Path], object], error: int
) -> None:
    path = tmp_path / "file"
    make(path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError) as raised:
        files.read_foreign(os.fspath(path), LIMIT)
    assert raised.value.errno == error
    assert len(os.listdir("/proc/self/fd")) == before


def test_device_is_an_error() -> None:
    with pytest.raises(OSError, match="not a regular file"):
        files.open_foreign("/dev/zero", LIMIT)


def test_file_up_to_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * LIMIT)
    assert files.read_foreign(os.fspath(path), LIMIT) == b"x" * LIMIT


def test_file_that_grows_is_read_up_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    fstat = os.fstat

    def grow(descriptor: int) -> os.stat_result:
        info = fstat(descriptor)
        if stat.S_ISREG(info.st_mode):
            path.write_bytes(b"x" * 4 * LIMIT)
        return info

    monkeypatch.setattr(os, "fstat", grow)
    assert files.read_foreign(os.fspath(path), LIMIT) == b"x" * LIMIT


# ---- the way to a file


def test_link_of_root_on_the_way_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "file").write_bytes(b"x")
    (tmp_path / "absolute").symlink_to(tmp_path / "real")
    (tmp_path / "relative").symlink_to("real/../absolute")
    for way in ("absolute", "relative", "real/./deep/..", "real//"):
        assert files.read_foreign(f"{tmp_path}/{way}/deep/file", LIMIT) == b"x"


def test_loop_of_links_on_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError) as raised:
        files.read_foreign(f"{tmp_path}/a/file", LIMIT)
    assert raised.value.errno == errno.ELOOP


def test_path_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"x")
    assert files.read_foreign("file", LIMIT) == b"x"


def test_link_of_another_user_on_the_way_is_an_error(root: None, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    os.lchown(tmp_path / "link", OTHER_UID, OTHER_UID)
    with pytest.raises(OSError) as raised:
        files.read_foreign(f"{tmp_path}/link/file", LIMIT)
    assert raised.value.errno == errno.ELOOP


# ---- a report that is moved into a directory of another user


@pytest.fixture
def foreign(root: None, tmp_path: Path) -> Iterator[Path]:
    """Return a directory of another user, `state` in it, and `precious` of root's beside it."""
    directory = tmp_path / "foreign"
    (directory / "state").mkdir(parents=True)
    (tmp_path / "precious").mkdir(mode=0o700)
    os.chown(directory, OTHER_UID, OTHER_UID)
    os.chown(directory / "state", OTHER_UID, OTHER_UID)
    (tmp_path / "private").write_bytes(b"new")
    yield directory
    # Whatever has happened: nothing has got there.
    assert os.listdir(tmp_path / "precious") == []


def move(foreign: Path) -> None:
    target = os.fspath(foreign / "state" / "report")
    files.move_foreign(os.fspath(foreign.parent / "private"), target, f"{target}.new", LIMIT)


def test_report_is_moved_into_a_directory_of_another_user(foreign: Path) -> None:
    (foreign / "state" / "report").symlink_to(foreign.parent / "precious" / "file")
    move(foreign)
    report = foreign / "state" / "report"
    assert (report.read_bytes(), report.is_symlink(), report.stat().st_mode & 0o777) == (b"new", False, 0o640)
    assert os.listdir(foreign / "state") == ["report"]
    assert not (foreign.parent / "private").exists()


def test_report_is_renamed_within_one_directory(foreign: Path) -> None:
    (foreign / "state" / "own").write_bytes(b"new")
    target = os.fspath(foreign / "state" / "report")
    files.move_foreign(f"{foreign}/state/own", target, f"{target}.new", LIMIT)
    assert os.listdir(foreign / "state") == ["report"]


def swapped(foreign: Path) -> None:
    """Exchange the directory for a link to one of root's, as its owner can at any time."""
    if not (foreign / "state").is_symlink():
        (foreign / "state").rename(foreign / "away")
        (foreign / "state").symlink_to(foreign.parent / "precious")
        os.lchown(foreign / "state", OTHER_UID, OTHER_UID)


@pytest.mark.parametrize("owner", [OTHER_UID, 0])
def test_link_in_a_directory_of_another_user_is_not_followed(foreign: Path, owner: int) -> None:
    # Its owner cannot make a link of root's, but can move one there.
    swapped(foreign)
    os.lchown(foreign / "state", owner, owner)
    with pytest.raises(OSError) as raised:
        move(foreign)
    assert raised.value.errno == errno.ELOOP


def system_calls(monkeypatch: pytest.MonkeyPatch, before_each: Callable[[int], None]) -> None:
    """Call a function with the number of each system call before it is made."""
    count = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            before_each(count)
            return call(*arguments, **options)

        return wrapper

    for name in ("open", "fstat", "readlink", "rename", "unlink", "close"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))


def test_exchanged_directory_never_leads_a_write_elsewhere(
    foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The race at each of its steps: the directory is exchanged right before the step.
    numbers: list[int] = []
    with monkeypatch.context() as patched:
        system_calls(patched, numbers.append)
        move(foreign)
    assert len(numbers) > 20
    for step in numbers:
        (tmp_path / "private").write_bytes(b"new")
        with monkeypatch.context() as patched:

            def exchange(number: int, step: int = step) -> None:
                if number == step:
                    swapped(foreign)

            system_calls(patched, exchange)
            try:
                move(foreign)
            except OSError as error:
                assert error.errno in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR)
        assert os.listdir(tmp_path / "precious") == []
        if (foreign / "state").is_symlink():
            (foreign / "state").unlink()
            (foreign / "away").rename(foreign / "state")


def test_report_that_is_too_large_is_not_moved(foreign: Path) -> None:
    (foreign.parent / "private").write_bytes(b"x" * (LIMIT + 1))
    with pytest.raises(OSError) as raised:
        move(foreign)
    assert raised.value.errno == errno.EFBIG
    assert os.listdir(foreign / "state") == []


def test_a_file_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    # A site may give UMask= to the unit of the runs, and the listener must still read the records.
    before = os.umask(0o077)
    try:
        files.write_json(os.fspath(tmp_path / "record"), {}, 0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "record").stat().st_mode & 0o777 == 0o644


def test_a_full_disk_is_named_with_the_file(tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "file")
    # What write(2) raises has no file name.
    with (
        pytest.raises(OSError, match=f"No space left on device: '{path}'"),
        files.replacing(path, f"{path}.new", 0o644),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert os.listdir(tmp_path) == []
