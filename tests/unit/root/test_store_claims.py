"""Who runs and who waits: a claim names one process, whatever becomes of its pid or its program."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.unit.processes import dead, live, zombie
from twitch import runs
from twitch.runs import Claim, Store

RUN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(os.fspath(tmp_path))


def claim(pid: int, start: Optional[int]) -> Claim:
    assert start is not None
    return Claim(RUN, pid, start, {"noop": False})


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
    with live(tmp_path, "a") as before, live(tmp_path, name) as odd, live(tmp_path, "b") as after:
        starts = [runs.start_time(pid) or 0 for pid in (before, odd, after)]
    assert starts == sorted(starts)
    assert 0 not in starts


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


def test_the_lock_lets_in_one_at_a_time(store: Store, tmp_path: Path) -> None:
    with store.locked(), open(tmp_path / "lock") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(tmp_path / "lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_lock_is_let_go_when_something_fails(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), store.locked():
        _ = 1 / 0
    with open(tmp_path / "lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
