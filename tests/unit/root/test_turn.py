"""Waiting for one's turn: for the verdict of the run before, but not for ever, and not beyond an hour."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.processes import dead, live
from twitch import runs
from twitch.messages import Answer, Run
from twitch.root import turn
from twitch.root.node import Node
from twitch.runs import Claim

FIRST, SECOND, THIRD = "1" * 32, "2" * 32, "3" * 32
ASKED = Run("anonymous", "192.0.2.7", queue=True)


def record(here: Node, run: str, **more: Any) -> runs.Record:
    """The record of a run that has begun."""
    return {
        "run": run,
        "state": runs.RUNNING,
        "asked": time.time(),
        "started": time.time(),
        "caller": "anonymous",
        "client": "192.0.2.7",
        "options": {"noop": False, "tags": [], "environment": None},
        "command": "agent",
        "settings": here.settings._asdict(),
        **more,
    }


def test_where_nothing_is_left_open_there_is_nothing_to_settle(here: Node) -> None:
    turn.settle(here.store)
    here.store.claim_current(Claim(FIRST, dead(), 1, {}, ended=1.0))
    turn.settle(here.store)


def test_the_next_one_waits_for_the_verdict(here: Node) -> None:
    claim = Claim(FIRST, dead(), 1, {})
    here.store.write(record(here, FIRST))
    here.store.claim_current(claim)
    settling = threading.Thread(target=turn.settle, args=(here.store,))
    settling.start()
    settling.join(2 * turn.CONCLUDE_LOOK_S)
    assert settling.is_alive()
    here.store.claim_current(claim._replace(ended=1.0))
    settling.join()


def test_a_claim_without_a_record_is_nothing_to_wait_for(here: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    # Killed between the two: nobody was told of this run, and no conclude will come.
    monkeypatch.setattr(turn, "CONCLUDE_GRACE_S", 3600)
    here.store.claim_current(Claim(FIRST, dead(), 1, {}))
    turn.settle(here.store)
    current = here.store.current()
    assert current is not None and current.ended is not None


@pytest.mark.parametrize("slot", ["current", "queued"])
def test_a_run_whose_conclude_was_killed_gets_its_verdict_from_the_next(
    here: Node, slot: str, events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "CONCLUDE_GRACE_S", 0)
    state = runs.RUNNING if slot == "current" else runs.QUEUED
    here.store.write(record(here, FIRST, state=state))
    getattr(here.store, f"claim_{slot}")(Claim(FIRST, dead(), 1, {}))
    turn.settle(here.store)
    found = here.store.read(FIRST)
    assert found is not None
    assert (found["state"], found["verdict"]) == (
        ("finished", "interrupted") if slot == "current" else ("finished", "not attempted")
    )
    assert [event["run"] for event in events] == [FIRST]
    assert here.store.queue_claim() is None
    turn.settle(here.store)
    assert len(events) == 1


def test_who_comes_next_ends_what_was_left_open_before_anything_is_decided(
    here: Node, events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "CONCLUDE_GRACE_S", 0)
    here.config = here.config._replace(cooldown_s=0)
    here.store.write(record(here, FIRST))
    here.store.claim_current(Claim(FIRST, dead(), 1, {}))
    assert turn.decide(here, SECOND, ASKED).kind == "started"
    assert (here.store.read(FIRST) or {})["state"] == "finished"


def test_a_claim_without_an_open_record_is_only_let_go(
    here: Node, events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "CONCLUDE_GRACE_S", 0)
    here.store.claim_current(Claim(FIRST, dead(), 1, {}))
    turn.settle(here.store)
    current = here.store.current()
    assert current is not None and current.ended is not None
    assert events == []


def test_who_has_waited_for_an_hour_waits_no_longer(
    here: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "QUEUE_TIMEOUT_S", -1)
    with live(tmp_path, "puppet-x") as pid:
        Path(here.settings.agent_catalog_run_lockfile).write_text(str(pid))
        assert turn.decide(here, SECOND, ASKED).kind == "queued"
        assert turn.wait(here, SECOND, ASKED) == "Puppet was busy for -1 s"
    assert here.store.queue_claim() is None


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM], ids=["an-old-kernel", "a-filter"])
def test_where_the_end_of_a_process_is_not_told_it_is_looked_for(
    here: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(pid: int) -> int:
        lock.unlink()
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(turn, "QUEUE_LOOK_S", 0.01)
    monkeypatch.setattr(os, "pidfd_open", refuse)
    lock = Path(here.settings.agent_catalog_run_lockfile)
    with live(tmp_path, "puppet-x") as pid:
        lock.write_text(str(pid))
        assert turn.decide(here, SECOND, ASKED).kind == "queued"
        assert turn.wait(here, SECOND, ASKED) is None
    assert (here.store.read(SECOND) or {})["state"] == "running"


def test_who_waits_waits_for_the_cooldown_as_well(here: Node) -> None:
    here.config = here.config._replace(cooldown_s=1)
    ended = time.time()
    here.store.claim_current(Claim(FIRST, dead(), 1, {}, ended=ended))
    here.store.write(record(here, SECOND, state=runs.QUEUED))
    assert turn.wait(here, SECOND, ASKED) is None
    assert (here.store.read(SECOND) or {})["started"] >= ended + 0.99


def test_a_lock_that_passes_from_one_to_another_is_followed(
    here: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "QUEUE_LOOK_S", 0.01)
    lock = Path(here.settings.agent_catalog_run_lockfile)
    with live(tmp_path, "puppet-x") as first, live(tmp_path, "puppet-y") as second:
        lock.write_text(str(first))
        assert turn.decide(here, SECOND, ASKED).kind == "queued"
        lock.write_text(str(second))
        waiting = threading.Thread(target=turn.wait, args=(here, SECOND, ASKED))
        waiting.start()
        lock.unlink()
        waiting.join()
    assert (here.store.read(SECOND) or {})["state"] == "running"


# ---- strangers in the waiting slot


NAMED = Run("token:deploy", "192.0.2.8", named=True, tags=("a",))


@pytest.fixture
def stranger(here: Node, tmp_path: Path) -> Iterator[int]:
    """Somebody without a name waits, in a process of its own."""
    with live(tmp_path, "waiting") as pid:
        start = runs.start_time(pid)
        assert start is not None
        here.store.claim_queued(Claim(FIRST, pid, start, ASKED.options(), named=False))
        here.store.write(record(here, FIRST, state=runs.QUEUED))
        yield pid


@pytest.mark.parametrize("question", [NAMED, NAMED._replace(queue=True)], ids=["now", "queue"])
def test_who_has_a_name_need_not_wait_for_a_strangers_cooldown(
    here: Node, stranger: int, question: Run
) -> None:
    here.store.claim_current(Claim(SECOND, dead(), 1, {}, ended=time.time()))
    assert turn.decide(here, THIRD, ASKED._replace(noop=True)).kind == "busy"
    assert turn.decide(here, THIRD, question) == Answer("started", run=THIRD)
    waiting = here.store.queued()
    assert waiting is not None and waiting.run == FIRST


def test_who_has_a_name_takes_a_strangers_place(here: Node, stranger: int, tmp_path: Path) -> None:
    lock = Path(here.settings.agent_catalog_run_lockfile)
    with live(tmp_path, "puppet-x") as pid:
        lock.write_text(str(pid))
        assert turn.decide(here, THIRD, NAMED).kind == "busy"
        assert turn.decide(here, THIRD, NAMED._replace(queue=True)) == Answer("queued", run=THIRD)
        assert turn.wait(here, FIRST, ASKED) == "a caller with a name took its place"
        # Nobody takes it from somebody who has a name as well.
        fourth = NAMED._replace(queue=True, noop=True)
        assert turn.decide(here, FIRST, fourth) == Answer("busy", run=THIRD)
    waiting = here.store.queue_claim()
    assert waiting is not None and waiting.run == THIRD


def test_who_has_a_name_and_wants_the_same_joins(here: Node, stranger: int, tmp_path: Path) -> None:
    with live(tmp_path, "puppet-x") as pid:
        Path(here.settings.agent_catalog_run_lockfile).write_text(str(pid))
        same = NAMED._replace(queue=True, tags=())
        assert turn.decide(here, THIRD, same) == Answer("queued", run=FIRST)


def test_a_record_that_is_lost_while_it_waits_is_made_anew(here: Node) -> None:
    assert turn.wait(here, SECOND, ASKED) is None
    assert isinstance((here.store.read(SECOND) or {})["asked"], float)
    assert [record["run"] for record in here.store.newest()] == [SECOND]
