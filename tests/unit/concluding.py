"""Runs on record, and their end."""

from __future__ import annotations

from typing import Any

from tests.unit.processes import dead
from twitch import runs
from twitch.root import conclude
from twitch.root.node import Node
from twitch.runs import Claim

RUN, OTHER = "1" * 32, "2" * 32
STARTED = 1769072699.0  # a moment before the reports of these tests begin


def begin(here: Node, **more: Any) -> runs.Record:
    """Put a run on record, as the handler does; its process has ended."""
    record: runs.Record = {
        "run": RUN,
        "state": runs.RUNNING,
        "asked": STARTED,
        "started": STARTED,
        "caller": "token:deploy",
        "client": "192.0.2.7",
        "options": {"noop": False, "tags": [], "environment": None},
        "command": "agent",
        "settings": here.settings._asdict(),
        **more,
    }
    here.store.write(record)
    here.store.claim_current(Claim(RUN, dead(), 1, {}))
    return record


def end(here: Node, exit_status: str = "0", exit_code: str = "exited", **more: Any) -> runs.Record:
    """Begin a run and conclude it; return what is on record then."""
    conclude.conclude(here.store, begin(here, **more), exit_code, exit_status)
    found = here.store.read(RUN)
    assert found is not None
    return found
