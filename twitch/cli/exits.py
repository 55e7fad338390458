"""The exit statuses of the commands, beside those of errors.py."""

from __future__ import annotations

from twitch.records import BUSY, FAILED, INTERRUPTED, NOT_ATTEMPTED, Record

EX_GOOD = 0
EX_FAILED = 1
EX_INTERRUPTED = 2
EX_NOT_ATTEMPTED = 3

VERDICTS = {
    FAILED: EX_FAILED,
    INTERRUPTED: EX_INTERRUPTED,
    NOT_ATTEMPTED: EX_NOT_ATTEMPTED,
    BUSY: EX_NOT_ATTEMPTED,
}

# For the help of the commands that wait for a run.
OF_A_RUN = """\
0 if the run is complete, 1 if it failed, 2 if it was interrupted or cancelled, 3 if it was not attempted.
Puppet's own exit status is never passed on."""
OF_ERRORS = "64: invalid options; 69: root's side cannot be reached; 77: not root; 78: invalid configuration."


def of(record: Record) -> int:
    """Return the exit status for a run that has ended."""
    if record.good:
        return EX_GOOD
    if record.cancelled and record.verdict == NOT_ATTEMPTED:
        return EX_INTERRUPTED  # while it waited in the queue
    return VERDICTS.get(record.verdict or "", EX_FAILED)
