"""Root's files: records are written whole, with room for the verdict, for the right readers."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Callable

import pytest

from tests.unit.full_disk import MANY, no_room
from tests.unit.records import OTHER, RUN, finished, record, run_id
from twitch.record_files import Records
from twitch.records import QUEUED
from twitch.root import history, record_writer
from twitch.root.claims import Claim
from twitch.root.ownership import NotOurs
from twitch.root.store import Store

CLAIM = Claim(RUN, 1, 1)


# ---- writing records


def test_written_record_replaces_the_one_before(store: Store) -> None:
    for written in (record(reason='é \n "'), finished("changed")):
        store.write(written)
        assert store.read(RUN) == written
        assert Records(store.root).read(RUN) == written  # as the listener reads it
    assert os.listdir(store.directory) == [f"{RUN}.json"]  # neither a temporary file nor the room is left


def test_reader_sees_a_whole_record_or_the_one_before(store: Store) -> None:
    long = record(error="x" * 100_000)
    store.write(long)

    def write() -> None:
        for number in range(300):
            store.write(long._replace(duration_s=number))

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        found = store.read(RUN)
        assert found is not None and len(found.error or "") == 100_000
    final = store.read(RUN)
    assert final is not None and final.duration_s == 299  # the writer has written to its end


def test_record_that_cannot_be_written_leaves_the_one_before(store: Store) -> None:
    store.write(record())
    with pytest.raises(TypeError):
        store.write(record(reason=object()))
    assert store.read(RUN) == record()
    assert sorted(os.listdir(store.directory)) == [f"{RUN}.json", f"{RUN}.room"]


def test_record_whose_file_cannot_be_replaced_leaves_no_temporary_file(store: Store) -> None:
    os.mkdir(store.path(RUN))
    with pytest.raises(IsADirectoryError):
        store.write(record())
    assert os.listdir(store.directory) == [f"{RUN}.json"]


def test_temporary_file_of_a_killed_writer_is_no_obstacle(store: Store, tmp_path: Path) -> None:
    # A recycled pid gives the same name; a link at that name is replaced, never followed.
    target = tmp_path / "target"
    target.write_text("untouched")
    os.symlink(target, f"{store.path(RUN)}.{os.getpid()}")
    store.write(record())
    assert (store.read(RUN), target.read_text()) == (record(), "untouched")
    assert sorted(os.listdir(store.directory)) == [f"{RUN}.json", f"{RUN}.room"]


def test_noted_reason_is_added_to_the_record(store: Store) -> None:
    store.write(record())
    store.note(RUN, "Puppet disabled: maintenance")
    assert store.read(RUN) == record(reason="Puppet disabled: maintenance")


def test_noted_reason_without_a_record_makes_none(store: Store) -> None:
    store.note(RUN, "Puppet disabled: maintenance")
    assert not store.recorded(RUN)


def test_invalid_record_is_recorded_and_not_read(store: Store) -> None:
    Path(store.path(RUN)).write_text("{")
    assert (store.recorded(RUN), store.read(RUN)) == (True, None)
    assert (store.recorded(OTHER), store.read(OTHER)) == (False, None)


# ---- the room for a verdict, and the disk


def test_verdict_has_its_room_on_a_full_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(record())
    no_room(monkeypatch, store.directory, store.history)
    store.write(finished("failed", error="x" * 5000))
    assert store.read(RUN) == finished("failed", error="x" * 5000)
    assert os.listdir(store.directory) == [f"{RUN}.json"]


def test_run_without_room_for_its_verdict_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=f"No space left on device: '.*/{RUN}.room'"):
        store.write(record())
    assert os.listdir(store.directory) == []


def test_run_in_the_queue_keeps_its_room_when_it_cannot_begin(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(record(state=QUEUED))
    no_room(monkeypatch, store.directory, store.history)
    with pytest.raises(OSError, match="No space left"):
        store.write(record())
    store.note(RUN, "its turn could not be taken")
    assert store.read(RUN) == record(state=QUEUED, reason="its turn could not be taken")


def test_details_without_room_go_to_the_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.prepare(os.getgid())
    store.write(record())
    no_room(monkeypatch, store.directory)
    full(monkeypatch)
    store.write(finished("changed", resources=MANY))
    assert store.read(RUN) == finished("changed", resources=MANY)
    assert (os.listdir(store.directory), os.listdir(store.history)) == ([], [f"{RUN}.json"])


def test_verdict_is_not_lost_to_its_details(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.prepare(os.getgid())
    store.write(record())
    no_room(monkeypatch, store.directory, store.history)
    full(monkeypatch)
    store.write(finished("changed", resources=MANY, resources_left_out=7))
    assert store.read(RUN) == finished("changed", resources_left_out=207)


def test_verdict_is_not_lost_to_long_names(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(record())
    no_room(monkeypatch, store.directory, store.history)
    full(monkeypatch)
    long = finished("failed", resources=MANY, failed_resources=("é" * 200,) * 20, error="x")
    store.write(long)
    assert store.read(RUN) == finished("failed", resources_left_out=200)


def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the room of a verdict be all that is left of a file system."""
    pwrite = os.pwrite

    def within(descriptor: int, content: bytes, offset: int) -> int:
        room = record_writer.ROOM_BYTES - offset
        if room <= 0:
            raise OSError(28, "No space left on device")
        return pwrite(descriptor, content[:room], offset)

    monkeypatch.setattr(os, "pwrite", within)


