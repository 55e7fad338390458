"""When a run has ended: the turn is given on, and no record stays open or too long."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from tests.unit.concluding import OTHER, RUN, STARTED, begin, end
from twitch import runs
from twitch.root import conclude
from twitch.root.node import Node
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


def test_a_conclude_that_is_slow_is_waited_for(here: Node, events: Events) -> None:
    begin(here)
    claim = here.store.current()
    assert claim is not None
    with here.store.concluding():
        next_one = threading.Thread(target=conclude.abandoned, args=(here.store, claim))
        next_one.start()
        conclude.conclude(here.store, here.store.read(RUN) or {}, "exited", "1")
        ended = here.store.current()
    next_one.join()
    assert (here.store.read(RUN) or {})["verdict"] == "not attempted"
    assert (here.store.current(), len(events)) == (ended, 1)


def test_old_runs_go(here: Node, events: Events) -> None:
    for number in range(60):
        done = {"run": f"{number:032x}", "state": runs.FINISHED, "asked": float(number)}
        here.store.write(done)
    end(here)
    assert len(here.store.newest()) == runs.KEPT_RUNS


def test_a_record_that_cannot_be_understood_comes_to_an_end_all_the_same(
    here: Node, events: Events, capsys: pytest.CaptureFixture[str]
) -> None:
    here.store.write({"run": RUN, "state": runs.RUNNING, "asked": STARTED, "settings": "of another version"})
    claim = Claim(RUN, 1, 1, {})
    here.store.claim_current(claim)
    conclude.abandoned(here.store, claim)
    found = here.store.read(RUN) or {}
    assert (found["state"], found["verdict"]) == ("finished", "interrupted")
    assert found["reason"] == "how it ended cannot be read; the journal says why"
    assert "Traceback" in capsys.readouterr().err
    current = here.store.current()
    assert current is not None and current.ended is not None
