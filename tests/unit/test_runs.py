"""The record of runs: whole or not there, no more than the last fifty, and no process mistaken for another."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.unit.processes import dead, live, zombie
from twitch import runs
from twitch.runs import Claim, Store

RUN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(os.fspath(tmp_path))
    os.mkdir(store.directory)
    return store


def run(number: int) -> str:
    return f"{number:032x}"


def record(number: int, **more: object) -> runs.Record:
    return {"run": run(number), "state": runs.RUNNING, "asked": 1000.0 + number, **more}


def claim(pid: int, start: Optional[int]) -> Claim:
    assert start is not None
    return Claim(RUN, pid, start, {"noop": False})


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
    store.claim_current(claim(1, 1))
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


def logs(store: Store) -> list[int]:
    names = os.listdir(store.directory)
    return sorted(int(name.partition(".")[0], 16) for name in names if name.endswith(".jsonl"))


# ---- who may read


def test_the_directory_is_for_the_listeners_group_whatever_the_umask(tmp_path: Path) -> None:
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
    store.claim_current(claim(1, 1))
    store.claim_queued(claim(1, 1))
    with store.locked():
        pass
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()}
    assert modes == {"current.json": 0o600, "queued.json": 0o600, "lock": 0o600}


# ---- who runs


def test_a_claim_is_alive_as_long_as_its_process(store: Store, tmp_path: Path) -> None:
    with live(tmp_path, "puppet") as pid:
        mine = claim(pid, runs.start_time(pid))
        store.claim_current(mine)
        assert store.current() == mine
        assert mine.alive
    assert not mine.alive
    assert store.current() == mine


def test_a_process_keeps_its_start_when_it_becomes_another(tmp_path: Path) -> None:
    # The handler becomes Puppet by execve(); the claim that it has written must go on to name it.
    shell = subprocess.Popen(["/bin/sh", "-c", "read line; exec cat"], stdin=subprocess.PIPE)
    start = runs.start_time(shell.pid)
    assert shell.stdin is not None
    shell.stdin.write(b"\n")
    shell.stdin.flush()
    while Path(f"/proc/{shell.pid}/comm").read_text() != "cat\n":
        pass
    assert runs.start_time(shell.pid) == start is not None
    shell.communicate()


def test_a_recycled_pid_is_not_alive(tmp_path: Path) -> None:
    with live(tmp_path, "puppet") as pid:
        start = runs.start_time(pid)
        assert start is not None
        assert not claim(pid, start - 1).alive


@pytest.mark.parametrize("name", ["a) Z 1 (b", ") X 0 0", "((", "x y"])
def test_a_name_cannot_pose_as_more_fields(tmp_path: Path, name: str) -> None:
    with live(tmp_path, "plain") as plain, live(tmp_path, name) as odd:
        start, odd_start = runs.start_time(plain), runs.start_time(odd)
    assert start is not None and odd_start is not None
    assert start <= odd_start <= start + 1000


def test_a_process_that_only_waits_to_be_reaped_has_ended(tmp_path: Path) -> None:
    with zombie(tmp_path, "puppet") as pid:
        assert runs.start_time(pid) is None


def test_a_process_that_is_gone_has_no_start() -> None:
    assert runs.start_time(dead()) is None


def test_the_slot_is_free_when_its_process_has_died(store: Store, tmp_path: Path) -> None:
    with live(tmp_path, "python3") as pid:
        waiting = claim(pid, runs.start_time(pid))
        store.claim_queued(waiting)
        assert store.queued() == waiting
    assert store.queued() is None
    assert store.queue_claim() == waiting
    store.leave_queue()
    store.leave_queue()  # nobody is in it
    assert store.queue_claim() is None


@pytest.mark.parametrize(
    "fields", [pytest.param({"run": RUN}, id="too-few"), pytest.param({"pid": 1, "more": 2}, id="unknown")]
)
def test_a_claim_of_another_version_is_none(store: Store, tmp_path: Path, fields: dict[str, Any]) -> None:
    tmp_path.joinpath("current.json").write_text(json.dumps(fields))
    assert store.current() is None


def test_the_lock_lets_in_one_at_a_time(store: Store) -> None:
    inside: list[int] = []
    most: list[int] = []

    def enter() -> None:
        for _ in range(20):
            with store.locked():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most), len(most)) == (1, 160)
