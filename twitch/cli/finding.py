"""Find the run that a person names: by its id, the beginning of its id, or as `current` or `last`."""

from __future__ import annotations

import re
from typing import Optional

from twitch.errors import TwitchError, UsageError
from twitch.messages import CURRENT
from twitch.record_files import Records
from twitch.records import FINISHED, QUEUED, RUN_ID, RUNNING, Record
from twitch.wording import NO_RUNS

LAST = "last"
# With fewer digits, a typing error could name another one of fifty runs, and `cancel` would end that.
MIN_DIGITS = 4

HELP = f"the id of the run, its first {MIN_DIGITS} or more digits, {CURRENT} or {LAST}"
DEFAULT = f"{HELP} (default: the run under way, else the last one)"


class NoSuchRun(TwitchError):
    """There is no record of the run."""


def find(records: Records, word: Optional[str]) -> Record:
    """Return the record of a run; raises `NoSuchRun`, or `UsageError` if the word names none or several."""
    if word is None:
        run = _under_way_or_last(records).run
    elif word in (CURRENT, LAST):
        run = _named(records, word).run
    else:
        run = _complete(records, word)
    record = records.read(run)  # with its resources, which `newest` leaves out
    if record is None:
        raise NoSuchRun(f"No run {word or run}; puppet-twitch runs shows the last ones")
    return record


def _complete(records: Records, word: str) -> str:
    """Return the id that begins with these digits, or the digits if there is none."""
    if not re.fullmatch(rf"[0-9a-f]{{{MIN_DIGITS},32}}", word):
        raise UsageError(f"{word!r} names no run; write {HELP}")
    matching = [run for run in records.runs() if RUN_ID.fullmatch(run) and run.startswith(word)]
    if len(matching) > 1:
        raise UsageError(f"{word}: {len(matching)} runs begin with this; write more digits of the id")
    return matching[0] if matching else word


def _under_way_or_last(records: Records) -> Record:
    """Return the record of the run under way, else of the last one, else of the one in the queue."""
    newest = records.newest()
    record = _of(newest, RUNNING) or _of(newest, FINISHED) or _of(newest, QUEUED)
    if record is None:
        raise NoSuchRun(NO_RUNS)
    return record


def _named(records: Records, word: str) -> Record:
    """Return the record of the run that CURRENT or LAST names, as over HTTP."""
    newest = records.newest()
    record = _of(newest, FINISHED) if word == LAST else _of(newest, RUNNING) or _of(newest, QUEUED)
    if record is None:
        raise NoSuchRun("No run has ended yet" if word == LAST else "No run of puppet-twitch is under way")
    return record


def _of(records: list[Record], state: str) -> Optional[Record]:
    """Return the last record with this state; None if there is none."""
    found = [record for record in records if record.state == state]
    return max(found, key=lambda record: record.ended or record.asked, default=None)
