"""The lines of one run in the journal, in order, as they come.

Which entries these are is decided by fields that only journald sets: `_SYSTEMD_INVOCATION_ID` and
`_SYSTEMD_UNIT` (a run of ours), `_UID=0`, and `_PID`, the process that answered the request and then became
Puppet. A daemon that the run has started, or any other program, cannot add a line, whatever it calls itself.

The first line is the request itself, which the process logs before it becomes Puppet. As the journal deletes
its oldest entries first, a log whose first line is there is complete, and its lines can be counted.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Optional

from systemd import journal

from twitch import log_lines
from twitch.log_lines import LEVELS, OURS, PUPPET, STDERR, Line

# root/journal.py writes these; a test compares them.
ASKED = "1d1c14c6b1f24ed5a0ea5d7d7d43ba6c"
ENDED = "5f0f1b6fd9ff4d7b8a1ea58b7f3bd0a4"

UNIT = re.compile(r"puppet-twitch-run@[^/]*\.service")

# Where journald writes (journald.conf(5)).
TOPS = ("/run/log/journal", "/var/log/journal")

# The longest message. Puppet logs diffs line by line; the longest lines are errors that quote a command.
MAX_MESSAGE_BYTES = 8192
CUT = " [cut]"


class Journal(journal.Reader):  # type: ignore[misc]  # python-systemd has no types
    """The journal, entry by entry, with the fields that are asked for: a fifth of the time of all fields."""

    def __init__(self) -> None:
        super().__init__(journal.LOCAL_ONLY | journal.SYSTEM)
        self.data_threshold = MAX_MESSAGE_BYTES + len("MESSAGE=") + 1

    def step(self) -> bool:
        """Go to the next entry; return False if there is none."""
        return bool(self._next())

    def field(self, name: str) -> Optional[str]:
        """Return a field of the present entry; None if it has none."""
        try:
            value = self._get(name)
        except (KeyError, OSError):  # OSError: the entry is damaged
            return None
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def time(self) -> float:
        """Return when the present entry was received, in epoch seconds."""
        return float(self._get_realtime()) / 1e6

    @property
    def denied(self) -> bool:
        """Whether a file that journald writes to cannot be opened.

        systemd gives the files of a journal to the group systemd-journal at boot (tmpfiles.d); those of a
        journal that began later belong to root alone.
        """
        for top in TOPS:
            try:
                for machine in os.listdir(top):
                    with contextlib.suppress(FileNotFoundError):
                        os.close(os.open(f"{top}/{machine}/system.journal", os.O_RDONLY | os.O_CLOEXEC))
            except FileNotFoundError:
                continue
            except OSError:
                return True
        return False

    @property
    def exists(self) -> bool:
        """Whether there is any file of a journal that can be opened."""
        return bool(self.has_runtime_files() or self.has_persistent_files())


class Entries:
    """The entries of one run: its lines, and whether it has ended."""

    def __init__(self, reader: Journal, run: str, pid: Optional[int]) -> None:
        self._reader = reader
        self._run = run
        self.pid = pid  # of the run's main process; None as long as it is not known
        self.complete = False  # the first line is there, so lines can be counted
        self.ended = False  # conclude has logged the verdict
        self.seen = 0  # lines up to the present one

    def begin(self) -> bool:
        """Go before the first line; return False if the journal does not know the main process (yet)."""
        reader = self._reader
        reader.flush_matches()
        self._match(f"MESSAGE_ID={ASKED}", *([f"_PID={self.pid}"] if self.pid else []))
        reader.seek_head()
        self.complete = reader.step() and self._is_ours()
        if self.complete:
            self.pid = int(reader.field("_PID") or 0)
        if not self.pid:
            return False
        reader.flush_matches()
        self._match(f"_PID={self.pid}")
        reader.add_disjunction()
        self._match(f"MESSAGE_ID={ENDED}")
        reader.seek_head()
        self.seen, self.ended = 0, False
        return True

    def skip(self, number: int) -> bool:
        """Go over so many lines; return False if there are less."""
        while self.seen < number:
            if not self._step():
                return False
        return True

    def next(self) -> Optional[Line]:
        """Return the next line; None if there is none yet."""
        return self._line() if self._step() else None

    def _match(self, *more: str) -> None:
        self._reader.add_match(f"_SYSTEMD_INVOCATION_ID={self._run}", "_UID=0", *more)

    def _step(self) -> bool:
        """Go to the next line, and take notice of the verdict on the way."""
        while self._reader.step():
            if not self._is_ours():
                continue
            if self._reader.field("_PID") == str(self.pid):
                self.seen += 1
                return True
            self.ended = True
        return False

    def _is_ours(self) -> bool:
        """Return whether the present entry was written in the unit of a run."""
        return UNIT.fullmatch(self._reader.field("_SYSTEMD_UNIT") or "") is not None

    def _line(self) -> Line:
        reader = self._reader
        priority, message = reader.field("PRIORITY") or "", reader.field("MESSAGE") or ""
        if len(message) > MAX_MESSAGE_BYTES:
            message = message[:MAX_MESSAGE_BYTES] + CUT
        ours = reader.field("MESSAGE_ID") == ASKED
        if ours:
            source = OURS
        elif reader.field("_TRANSPORT") == "stdout":
            source = STDERR
        else:
            source, message = log_lines.parsed(message)
        level = LEVELS[int(priority)] if priority in tuple("01234567") else "notice"
        at = self.seen if self.complete else None
        return Line(at, reader.time(), level, source or PUPPET, message, ours)
