"""Claims: each names one process, even if its pid is recycled or the process executes another program."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.unit.processes import LIMIT_S, dead, live, wait_until, zombie
from tests.unit.records import RUN
from twitch.records import Options
from twitch.root.claims import Claim
from twitch.root.process import start_time
from twitch.root.store import Store

OPTIONS = Options(noop=True, tags=("a", "b::c"), environment="staging")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(os.fspath(tmp_path))


def claim(pid: int, start: Optional[int]) -> Claim:
    assert start is not None
    return Claim(RUN, pid, start, OPTIONS)


# ---- the process of a claim


def test_claim_is_alive_as_long_as_its_process(store: Store, tmp_path: Path) -> None:
    with live(tmp_path, "puppet") as pid:
        live_claim = claim(pid, start_time(pid))
        store.claims.write_current(live_claim)
        assert store.claims.current() == live_claim
        assert store.claims.running() == live_claim
        assert live_claim.alive
    assert not live_claim.alive
    assert store.claims.current() == live_claim
    assert store.claims.running() is None


def test_start_time_survives_exec() -> None:
    # The handler becomes Puppet by execve(); the claim that it has written must still name it then.
    shell = subprocess.Popen(["/bin/sh", "-c", "read line; exec cat"], stdin=subprocess.PIPE)
    start = start_time(shell.pid)
    assert shell.stdin is not None
    shell.stdin.write(b"\n")
    shell.stdin.flush()
    comm = Path(f"/proc/{shell.pid}/comm")
    wait_until(lambda: comm.read_text() == "cat\n", "the shell has become cat")
    assert start_time(shell.pid) == start is not None
    shell.communicate(timeout=LIMIT_S)


def test_claim_with_a_recycled_pid_is_not_alive(tmp_path: Path) -> None:
    with live(tmp_path, "puppet") as pid:
        start = start_time(pid)
        assert start is not None
        assert not claim(pid, start - 1).alive


@pytest.mark.parametrize("name", ["a) Z 1 (b", ") X 0 0", "((", "x y"])
def test_start_time_is_read_despite_an_odd_name(tmp_path: Path, name: str) -> None:
    with live(tmp_path, "a") as before, live(tmp_path, name) as odd, live(tmp_path, "b") as after:
        starts = [start_time(pid) or 0 for pid in (before, odd, after)]
    assert starts == sorted(starts)
    assert 0 not in starts


def test_zombie_has_no_start_time(tmp_path: Path) -> None:
    with zombie(tmp_path, "puppet") as pid:
        assert start_time(pid) is None


def test_dead_process_has_no_start_time() -> None:
    assert start_time(dead()) is None


def test_queue_is_free_when_the_process_of_its_claim_has_ended(store: Store, tmp_path: Path) -> None:
    with live(tmp_path, "python3") as pid:
        waiting = claim(pid, start_time(pid))
        store.claims.write_queued(waiting)
        assert store.claims.queued() == waiting
    assert store.claims.queued() is None
    assert store.claims.queue_claim() == waiting
    store.claims.leave_queue()
    store.claims.leave_queue()  # it is free already
    assert store.claims.queue_claim() is None


# ---- the files of claims


def test_claim_of_version_1_0_0_is_read(store: Store, tmp_path: Path) -> None:
    content = """
        {"run": "11111111111111111111111111111111", "pid": 4711, "start": 815,
         "options": {"noop": true, "tags": ["a", "b::c"], "environment": "staging"},
         "ended": null, "named": false}
    """
    tmp_path.joinpath("queued.json").write_text(content)
    assert store.claims.queue_claim() == Claim(RUN, 4711, 815, OPTIONS, named=False)
    tmp_path.joinpath("current.json").write_text(content.replace("null", "1769072703.5"))
    assert store.claims.current() == Claim(RUN, 4711, 815, OPTIONS, ended=1769072703.5, named=False)


VALID: dict[str, Any] = {"run": RUN, "pid": 1, "start": 2}
INVALID: dict[str, object] = {
    "a-list": [],
    "too-few-fields": {"run": RUN},
    "other-fields": {"pid": 1, "more": 2},
    "run-a-number": {**VALID, "run": 1},
    "run-a-path": {**VALID, "run": "../current"},
    "run-with-a-nul": {**VALID, "run": "\0"},
    "pid-a-text": {**VALID, "pid": "1"},
    "start-missing": {**VALID, "start": None},
    "options-a-text": {**VALID, "options": "noop"},
    "ended-a-text": {**VALID, "ended": "yes"},
    "named-a-number": {**VALID, "named": 1},
}


@pytest.mark.parametrize("fields", INVALID.values(), ids=INVALID)
def test_invalid_claim_is_none(store: Store, tmp_path: Path, fields: object) -> None:
    tmp_path.joinpath("current.json").write_text(json.dumps(fields))
    assert store.claims.current() is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_claim_that_is_not_json_is_none(store: Store, tmp_path: Path, content: bytes) -> None:
    tmp_path.joinpath("current.json").write_bytes(content)
    assert store.claims.current() is None


def test_minimal_claim_is_read_as_named(store: Store, tmp_path: Path) -> None:
    tmp_path.joinpath("current.json").write_text(json.dumps(VALID))
    assert store.claims.current() == Claim(RUN, 1, 2, Options(), named=True)


# ---- the lock on the claims


def test_lock_admits_one_holder_at_a_time(store: Store, tmp_path: Path) -> None:
    with store.claims.locked(), open(tmp_path / "lock") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(tmp_path / "lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_lock_is_released_after_an_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), store.claims.locked():
        _ = 1 / 0
    with open(tmp_path / "lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
