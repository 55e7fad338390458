"""Who runs next: earlier runs are concluded first, the queue has one place, and no wait is endless."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.concluding import begun, dead_claim, read
from tests.unit.processes import LIMIT_S, live
from twitch.messages import BUSY, FULL, QUEUED, STARTED, Answer, Run
from twitch.records import QUEUED as IN_QUEUE
from twitch.records import RUNNING
from twitch.root import conclude, turn, unit
from twitch.root.claims import Claim
from twitch.root.node import Node
from twitch.root.process import start_time

FIRST, SECOND, THIRD = "1" * 32, "2" * 32, "3" * 32
ANONYMOUS = Run("anonymous", "192.0.2.7", queue=True)
NAMED = Run("token:deploy", "192.0.2.8", named=True, tags=("a",))

Events = list[dict[str, Any]]


def lockfile(root_node: Node) -> Path:
    return Path(root_node.settings.agent_catalog_run_lockfile)


# ---- earlier runs are settled first


def test_settle_without_an_open_run_does_nothing(root_node: Node) -> None:
    turn.settle(root_node.store)
    ended = dead_claim(FIRST, ended=1.0)
    root_node.store.claims.write_current(ended)
    turn.settle(root_node.store)
    assert root_node.store.claims.current() == ended


def test_settle_waits_for_the_verdict_of_a_run_that_has_ended(root_node: Node) -> None:
    claim = dead_claim(FIRST)
    begun(root_node, FIRST)
    root_node.store.claims.write_current(claim)
    settling = threading.Thread(target=turn.settle, args=(root_node.store,))
    settling.start()
    settling.join(2 * turn.CONCLUDE_LOOK_S)
    assert settling.is_alive()
    root_node.store.claims.write_current(claim._replace(ended=1.0))
    settling.join(LIMIT_S)
    assert not settling.is_alive()


def test_settle_does_not_wait_for_a_claim_without_a_record(
    root_node: Node, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Killed between its claim and its record: no caller knows of this run, and no conclude will come.
    monkeypatch.setattr(turn, "CONCLUDE_GRACE_S", 3600)
    root_node.store.claims.write_current(dead_claim(FIRST))
    turn.settle(root_node.store)
    current = root_node.store.claims.current()
    assert current is not None and current.ended is not None
    assert not root_node.store.recorded(FIRST)
    assert events == []


@pytest.mark.parametrize(
    ("claim", "state", "verdict"),
    [
        pytest.param("write_current", RUNNING, "interrupted", id="running"),
        pytest.param("write_queued", IN_QUEUE, "not attempted", id="queued"),
    ],
)
def test_settle_concludes_a_run_whose_conclude_was_killed(
    root_node: Node, claim: str, state: str, verdict: str, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "CONCLUDE_GRACE_S", 0)
    begun(root_node, FIRST, state)
    getattr(root_node.store.claims, claim)(dead_claim(FIRST))
    turn.settle(root_node.store)
    record = read(root_node.store, FIRST)
    assert (record.state, record.verdict) == ("finished", verdict)
    assert [event["run"] for event in events] == [FIRST]
    assert root_node.store.claims.queue_claim() is None
    turn.settle(root_node.store)
    assert len(events) == 1


@pytest.mark.parametrize("most_s", [3600, 0], ids=["until the unit has ended", "not for ever"])
def test_settle_waits_for_a_conclude_whose_unit_is_still_there(
    root_node: Node, most_s: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "CONCLUDE_GRACE_S", 0)
    monkeypatch.setattr(turn, "CONCLUDE_MOST_S", 3600)
    monkeypatch.setattr(unit, "LINKS", os.fspath(tmp_path))
    link = tmp_path / "invocation:puppet-twitch-run@1.service"
    link.symlink_to(FIRST)
    (tmp_path / "invocation:other.service").symlink_to(SECOND)
    begun(root_node, FIRST)
    root_node.store.claims.write_current(dead_claim(FIRST))
    settling = threading.Thread(target=turn.settle, args=(root_node.store,))
    settling.start()
    settling.join(2 * turn.CONCLUDE_LOOK_S)
    assert settling.is_alive()
    assert read(root_node.store, FIRST).state == "running"
    if most_s:
        link.unlink()
    else:
        monkeypatch.setattr(turn, "CONCLUDE_MOST_S", 0)
    settling.join(LIMIT_S)
    assert read(root_node.store, FIRST).verdict == "interrupted"


@pytest.mark.parametrize("claim", ["write_current", "write_queued"])
def test_settle_ends_a_run_with_an_invalid_record_at_once(
    root_node: Node, claim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "CONCLUDE_GRACE_S", 3600)
    Path(root_node.store.path(FIRST)).write_text("{")
    getattr(root_node.store.claims, claim)(dead_claim(FIRST))
    turn.settle(root_node.store)
    record = read(root_node.store, FIRST)
    assert (record.state, record.verdict) == ("finished", "interrupted")
    assert root_node.store.claims.queue_claim() is None


def test_decide_first_concludes_an_abandoned_run(
    root_node: Node, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "CONCLUDE_GRACE_S", 0)
    root_node.config = root_node.config._replace(cooldown_s=0)
    begun(root_node, FIRST)
    root_node.store.claims.write_current(dead_claim(FIRST))
    assert turn.decide(root_node, SECOND, ANONYMOUS) == Answer(STARTED, run=SECOND)
    assert read(root_node.store, FIRST).state == "finished"


def test_decide_first_ends_an_abandoned_run_that_conclude_fails_on(
    root_node: Node, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(turn, "CONCLUDE_GRACE_S", 0)
    monkeypatch.setattr(conclude, "conclude", fail)
    root_node.config = root_node.config._replace(cooldown_s=0)
    begun(root_node, FIRST)
    root_node.store.claims.write_current(dead_claim(FIRST))
    assert turn.decide(root_node, SECOND, ANONYMOUS) == Answer(STARTED, run=SECOND)
    assert read(root_node.store, FIRST).verdict == "interrupted"


# ---- waiting in the queue


def test_wait_ends_after_the_queue_timeout(
    root_node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "QUEUE_TIMEOUT_S", -1)
    with live(tmp_path, "puppet-x") as pid:
        lockfile(root_node).write_text(str(pid))
        assert turn.decide(root_node, SECOND, ANONYMOUS) == Answer(QUEUED, run=SECOND)
        with pytest.raises(turn.NotAttempted, match=r"^Puppet was busy for 0s$"):
            turn.wait(root_node, SECOND, ANONYMOUS)
    assert root_node.store.claims.queue_claim() is None


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM], ids=["an-old-kernel", "a-filter"])
def test_wait_looks_again_where_pidfd_cannot_be_used(
    root_node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(pid: int) -> int:
        lockfile(root_node).unlink()
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(turn, "QUEUE_LOOK_S", 0.01)
    monkeypatch.setattr(os, "pidfd_open", refuse)
    with live(tmp_path, "puppet-x") as pid:
        lockfile(root_node).write_text(str(pid))
        assert turn.decide(root_node, SECOND, ANONYMOUS) == Answer(QUEUED, run=SECOND)
        turn.wait(root_node, SECOND, ANONYMOUS)
    assert read(root_node.store, SECOND).state == "running"


def test_wait_lasts_for_the_cooldown_as_well(root_node: Node) -> None:
    root_node.config = root_node.config._replace(cooldown_s=1)
    ended = time.time()
    root_node.store.claims.write_current(dead_claim(FIRST, ended=ended))
    begun(root_node, SECOND, IN_QUEUE)
    turn.wait(root_node, SECOND, ANONYMOUS)
    assert (read(root_node.store, SECOND).started or 0) >= ended + 0.99


def test_wait_follows_a_lock_that_passes_to_another_puppet(
    root_node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "QUEUE_LOOK_S", 0.01)
    lock = lockfile(root_node)
    with live(tmp_path, "puppet-x") as first, live(tmp_path, "puppet-y") as second:
        lock.write_text(str(first))
        assert turn.decide(root_node, SECOND, ANONYMOUS) == Answer(QUEUED, run=SECOND)
        lock.write_text(str(second))
        waiting = threading.Thread(target=turn.wait, args=(root_node, SECOND, ANONYMOUS))
        waiting.start()
        lock.unlink()
        waiting.join(LIMIT_S)
        assert not waiting.is_alive()
    assert read(root_node.store, SECOND).state == "running"


def test_wait_ends_when_the_agent_is_disabled(root_node: Node) -> None:
    begun(root_node, SECOND, IN_QUEUE)
    root_node.store.claims.write_queued(dead_claim(SECOND, ended=1.0))
    Path(root_node.settings.agent_disabled_lockfile).write_text("")
    with pytest.raises(turn.NotAttempted, match=r"^Puppet disabled: no reason given$"):
        turn.wait(root_node, SECOND, ANONYMOUS)
    assert root_node.store.claims.queue_claim() is None
    assert read(root_node.store, SECOND).state == "queued"


def test_record_that_is_lost_in_the_queue_is_written_again(root_node: Node) -> None:
    turn.wait(root_node, SECOND, ANONYMOUS)
    [record] = root_node.store.newest()
    assert (record.run, record.state, record.caller) == (SECOND, "running", "anonymous")
    assert record.asked == record.started


# ---- named callers before anonymous ones


@pytest.fixture
def anonymous_in_queue(root_node: Node, tmp_path: Path) -> Iterator[None]:
    """Let an anonymous caller's run wait in the queue, in a process of its own."""
    with live(tmp_path, "waiting") as pid:
        start = start_time(pid)
        assert start is not None
        root_node.store.claims.write_queued(Claim(FIRST, pid, start, ANONYMOUS.options, named=False))
        begun(root_node, FIRST, IN_QUEUE)
        yield


