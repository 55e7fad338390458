"""What outlasts the records of runs: how many runs ended with which verdict, and the last success.

It is one small file, /var/lib/puppet-twitch/counts.json. Without it, or if it is invalid, the counters begin
at zero, which Prometheus takes for a restart.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from typing import Callable, NamedTuple, Optional

from twitch.fields import Fields
from twitch.records import VERDICTS, Record
from twitch.root import files
from twitch.root.ownership import NotOurs
from twitch.root.store import Store

MAX_BYTES = 4096
# As far as a clock may be set back, and moments of before still hold.
CLOCK_SLACK_S = 60


class Counts(NamedTuple):
    """The content of the file."""

    runs: Mapping[str, int] = {}  # by VERDICTS
    last_success: Optional[float] = None  # epoch seconds


def read(store: Store) -> Counts:
    """Return the counts; those of a new node if there are none that can be understood."""
    try:
        store.trust_history()
        with files.open_foreign(store.counts_path, MAX_BYTES) as file:
            fields = Fields(json.loads(file.read(MAX_BYTES)))
        runs = fields.counts("runs") or {}
        known = {verdict: runs[verdict] for verdict in VERDICTS if runs.get(verdict, 0) > 0}
        return Counts(known, latest([fields.optional_number("last_success")]))
    except (OSError, ValueError, RecursionError, NotOurs):
        return Counts()


def add(store: Store, record: Record) -> None:
    """Count a run that has ended. A disk that cannot be written costs the count, and nothing else."""

    def counted(before: Counts) -> Counts:
        verdict = record.verdict or ""
        runs = {**before.runs, verdict: before.runs.get(verdict, 0) + 1}
        return Counts(runs, latest((before.last_success, success(record))))

    _change(store, counted)


def note_success(store: Store, ended: Optional[float]) -> None:
    """Keep the end of a good run that somebody else started, before its report is replaced."""
    if (latest([ended]) or 0) > (read(store).last_success or 0):
        _change(store, lambda before: before._replace(last_success=latest((before.last_success, ended))))


def success(record: Record) -> Optional[float]:
    """Return when a run succeeded; None if it did not, or a caller has limited it by noop or tags.

    As in the status for monitoring, such a run does not hide that the whole catalog cannot be applied.
    """
    return record.ended if record.good and not record.options.partial else None


def latest(moments: Iterable[Optional[float]]) -> Optional[float]:
    """Return the latest of these moments that is not in the future; None if there is none.

    A moment in the future would stay the latest for good, and no rule for alerts would ever fire. The clock
    has been wrong, or user puppet has written the report.
    """
    now = time.time() + CLOCK_SLACK_S
    return max((moment for moment in moments if moment and moment <= now), default=None)


def _change(store: Store, change: Callable[[Counts], Counts]) -> None:
    with contextlib.suppress(OSError, NotOurs):
        store.trust_history()
        with store.claims.locked():
            files.write_json(store.counts_path, change(read(store))._asdict(), 0o600)
