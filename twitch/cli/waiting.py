"""Wait for the end of a run."""

from __future__ import annotations

import contextlib
import time

from twitch import wording
from twitch.cli.asking import ask
from twitch.errors import TwitchError
from twitch.messages import Status
from twitch.record_files import GUARD_S, LOOK_S, Records
from twitch.records import FINISHED, Record


class NoVerdict(TwitchError):
    """The run has ended, and its verdict cannot be written."""


def wait(records: Records, run: str) -> Record:
    """Return the record of a run when it has ended; raises `NoVerdict`."""
    guard = time.monotonic() + GUARD_S
    while True:
        record = records.read(run)
        if record is None:
            log = f"journalctl _SYSTEMD_INVOCATION_ID={run}"
            raise NoVerdict(f"The record of run {run} is gone; its log: {log}")
        if record.state == FINISHED:
            return record
        if time.monotonic() > guard:
            _guard(run)
            guard = time.monotonic() + GUARD_S
        time.sleep(LOOK_S)


def _guard(run: str) -> None:
    status = None
    with contextlib.suppress(TwitchError):  # root's side may be down for a moment, as in an upgrade
        status = ask(Status()).status
    if status and status.unrecorded == run:
        raise NoVerdict(f"{wording.NO_VERDICT}: {status.unrecorded_why}")