def test_verdict_without_room_goes_to_the_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.prepare(os.getgid())
    store.write(record())
    os.unlink(os.path.join(store.directory, f"{RUN}.room"))
    no_room(monkeypatch, store.directory)
    store.write(finished("changed"))
    assert store.read(RUN) == Records(store.root).read(RUN) == finished("changed")
    assert os.listdir(store.history) == [f"{RUN}.json"]


def test_verdict_without_room_anywhere_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.prepare(os.getgid())
    store.write(record())
    os.unlink(os.path.join(store.directory, f"{RUN}.room"))
    no_room(monkeypatch, store.directory, store.history)
    with pytest.raises(OSError, match=f"No space left on device: '{store.path(RUN)}'"):
        store.write(finished("changed"))
    assert store.read(RUN) == record()


def test_records_are_readable_whatever_the_umask_of_the_site(store: Store) -> None:
    before = os.umask(0o077)
    try:
        store.prepare(os.getgid())
        store.write(record(OTHER))
        store.write(record())
        store.write(finished("changed"))
        history.move_ended(store)
    finally:
        os.umask(before)
    for path in (store.path(OTHER), store.history_path(RUN)):
        assert os.stat(path).st_mode & 0o777 == 0o644
    assert os.stat(store.state).st_mode & 0o777 == 0o755


# ---- whose directory it is


def replace_by_link(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    path.symlink_to("/tmp")


SPOILT: dict[str, Callable[[Path], None]] = {
    "mode-of-the-directory": lambda root: root.chmod(0o777),
    "mode-of-runs": lambda root: root.joinpath("runs").chmod(0o770),
    "link-runs": lambda root: replace_by_link(root / "runs"),
    "link-lock": lambda root: replace_by_link(root / "lock"),
    "link-concluding": lambda root: replace_by_link(root / "concluding"),
    "link-current": lambda root: replace_by_link(root / "current.json"),
    "link-queued": lambda root: replace_by_link(root / "queued.json"),
    "link-settings": lambda root: replace_by_link(root / "settings.json"),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_directory_that_others_can_change_is_not_trusted(
    store: Store, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    store.trust()
    spoil(tmp_path)
    with pytest.raises(NotOurs, match=f"rm -rf {tmp_path}; systemctl restart puppet-twitch-run.socket"):
        store.trust()


def test_directory_of_another_user_is_not_trusted(root: None, store: Store, tmp_path: Path) -> None:
    os.chown(tmp_path, 65123, 65123)
    with pytest.raises(NotOurs, match=f"{tmp_path} belongs to uid 65123 instead of root"):
        store.trust()


@pytest.mark.parametrize("whose", ["a link", "another user"])
def test_history_of_another_user_is_not_touched(root: None, store: Store, whose: str) -> None:
    state = Path(store.state)
    runs = state / "runs"
    if whose == "a link":
        runs = state / "target"
    runs.mkdir(parents=True)
    if whose == "a link":
        state.joinpath("runs").symlink_to(runs)
    else:
        os.chown(runs, 65123, 65123)
    forged = runs / f"{OTHER}.json"
    forged.write_text(json.dumps(finished("changed", OTHER).to_json()))
    os.mkfifo(runs / f"{run_id(3)}.json")
    os.utime(forged, (1, 1))
    store = Store(store.root)
    store.prepare(0)
    store.write(finished("changed"))
    with pytest.raises(NotOurs, match="no history of runs is kept"):
        history.move_ended(store)
    history.prune(store)
    assert store.newest() == [finished("changed")]
    assert sorted(os.listdir(runs)) == sorted([forged.name, f"{run_id(3)}.json"])
    # The listener does not wait for a FIFO.
    assert len(Records(store.root).newest()) == 2


# ---- who may read


def test_runs_directory_is_for_the_listeners_group_whatever_the_umask(root: None, tmp_path: Path) -> None:
    store = Store(os.fspath(tmp_path))
    before = os.umask(0o077)
    try:
        store.prepare(os.getgid())
        store.prepare(os.getgid())  # it exists already
    finally:
        os.umask(before)
    info = os.stat(store.directory)
    assert (info.st_mode & 0o777, info.st_gid) == (0o750, os.getgid())


def test_claims_and_locks_are_for_root_only(store: Store, tmp_path: Path) -> None:
    store.claims.write_current(CLAIM)
    store.claims.write_queued(CLAIM)
    with store.claims.locked(), store.concluding():
        pass
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()}
    assert modes == dict.fromkeys(("current.json", "queued.json", "lock", "concluding"), 0o600)
