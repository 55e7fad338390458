"""When a run has ended: the turn is given on, and no record stays open or too long."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.unit.concluding import OTHER, STARTED, begin, end
from twitch import conclude, runs
from twitch.node import Node
from twitch.runs import Claim

Events = list[dict[str, Any]]


def test_the_claim_is_ended_and_the_slot_left_to_its_owner(here: Node, events: Events) -> None:
    waiting = Claim(OTHER, os.getpid(), runs.start_time(os.getpid()) or 0, {})
    here.store.claim_queued(waiting)
    here.store.write({"run": OTHER, "state": runs.QUEUED, "asked": STARTED})
    end(here)
    current = here.store.current()
    assert current is not None and current.ended is not None
    assert here.store.queued() == waiting


def test_the_claim_of_a_later_run_is_left_alone(here: Node, events: Events) -> None:
    record = begin(here)
    here.store.claim_current(Claim(OTHER, 1, 1, {}))
    conclude.conclude(here.store, record, "exited", "0")
    assert here.store.current() == Claim(OTHER, 1, 1, {})


def test_old_runs_go(here: Node, events: Events) -> None:
    for number in range(60):
        done = {"run": f"{number:032x}", "state": runs.FINISHED, "asked": float(number)}
        here.store.write(done)
    end(here)
    assert len(here.store.newest()) == runs.KEPT_RUNS


def test_a_record_that_nobody_else_would_end_is_ended(here: Node, events: Events) -> None:
    # Handler and conclude were killed between its record and its claim.
    orphan = {"run": OTHER, "state": runs.RUNNING, "asked": STARTED, "started": STARTED}
    here.store.write(orphan)
    end(here)
    found = here.store.read(OTHER) or {}
    assert (found["state"], found["verdict"]) == ("finished", "not attempted")
    assert found["reason"] == "killed before it began"


def test_a_run_that_was_taken_for_lost_has_the_last_word(
    here: Node, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(here, run=OTHER)
    end(here)
    assert (here.store.read(OTHER) or {})["verdict"] == "not attempted"
    monkeypatch.setattr(runs, "Store", lambda: here.store)
    for name, value in (("INVOCATION_ID", OTHER), ("EXIT_CODE", "exited"), ("EXIT_STATUS", "2")):
        monkeypatch.setenv(name, value)
    conclude.main()
    assert (here.store.read(OTHER) or {})["verdict"] == "changed"