@pytest.fixture
def foreign_run(root_node: Node, tmp_path: Path) -> Iterator[int]:
    """Let a Puppet that we did not start hold the lock; return its pid."""
    with live(tmp_path, "puppet-x") as pid:
        lockfile(root_node).write_text(str(pid))
        yield pid


@pytest.mark.parametrize("question", [NAMED, NAMED._replace(queue=True)], ids=["now", "queue"])
def test_named_caller_starts_while_an_anonymous_one_waits_for_its_cooldown(
    root_node: Node, anonymous_in_queue: None, question: Run
) -> None:
    root_node.store.claims.write_current(dead_claim(SECOND, ended=time.time()))
    another = ANONYMOUS._replace(noop=True)
    assert turn.decide(root_node, THIRD, another) == Answer(FULL, run=FIRST)
    assert turn.decide(root_node, THIRD, another._replace(queue=False)) == Answer(BUSY, run=FIRST)
    assert turn.decide(root_node, THIRD, question) == Answer(STARTED, run=THIRD)
    queued = root_node.store.claims.queued()
    assert queued is not None and queued.run == FIRST


def test_named_caller_takes_the_place_of_an_anonymous_one_in_the_queue(
    root_node: Node, anonymous_in_queue: None, foreign_run: int
) -> None:
    busy = turn.decide(root_node, THIRD, NAMED)
    assert (busy.kind, busy.run, busy.status and busy.status.pid) == (BUSY, None, foreign_run)
    assert turn.decide(root_node, THIRD, NAMED._replace(queue=True)) == Answer(QUEUED, run=THIRD)
    with pytest.raises(turn.NotAttempted, match=r"^a caller with a name took its place in the queue$"):
        turn.wait(root_node, FIRST, ANONYMOUS)
    queued = root_node.store.claims.queue_claim()
    assert queued is not None and queued.run == THIRD


def test_queue_is_full_when_a_named_caller_has_its_place(root_node: Node, foreign_run: None) -> None:
    assert turn.decide(root_node, THIRD, NAMED._replace(queue=True)) == Answer(QUEUED, run=THIRD)
    for another in (NAMED._replace(queue=True, noop=True), ANONYMOUS):
        assert turn.decide(root_node, FIRST, another) == Answer(FULL, run=THIRD)
    queued = root_node.store.claims.queue_claim()
    assert queued is not None and queued.run == THIRD


def test_named_caller_with_an_equal_request_joins_the_queued_run(
    root_node: Node, anonymous_in_queue: None, foreign_run: None
) -> None:
    equal = NAMED._replace(queue=True, tags=())
    assert turn.decide(root_node, THIRD, equal) == Answer(QUEUED, run=FIRST)
