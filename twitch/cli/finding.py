"""Find the run that a person names: by its id, the beginning of its id, or as `current` or `last`."""

from __future__ import annotations

import re
from typing import Optional

from twitch.errors import TwitchError, UsageError
from twitch.records import QUEUED, RUN_ID, RUNNING, Record, Records, ids
from twitch.wording import NO_RUNS

CURRENT, LAST = "current", "last"
# Fewer digits name a run of fifty by chance, which is no way to choose what `cancel` ends.
MIN_DIGITS = 4

HELP = f"the id of the run, its first {MIN_DIGITS} or more digits, {CURRENT} or {LAST}"


class NoSuchRun(TwitchError):
    """There is no record of the run."""


def find(records: Records, word: str) -> Record:
    """Return the record of a run; raises `NoSuchRun`, or `UsageError` if the word names none or several."""
    if word in (CURRENT, LAST):
        return _newest(records, word)
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


def _newest(records: Records, word: str) -> Record:
    found: Optional[Record] = None
    for record in records.newest():
        if word == LAST or record.state == RUNNING:
            return record
        if record.state == QUEUED:
            found = found or record
    if found:
        return found
    if word == CURRENT:
        raise NoSuchRun("No run of puppet-twitch is under way")
    raise NoSuchRun(NO_RUNS)
