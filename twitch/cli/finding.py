"""Find the run that a person names: by its id, the beginning of its id, or as `current` or `last`."""

from __future__ import annotations

import re
from typing import Optional

from twitch.errors import TwitchError, UsageError
from twitch.records import FINISHED, QUEUED, RUN_ID, RUNNING, Record, Records, ids
from twitch.wording import NO_RUNS

CURRENT, LAST = "current", "last"
# Fewer digits name a run of fifty by chance, which is no way to choose what `cancel` ends.
MIN_DIGITS = 4

HELP = f"the id of the run, its first {MIN_DIGITS} or more digits, {CURRENT} or {LAST}"
DEFAULT = f"{HELP} (default: the run under way, else the last one)"
NONE_UNDER_WAY = "No run of puppet-twitch is under way"


class NoSuchRun(TwitchError):
    """There is no record of the run."""


def find(records: Records, word: Optional[str]) -> Record:
    """Return the record of a run; raises `NoSuchRun`, or `UsageError` if the word names none or several."""
    if word is None:
        return under_way_or_last(records)
    if word in (CURRENT, LAST):
        return _by_state(records, word)
    if not re.fullmatch(rf"[0-9a-f]{{{MIN_DIGITS},32}}", word):
        raise UsageError(f"{word!r} names no run; write {HELP}")
    runs = {run for run in (*ids(records.directory), *ids(records.history)) if RUN_ID.fullmatch(run)}
    matching = [run for run in runs if run.startswith(word)]
    if len(matching) > 1:
        raise UsageError(f"{word}: {len(matching)} runs begin with this; write more digits of the id")
    record = records.read(matching[0]) if matching else None
    if record is None:
        raise NoSuchRun(f"No run {word}; puppet-twitch runs shows the last ones")
    return record


def under_way_or_last(records: Records) -> Record:
    """Return the record of the run under way, else of the last one; raises `NoSuchRun`."""
    newest = records.newest()
    for state in (RUNNING, FINISHED, QUEUED):
        for record in newest:
            if record.state == state:
                return record
    raise NoSuchRun(NO_RUNS)


def _by_state(records: Records, word: str) -> Record:
    """Return the record of the run under way, or in the queue, or of the last one that has ended."""
    newest = records.newest()
    for state in (FINISHED,) if word == LAST else (RUNNING, QUEUED):
        for record in newest:
            if record.state == state:
                return record
    raise NoSuchRun("No run of puppet-twitch has ended" if word == LAST else NONE_UNDER_WAY)
