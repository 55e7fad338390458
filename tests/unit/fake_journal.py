"""A journal in memory, in place of systemd's, for the log reader."""

from __future__ import annotations

import contextlib
import os
from types import TracebackType
from typing import Optional

from tests.unit.records import OTHER, RUN
from twitch.log.entries import ASKED, ENDED

Entry = dict[str, str]

UNIT = "puppet-twitch-run@1-7-998.service"
PID = 4711


def entry(message: str, pid: int = PID, run: str = RUN, **fields: str) -> Entry:
    """Return an entry as Puppet's syslog brings it into the journal."""
    usual = {
        "_SYSTEMD_INVOCATION_ID": run,
        "_SYSTEMD_UNIT": UNIT,
        "_UID": "0",
        "_PID": str(pid),
        "_TRANSPORT": "syslog",
        "PRIORITY": "5",
        "SYSLOG_IDENTIFIER": "puppet-agent",
        "MESSAGE": message,
    }
    return {**usual, **fields}


def asked(pid: int = PID, run: str = RUN, **fields: str) -> Entry:
    """Return the first line of a run: the request."""
    message = f"token:deploy at 192.0.2.7 asked for a run: started {run}"
    return entry(message, pid, run, **{"MESSAGE_ID": ASKED, "_TRANSPORT": "journal", **fields})


def ended(pid: int = PID + 1) -> Entry:
    """Return conclude's line."""
    return entry(f"run {RUN} of token:deploy: changed", pid, MESSAGE_ID=ENDED, _TRANSPORT="journal")


class FakeJournal:
    """Does what `entries.Journal` does, with a list of entries; `append` wakes a reader that waits."""

    def __init__(self, *entries: Entry) -> None:
        self.entries = list(entries)
        self.exists = True
        self.denied = False
        self._position = -1
        self._matches: list[list[str]] = [[]]
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)

    def append(self, *entries: Entry) -> None:
        """Add entries, as journald does."""
        self.entries += entries
        os.write(self._wake, b"x")

    def vacuum(self, number: int) -> None:
        """Delete the oldest entries."""
        del self.entries[:number]
        self._position = max(-1, self._position - number)

    def fileno(self) -> int:
        return self._woken

    def get_events(self) -> int:
        return 1  # POLLIN

    def process(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 100)

    def flush_matches(self) -> None:
        self._matches = [[]]

    def add_match(self, *matches: str) -> None:
        self._matches[-1] += matches

    def add_disjunction(self) -> None:
        self._matches.append([])

    def seek_head(self) -> None:
        self._position = -1

    def step(self) -> bool:
        for position in range(self._position + 1, len(self.entries)):
            if any(self._matching(position, matches) for matches in self._matches):
                self._position = position
                return True
        return False

    def _matching(self, position: int, matches: list[str]) -> bool:
        fields = self.entries[position]
        return all(fields.get(name) == value for name, _, value in (one.partition("=") for one in matches))

    def field(self, name: str) -> Optional[str]:
        return self.entries[self._position].get(name)

    def time(self) -> float:
        return 1769072699.25

    def __enter__(self) -> FakeJournal:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        os.close(self._woken)
        os.close(self._wake)


__all__ = ["OTHER", "RUN", "FakeJournal", "asked", "ended", "entry"]
