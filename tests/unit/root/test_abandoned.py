"""Runs of which nobody has seen the end: no record and no claim stays open, whatever happened to conclude."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.unit import reports
from tests.unit.concluding import begin, dead_claim, read
from tests.unit.fake_puppet import FakePuppet
from tests.unit.processes import LIMIT_S
from tests.unit.records import OTHER, RUN
from twitch.root import abandoned, begun, conclude, memory, turn, verdict
from twitch.root.node import Node
from twitch.root.process import boot_id
from twitch.root.store import Store

Events = list[dict[str, Any]]


def fail(*_: object) -> None:
    raise ZeroDivisionError("a bug of ours")


# ---- the run that became Puppet last, after a power cut


def power_cut(root_node: Node, boot: str = "another boot") -> Store:
    """Begin a run that becomes Puppet, and lose what is in /run; return the store after the boot."""
    root_node.store.prepare(os.getgid())
    begin(root_node)
    with mock.patch.object(begun, "boot_id", lambda: boot):
        claim = root_node.store.claims.current()
        assert claim is not None
        begun.keep(root_node.store, claim)
    for path in Path(root_node.store.root).rglob("*.json"):
        if root_node.store.state not in os.fspath(path):
            path.unlink()
    return Store(root_node.store.root)


@pytest.mark.parametrize("times", [1, 3])
def test_lost_run_with_its_report_has_its_verdict_once(
    root_node: Node, puppet: FakePuppet, events: Events, times: int
) -> None:
    puppet.report.write_text(reports.report(job_id=RUN))
    store = power_cut(root_node)
    for _ in range(times):
        turn.settle(store)
    record = read(store)
    assert (record.verdict, record.caller, record.duration_s) == ("changed", "token:deploy", 2.25)
    assert record.ended is not None and record.ended < time.time()
    assert len(events) == 1
    conclude.tidy(store)
    assert (os.listdir(store.directory), begun.read(store)) == ([], None)


@pytest.mark.parametrize("job_id", ["", OTHER])
def test_lost_run_without_its_report_is_interrupted(
    root_node: Node, puppet: FakePuppet, events: Events, job_id: str
) -> None:
    puppet.report.write_text(reports.report(job_id=job_id))
    store = power_cut(root_node)
    turn.settle(store)
    record = read(store)
    assert (record.verdict, record.reason) == ("interrupted", "the node went down during the run")
    assert record.duration_s is None


def test_lost_run_of_another_tool_makes_no_record(
    root_node: Node, puppet: FakePuppet, events: Events
) -> None:
    # The id of any unit, given to Puppet by an operator: only begun.json says which id was ours.
    root_node.store.prepare(os.getgid())
    puppet.report.write_text(reports.report(job_id=RUN))
    turn.settle(root_node.store)
    assert (root_node.store.newest(), events) == ([], [])


def test_run_whose_record_vanished_is_concluded_from_its_copy(
    root_node: Node, puppet: FakePuppet, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    puppet.report.write_text(reports.report(job_id=RUN))
    store = power_cut(root_node, boot_id())
    monkeypatch.setenv("INVOCATION_ID", RUN)
    monkeypatch.setenv("EXIT_CODE", "exited")
    monkeypatch.setenv("EXIT_STATUS", "1")
    monkeypatch.setattr(conclude, "Store", lambda: store)
    monkeypatch.setattr(memory, "limit", lambda: None)  # all tests after this one would have it
    conclude.main()
    record = read(store)
    assert (record.verdict, record.reason) == ("failed", "Puppet exited with 1 after its catalog was applied")


def test_lost_run_that_is_pruned_does_not_come_again(
    root_node: Node, puppet: FakePuppet, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    puppet.report.write_text(reports.report(job_id=RUN))
    store = power_cut(root_node)
    turn.settle(store)
    conclude.tidy(store)
    os.unlink(store.history_path(RUN))
    turn.settle(store)
    assert store.newest() == []


@pytest.mark.parametrize("content", ["", "{", "null", "[]", '{"record": {}}', '{"record": 1, "pid": 1}'])
def test_spoilt_copy_is_as_good_as_none(root_node: Node, events: Events, content: str) -> None:
    root_node.store.prepare(os.getgid())
    Path(root_node.store.state, "begun.json").write_text(content)
    turn.settle(root_node.store)
    assert (begun.read(root_node.store), root_node.store.newest()) == (None, [])


# ---- abandoned runs


def test_abandoned_waits_for_a_slow_conclude(root_node: Node, events: Events) -> None:
    record = begin(root_node)
    claim = root_node.store.claims.current()
    assert claim is not None
    with root_node.store.concluding():
        next_handler = threading.Thread(target=abandoned.conclude, args=(root_node.store, claim))
        next_handler.start()
        conclude.conclude(root_node.store, record, "exited", "1")
        ended = root_node.store.claims.current()
    next_handler.join(LIMIT_S)
    assert read(root_node.store).verdict == "not attempted"
    assert (root_node.store.claims.current(), len(events)) == (ended, 1)


INVALID = {
    "empty": b"",
    "cut-short": b'{"run": "11111111',
    "not-an-object": b"[]",
    "of-another-version": b'{"run": "11111111111111111111111111111111", "state": "paused", "asked": 1}',
}


@pytest.mark.parametrize("content", INVALID.values(), ids=INVALID)
@pytest.mark.parametrize("claim", ["write_current", "write_queued"])
def test_abandoned_run_with_an_invalid_record_is_interrupted(
    root_node: Node, events: Events, claim: str, content: bytes
) -> None:
    Path(root_node.store.path(RUN)).write_bytes(content)
    dead = dead_claim()
    getattr(root_node.store.claims, claim)(dead)
    abandoned.conclude(root_node.store, dead)
    record = read(root_node.store)
    assert (record.state, record.verdict) == ("finished", "interrupted")
    assert record.reason == "how it ended is not known: its record is invalid"
    assert record.ended is not None and record.ended == record.asked
    current = root_node.store.claims.current()
    assert current is None or current.ended is not None
    assert root_node.store.claims.queue_claim() is None


def test_abandoned_run_that_conclude_fails_on_is_interrupted(
    root_node: Node, events: Events, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verdict, "judge", fail)
    assert_abandoned(root_node, "interrupted", "how it ended cannot be read; the journal says why")
    assert "ZeroDivisionError: a bug of ours" in capsys.readouterr().err


def test_abandoned_run_keeps_its_verdict_when_conclude_fails_after_it(
    root_node: Node, events: Events, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(conclude, "_log", fail)
    assert_abandoned(root_node, "interrupted", "how Puppet ended is not known")
    assert "ZeroDivisionError: a bug of ours" in capsys.readouterr().err


def assert_abandoned(root_node: Node, word: str, reason: str) -> None:
    """Conclude an abandoned run, and check its verdict and that its claim has ended."""
    begin(root_node)
    claim = root_node.store.claims.current()
    assert claim is not None
    abandoned.conclude(root_node.store, claim)
    record = read(root_node.store)
    assert (record.state, record.verdict, record.reason) == ("finished", word, reason)
    current = root_node.store.claims.current()
    assert current is not None and current.ended is not None


def test_abandoned_run_stays_open_when_its_verdict_cannot_be_written(
    root_node: Node, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    begin(root_node)
    claim = root_node.store.claims.current()
    assert claim is not None
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(root_node.store, "write", full)
        abandoned.conclude(root_node.store, claim)
    assert (read(root_node.store).state, root_node.store.claims.current()) == ("running", claim)
    abandoned.conclude(root_node.store, claim)
    assert read(root_node.store).verdict == "interrupted"


def test_abandoned_claim_without_a_record_is_only_ended(root_node: Node, events: Events) -> None:
    claim = dead_claim()
    root_node.store.claims.write_current(claim)
    abandoned.conclude(root_node.store, claim)
    current = root_node.store.claims.current()
    assert current is not None and current.ended is not None
    assert not root_node.store.recorded(RUN)
    assert events == []
