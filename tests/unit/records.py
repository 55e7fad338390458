"""Records of runs, as the handler and conclude write them."""

from __future__ import annotations

from typing import Any

from twitch.records import FINISHED, QUEUED, RUNNING, Record

RUN, OTHER = "1" * 32, "2" * 32
STARTED = 1769072699.0  # a moment before the reports of tests/unit/reports.py begin


def run_id(number: int) -> str:
    """Return the id of one of several runs."""
    return f"{number:032x}"


def record(run: str = RUN, state: str = RUNNING, **fields: Any) -> Record:
    """Return the record of a run, with these fields instead of the usual ones."""
    started = None if state == QUEUED else STARTED
    usual = Record(run, state, STARTED, caller="token:deploy", client="192.0.2.7", started=started)
    return usual._replace(**fields)


def finished(verdict: str, run: str = RUN, **fields: Any) -> Record:
    """Return the record of a run that has ended."""
    ended = {"ended": STARTED + 4.5, "duration_s": 4.5, "exit_status": "2", "unreported": False}
    return record(run, FINISHED, **{**ended, "verdict": verdict, **fields})
