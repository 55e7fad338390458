"""The files of records: where they are, what is in them, and reading them.

    /run/puppet-twitch/runs/ID.json         a run that waits, is under way, or has just ended
    /var/lib/puppet-twitch/runs/ID.json     a run that has ended: the history, which survives a reboot

Root writes records (root/store.py), by rename, so that a reader sees a whole record or the one before.
The listener only reads them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Optional

from twitch.records import FINISHED, RUN_ID, RUNNING, STATES, Record, from_json

ROOT = "/run/puppet-twitch"
HISTORY = "/var/lib/puppet-twitch"

# More than the longest record has: its resources (root/report_to_record.py), and the names of twenty failed
# resources in letters that JSON escapes.
MAX_RECORD_CHARS = 256 * 1024

# How many records are kept, and how many bytes of them, unless [runs] says otherwise. A record has 2 KB, and
# 100 KB if hundreds of resources have changed.
KEEP_RUNS = 50
KEEP_BYTES = 8 * 1024 * 1024

# How a reader waits for the end of a run that it does not hear of: the time between two looks at a record, so
# that the verdict is seen at most this late. A look is one open() of a small file in memory.
LOOK_S = 0.2
# Meanwhile, root is asked for the status this often: that ends a run whose conclude was killed, and tells of
# a run that has ended and whose verdict cannot be written. With the seconds that root gives a conclude
# (root/turn.py), a caller hears within half a minute of the end.
GUARD_S = 15

# A record is one JSON object, and its resources are its last members, on a line of their own: a list of runs
# reads only the first line.
DETAILS = ("resources", "resources_left_out")
END_OF_LINE = ",\n"


class Records:
    """The records of runs, for reading: `directory` is in memory, `history` on the disk."""

    def __init__(self, root: str = ROOT, history: Optional[str] = None) -> None:
        self.directory = os.path.join(root, "runs")
        self.history = os.path.join(HISTORY if history is None else history, "runs")
        self.history_is_ours = True  # root reads none that another user could have written (root/store.py)

    def read(self, run: str, *, resources: bool = True) -> Optional[Record]:
        """Return the record of a run; None if there is none (any more), or it cannot be understood.

        Without its resources, a record is read in a tenth of a millisecond, however many it has.
        """
        if not RUN_ID.fullmatch(run):
            return None
        # In this order: a record is in the history before it leaves `directory`. Where `directory` was full
        # or read-only at the end of the run, the record there still says `running`.
        record = _read(self.path(run), run, resources=resources)
        if record and record.state == FINISHED:
            return record
        ended = _read(self.history_path(run), run, resources=resources) if self.history_is_ours else None
        return ended or record

    def newest(self) -> list[Record]:
        """Return all records without their resources, the run asked for last first."""
        return newest_first(self.read(run, resources=False) for run in self.runs())

    def under_way(self) -> Optional[Record]:
        """Return the record of the run under way; None if there is none."""
        # The record of a run under way is in /run, where few others are.
        records = (self.read(run, resources=False) for run in ids(self.directory))
        return next((record for record in records if record and record.state == RUNNING), None)

    def runs(self) -> set[str]:
        """Return the ids of all records, valid or not."""
        return {*ids(self.directory), *(ids(self.history) if self.history_is_ours else ())}

    def path(self, run: str) -> str:
        """Return where the record of a run is until it has ended."""
        return os.path.join(self.directory, f"{run}.json")

    def history_path(self, run: str) -> str:
        """Return where the record of a run is that has ended."""
        return os.path.join(self.history, f"{run}.json")


def newest_first(records: Iterable[Optional[Record]]) -> list[Record]:
    """Return records in the order of `/puppet/runs`."""
    return sorted(filter(None, records), key=lambda record: record.asked, reverse=True)


def encode(record: Record) -> bytes:
    """Return the file of a record."""
    fields = record.to_json()
    details = {name: fields.pop(name) for name in DETAILS if name in fields and record.resources is not None}
    text = json.dumps(fields)
    if details:
        text = f"{text[:-1]}{END_OF_LINE}{json.dumps(details)[1:]}"
    return text.encode("ascii")


def _read(path: str, run: str, *, resources: bool) -> Optional[Record]:
    try:
        # No link is followed and no FIFO waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, encoding="utf-8") as file:
            text = file.read(MAX_RECORD_CHARS) if resources else file.readline(MAX_RECORD_CHARS)
        if text.endswith(END_OF_LINE):
            text = text[: -len(END_OF_LINE)] + "}"
        record = from_json(json.loads(text))
    except (OSError, ValueError, RecursionError):
        return None
    return record if record.run == run and record.state in STATES else None


def ids(directory: str) -> list[str]:
    """Return the names of the records in a directory."""
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return [stem for stem, ending in map(os.path.splitext, names) if ending == ".json"]
