"""The record of runs: whole or not there, for the right eyes, and no more than the last fifty."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from twitch import runs
from twitch.runs import Claim, Store

RUN = "0123456789abcdef0123456789abcdef"
CLAIM = Claim(RUN, 1, 1, {})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(os.fspath(tmp_path))
    os.mkdir(store.directory)
    return store


def run(number: int) -> str:
    return f"{number:032x}"


def record(number: int, **more: object) -> runs.Record:
    return {"run": run(number), "state": runs.RUNNING, "asked": 1000.0 + number, **more}


# ---- records


def test_a_record_is_read_as_it_was_written(store: Store) -> None:
    written = record(1, reason='é \n "')
    store.write(written)
    assert store.read(run(1)) == written
    store.write({**written, "state": runs.FINISHED})
    assert store.read(run(1)) == {**written, "state": runs.FINISHED}
    assert os.listdir(store.directory) == [f"{run(1)}.json"]  # no draft is left behind


@pytest.mark.parametrize(
    "name", ["", "../current", "x" * 32, "A" * 32, f"{RUN}\n", RUN[:-1], f"{RUN}/", "..", "\0" * 32, "é" * 32]
)
def test_what_is_no_id_is_not_looked_for(store: Store, tmp_path: Path, name: str) -> None:
    store.claim_current(CLAIM)
    assert store.read(name) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"7"])
def test_what_is_no_record_is_none(store: Store, content: bytes) -> None:
    Path(store.directory, f"{RUN}.json").write_bytes(content)
    assert store.read(RUN) is None
    assert store.newest() == []


def test_the_newest_is_the_run_that_was_asked_for_last(store: Store) -> None:
    for number in (2, 3, 1):
        store.write(record(number))
    Path(store.directory, f"{run(4)}.json.123").write_text("{")  # a draft whose writer was killed
    Path(store.directory, f"{run(3)}.jsonl").write_text("")
    assert [found["run"] for found in store.newest()] == [run(3), run(2), run(1)]


@pytest.mark.parametrize("asked", [None, "yesterday", {}])
def test_a_record_that_says_nonsense_does_not_hide_the_others(store: Store, asked: object) -> None:
    store.write(record(1, asked=asked))
    store.write(record(2))
    assert [found["run"] for found in store.newest()] == [run(2), run(1)]
    store.prune()


def test_without_a_directory_there_are_no_runs(tmp_path: Path) -> None:
    assert Store(os.fspath(tmp_path / "missing")).newest() == []


def test_a_reader_sees_a_whole_record_or_the_one_before(store: Store) -> None:
    long = record(1, text="x" * 100_000)
    store.write(long)
    done = threading.Event()

    def write() -> None:
        for number in range(300):
            store.write({**long, "number": number})
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        found = store.read(run(1))
        assert found is not None and len(found["text"]) == 100_000
    writer.join()


def test_a_record_that_cannot_be_written_leaves_the_one_before(store: Store) -> None:
    store.write(record(1))
    with pytest.raises(TypeError):
        store.write(record(1, object=object()))
    assert store.read(run(1)) == record(1)
    assert os.listdir(store.directory) == [f"{run(1)}.json"]


# ---- what is kept


def test_the_last_fifty_runs_are_kept_with_all_they_have(store: Store) -> None:
    for number in range(60):
        store.write(record(number))
        Path(store.log_path(run(number))).write_text("x")
        Path(store.report_path(run(number))).write_text("x")
    store.prune()
    kept = {run(number) for number in range(10, 60)}
    assert {name.partition(".")[0] for name in os.listdir(store.directory)} == kept
    assert len(os.listdir(store.directory)) == 3 * 50


def test_large_logs_go_oldest_first_and_the_last_stays_whatever_its_size(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "KEPT_LOG_BYTES", 100)
    for number, size in enumerate((10, 10, 40, 30, 40)):
        store.write(record(number))
        Path(store.log_path(run(number))).write_bytes(b"x" * size)
    store.prune()
    assert logs(store) == [3, 4]
    Path(store.log_path(run(4))).write_bytes(b"x" * 1000)
    store.prune()
    assert logs(store) == [4]
    assert len(store.newest()) == 5


def test_what_belongs_to_no_run_goes_when_it_is_old(store: Store) -> None:
    store.write(record(1))
    Path(store.log_path(run(1))).touch()
    strays = [f"{run(1)}.json.4711", f"{run(2)}.json", f"{run(2)}.jsonl", f"{run(2)}.yaml"]
    for path in (Path(store.directory, name) for name in strays):
        path.write_text("{")
    store.prune()
    assert set(strays) < set(os.listdir(store.directory))
    for path in Path(store.directory).iterdir():
        os.utime(path, (1, 1))
    store.prune()
    assert sorted(os.listdir(store.directory)) == [f"{run(1)}.json", f"{run(1)}.jsonl"]


def logs(store: Store) -> list[int]:
    names = os.listdir(store.directory)
    return sorted(int(name.partition(".")[0], 16) for name in names if name.endswith(".jsonl"))


# ---- who may read


def test_the_directory_is_for_the_listeners_group_whatever_the_umask(root: None, tmp_path: Path) -> None:
    store = Store(os.fspath(tmp_path))
    before = os.umask(0o077)
    try:
        store.prepare(os.getgid())
        store.prepare(os.getgid())  # it is there already
    finally:
        os.umask(before)
    info = os.stat(store.directory)
    assert (info.st_mode & 0o777, info.st_gid) == (0o750, os.getgid())


def test_claims_are_roots_alone(store: Store, tmp_path: Path) -> None:
    store.claim_current(CLAIM)
    store.claim_queued(CLAIM)
    with store.locked():
        pass
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()}
    assert modes == {"current.json": 0o600, "queued.json": 0o600, "lock": 0o600}
