"""The history: records of ended runs move to the disk with nothing lost, and old ones are pruned."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.full_disk import MANY, no_room
from tests.unit.records import OTHER, RUN, finished, record, run_id
from twitch.records import Record
from twitch.root import history, record_writer
from twitch.root.store import Store


def numbered(number: int) -> Record:
    """Return the record of one of several runs; a higher number was asked for later."""
    return record(run_id(number), asked=1000.0 + number)


# ---- to the disk


def test_ended_records_move_to_the_disk_with_all_their_files(store: Store) -> None:
    store.prepare(os.getgid())
    store.write(record(OTHER))
    store.write(finished("changed"))
    for ending in ("jsonl", "yaml"):  # of version 1.0.0
        Path(store.directory, f"{RUN}.{ending}").touch()
    history.move_ended(store)
    assert os.listdir(store.history) == [f"{RUN}.json"]
    assert sorted(os.listdir(store.directory)) == [f"{OTHER}.json", f"{OTHER}.room"]
    assert [found.run for found in store.newest()] == [RUN, OTHER] or len(store.newest()) == 2
    assert os.stat(store.history_path(RUN)).st_mode & 0o777 == 0o644


def test_ended_records_move_to_a_history_that_is_not_there_yet(store: Store) -> None:
    store.write(finished("changed"))
    history.move_ended(store)
    assert (os.listdir(store.directory), os.listdir(store.history)) == ([], [f"{RUN}.json"])


def test_ended_records_stay_where_the_disk_takes_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.prepare(os.getgid())
    store.write(finished("changed"))
    with monkeypatch.context() as patch:
        no_room(patch, store.history)
        with pytest.raises(OSError, match="No space left"):
            history.move_ended(store)
    assert (store.read(RUN), os.listdir(store.history)) == (finished("changed"), [])
    history.move_ended(store)
    assert (store.read(RUN), os.listdir(store.directory)) == (finished("changed"), [])


def test_disk_without_room_for_details_takes_the_verdict(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.prepare(os.getgid())
    store.write(finished("changed", resources=MANY))
    write_record = record_writer.write

    def almost_full(path: str, record: Record, *, durable: bool = False) -> None:
        if record.resources:
            raise OSError(28, "No space left on device", path)
        write_record(path, record, durable=durable)

    monkeypatch.setattr(record_writer, "write", almost_full)
    history.move_ended(store)
    assert os.listdir(store.directory) == []
    assert store.read(RUN) == finished("changed", resources_left_out=200)


# ---- pruning


def test_prune_keeps_the_last_fifty_runs_with_all_their_files(store: Store) -> None:
    store.prepare(os.getgid())
    for number in range(60):
        store.write(numbered(number))
    for number in range(40):
        store.write(finished("changed", run_id(number), asked=1000.0 + number))
    history.move_ended(store)
    history.prune(store)
    assert ids(store.directory, store.history) == set(range(10, 60))
    assert len(os.listdir(store.history)) == 30
    assert len(os.listdir(store.directory)) == 2 * 20


def test_prune_keeps_the_newest_records_within_the_limit(store: Store) -> None:
    store.prepare(os.getgid())
    for number in range(5):
        store.write(finished("failed", run_id(number), asked=1000.0 + number, error="x" * 800))
    history.move_ended(store)
    history.prune(store, size=2500)
    assert ids(store.history) == {3, 4}
    store.write(finished("failed", run_id(5), asked=1005.0, error="x" * 8000))
    history.move_ended(store)
    history.prune(store, size=2500)
    assert ids(store.history) == {5}


def test_prune_keeps_as_many_runs_as_the_site_says(store: Store) -> None:
    store.prepare(os.getgid())
    for number in range(60):
        store.write(finished("changed", run_id(number), asked=1000.0 + number))
    history.move_ended(store)
    history.prune(store, keep=55)
    assert ids(store.history) == set(range(5, 60))


def test_prune_counts_records_that_cannot_be_moved(store: Store) -> None:
    for number in range(5):
        store.write(finished("failed", run_id(number), asked=1000.0 + number, error="x" * 800))
    history.prune(store, size=2500)
    assert ids(store.directory) == {3, 4}


def ids(*directories: str) -> set[int]:
    return {int(name.partition(".")[0], 16) for directory in directories for name in os.listdir(directory)}


def test_prune_removes_old_files_that_belong_to_no_run(store: Store) -> None:
    store.prepare(os.getgid())
    store.write(numbered(1))
    store.write(finished("changed", run_id(2)))
    history.move_ended(store)
    strays = [f"{run_id(1)}.json.4711", f"{run_id(3)}.json", f"{run_id(3)}.jsonl", f"{run_id(3)}.yaml"]
    paths = [Path(directory, name) for directory in (store.directory, store.history) for name in strays]
    for path in paths:
        path.write_text("{")
    history.prune(store)
    assert all(path.exists() for path in paths)
    for directory in (store.directory, store.history):
        for path in Path(directory).iterdir():
            os.utime(path, (1, 1))
    history.prune(store)
    assert sorted(os.listdir(store.directory)) == [f"{run_id(1)}.json", f"{run_id(1)}.room"]
    assert os.listdir(store.history) == [f"{run_id(2)}.json"]


def test_prune_counts_an_invalid_record_as_no_run(store: Store) -> None:
    Path(store.path(run_id(1))).write_text('{"asked": "yesterday"}')
    store.write(numbered(2))
    history.prune(store)
    assert store.newest() == [numbered(2)]
