"""Root's files: records are written whole, for the right readers, and old ones are pruned."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.unit.records import OTHER, RUN, finished, record
from twitch.records import Record, Records
from twitch.root import store as stores
from twitch.root.store import Claim, Store

CLAIM = Claim(RUN, 1, 1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(os.fspath(tmp_path))
    os.mkdir(store.directory)
    return store


def run_id(number: int) -> str:
    return f"{number:032x}"


def numbered(number: int) -> Record:
    """Return the record of one of several runs; a higher number was asked for later."""
    return record(run_id(number), asked=1000.0 + number)


# ---- writing records


def test_written_record_replaces_the_one_before(store: Store) -> None:
    for written in (record(reason='é \n "'), finished("changed")):
        store.write(written)
        assert store.read(RUN) == written
        assert Records(store.root).read(RUN) == written  # as the listener reads it
    assert os.listdir(store.directory) == [f"{RUN}.json"]  # no temporary file is left


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
    assert os.listdir(store.directory) == [f"{RUN}.json"]


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
    assert os.listdir(store.directory) == [f"{RUN}.json"]


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


# ---- pruning


def test_prune_keeps_the_last_fifty_runs_with_all_their_files(store: Store) -> None:
    for number in range(60):
        store.write(numbered(number))
        Path(store.log_path(run_id(number))).write_text("x")
        Path(store.report_path(run_id(number))).write_text("x")
    store.prune()
    expected = {run_id(number) for number in range(10, 60)}
    assert {name.partition(".")[0] for name in os.listdir(store.directory)} == expected
    assert len(os.listdir(store.directory)) == 3 * 50


def test_prune_removes_oldest_logs_beyond_the_limit_and_never_the_last(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "KEPT_LOG_BYTES", 100)
    for number, size in enumerate((10, 10, 40, 30, 40)):
        store.write(numbered(number))
        Path(store.log_path(run_id(number))).write_bytes(b"x" * size)
    store.prune()
    assert logs(store) == [3, 4]
    Path(store.log_path(run_id(4))).write_bytes(b"x" * 1000)
    store.prune()
    assert logs(store) == [4]
    assert len(store.newest()) == 5


def logs(store: Store) -> list[int]:
    names = os.listdir(store.directory)
    return sorted(int(name.partition(".")[0], 16) for name in names if name.endswith(".jsonl"))


def test_prune_removes_old_files_that_belong_to_no_run(store: Store) -> None:
    store.write(numbered(1))
    Path(store.log_path(run_id(1))).touch()
    strays = [f"{run_id(1)}.json.4711", f"{run_id(2)}.json", f"{run_id(2)}.jsonl", f"{run_id(2)}.yaml"]
    for path in (Path(store.directory, name) for name in strays):
        path.write_text("{")
    store.prune()
    assert set(strays) < set(os.listdir(store.directory))
    for path in Path(store.directory).iterdir():
        os.utime(path, (1, 1))
    store.prune()
    assert sorted(os.listdir(store.directory)) == [f"{run_id(1)}.json", f"{run_id(1)}.jsonl"]


def test_prune_counts_an_invalid_record_as_no_run(store: Store) -> None:
    Path(store.path(run_id(1))).write_text('{"asked": "yesterday"}')
    store.write(numbered(2))
    store.prune()
    assert store.newest() == [numbered(2)]


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
    store.claim_current(CLAIM)
    store.claim_queued(CLAIM)
    with store.locked(), store.concluding():
        pass
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()}
    assert modes == dict.fromkeys(("current.json", "queued.json", "lock", "concluding"), 0o600)
