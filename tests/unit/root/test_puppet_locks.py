"""Puppet's two lock files, read by Puppet's rules; the processes are real, with real names."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.processes import dead, live, zombie
from twitch import messages
from twitch.messages import DISABLED, Answer
from twitch.root import puppet_locks


@pytest.fixture
def lockfile(tmp_path: Path) -> Path:
    return tmp_path / "agent_catalog_run.lock"


# ---- the run lock


HOLDS: dict[str, tuple[str, ...]] = {
    "puppet": ("puppet",),
    "puppet-agent": ("puppet-agent",),
    "ruby-puppet": ("ruby", "/usr/bin/puppet", "agent"),
    "ruby3.1-puppet": ("ruby3.1", "/usr/bin/puppet", "agent"),
}


@pytest.mark.parametrize("words", HOLDS.values(), ids=HOLDS)
def test_lock_is_held_by_a_live_puppet(tmp_path: Path, lockfile: Path, words: tuple[str, ...]) -> None:
    with live(tmp_path, *words) as pid:
        lockfile.write_text(str(pid))
        holder = puppet_locks.run_lock_holder(os.fspath(lockfile))
        assert holder and holder.pid == pid
    assert puppet_locks.run_lock_holder(os.fspath(lockfile)) is None


STALE: dict[str, tuple[str, ...]] = {
    "sleep": ("sleep",),
    "python-with-puppet-in-its-arguments": ("python3", "/usr/bin/puppet"),
    "ruby-without-puppet": ("ruby", "/usr/bin/irb"),
    "puppetdb": ("puppetdb",),
}


@pytest.mark.parametrize("words", STALE.values(), ids=STALE)
def test_lock_of_a_live_process_that_is_no_puppet_is_stale(
    tmp_path: Path, lockfile: Path, words: tuple[str, ...]
) -> None:
    with live(tmp_path, *words) as pid:
        lockfile.write_text(str(pid))
        assert puppet_locks.run_lock_holder(os.fspath(lockfile)) is None


def test_lock_of_a_process_with_puppet_as_its_argv0_is_stale(tmp_path: Path, lockfile: Path) -> None:
    with live(tmp_path, "sleep", shown_as="puppet-foo") as pid:
        lockfile.write_text(str(pid))
        assert puppet_locks.run_lock_holder(os.fspath(lockfile)) is None


def test_lock_of_a_puppet_zombie_is_stale(tmp_path: Path, lockfile: Path) -> None:
    # ps shows `puppet <defunct>`, which Puppet's own rule does not match.
    with zombie(tmp_path, "puppet") as pid:
        lockfile.write_text(str(pid))
        assert puppet_locks.run_lock_holder(os.fspath(lockfile)) is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("garbage", id="garbage"),
        pytest.param("1", id="pid-1"),
        pytest.param("0", id="pid-0"),
        pytest.param("-1", id="negative"),
        pytest.param("99999999999999999999", id="too-large"),
        pytest.param("self", id="a-word-of-proc"),
        pytest.param("\0" * 4096, id="zeros"),
    ],
)
def test_lock_with_an_invalid_pid_is_stale(lockfile: Path, content: str) -> None:
    lockfile.write_text(content)
    assert puppet_locks.run_lock_holder(os.fspath(lockfile)) is None


def test_lock_of_a_dead_process_is_stale(lockfile: Path) -> None:
    lockfile.write_text(str(dead()))
    assert puppet_locks.run_lock_holder(os.fspath(lockfile)) is None


def test_missing_or_unreadable_lock_is_free(lockfile: Path) -> None:
    assert puppet_locks.run_lock_holder(os.fspath(lockfile)) is None
    lockfile.mkdir()
    assert puppet_locks.run_lock_holder(os.fspath(lockfile)) is None


@pytest.mark.parametrize(
    ("ago_s", "age_s"), [pytest.param(7200, 7200, id="past"), pytest.param(-7200, 0, id="future")]
)
def test_age_of_the_lock_is_that_of_its_file(tmp_path: Path, lockfile: Path, ago_s: int, age_s: int) -> None:
    with live(tmp_path, "puppet") as pid:
        lockfile.write_text(f"{pid}\n")
        then = int(time.time()) - ago_s
        os.utime(lockfile, (then, then))
        holder = puppet_locks.run_lock_holder(os.fspath(lockfile))
    assert holder and age_s <= holder.age_s <= age_s + 60


@pytest.mark.parametrize(
    ("age_s", "limit_s", "stuck"),
    [
        pytest.param(3600 + 300, 3600, False, id="at-the-limit-and-grace"),
        pytest.param(3600 + 301, 3600, True, id="beyond"),
        pytest.param(10**9, None, False, id="no-limit"),
    ],
)
def test_run_is_stuck_beyond_its_limit_and_the_grace(age_s: int, limit_s: Optional[int], stuck: bool) -> None:
    assert puppet_locks.is_stuck(age_s, limit_s) is stuck


# ---- the disabled lock


@contextlib.contextmanager
def written(path: Path, content: bytes) -> Iterator[str]:
    path.write_bytes(content)
    yield os.fspath(path)
    path.unlink()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b'{"disabled_message":"reason not specified"}', "reason not specified", id="of-puppet"),
        pytest.param(b'{"disabled_message":"caf\xc3\xa9\\n\\u001b[2J"}', "café\n\x1b[2J", id="any-text"),
        pytest.param(b"", "", id="empty"),
        pytest.param(b"by hand\n", "", id="no-json"),
        pytest.param(b"[]", "", id="a-list"),
        pytest.param(b'"text"', "", id="a-text"),
        pytest.param(b"{}", "", id="no-reason"),
        pytest.param(b'{"disabled_message":7}', "", id="no-text"),
        pytest.param(b"[" * 60000, "", id="too-deep"),
        pytest.param(b'{"disabled_message":"\xff"}', "\ufffd", id="not-utf-8"),
    ],
)
def test_disabled_reason_is_read(lockfile: Path, content: bytes, reason: str) -> None:
    with written(lockfile, content) as path:
        assert puppet_locks.disabled_reason(path) == reason


def test_enabled_agent_has_no_disabled_reason(lockfile: Path) -> None:
    assert puppet_locks.disabled_reason(os.fspath(lockfile)) is None


def test_disabled_lock_that_cannot_be_read_still_disables(lockfile: Path) -> None:
    lockfile.mkdir()
    assert puppet_locks.disabled_reason(os.fspath(lockfile)) == ""


repeated = st.builds(str.__mul__, st.sampled_from('\U0001f600é"x\0'), st.integers(0, 70000))


@given(text=st.text() | repeated)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_disabled_reason_fits_into_an_answer(lockfile: Path, text: str) -> None:
    with written(lockfile, json.dumps({"disabled_message": text}).encode()) as path:
        answer = Answer(DISABLED, reason=puppet_locks.disabled_reason(path))
    assert messages.decode_answer(messages.encode(answer)) == answer
