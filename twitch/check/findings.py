"""What `check` finds: good, worth a note, or a fault; with the mend."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import NamedTuple, Optional

GOOD, NOTE, FAULT = "good", "note", "fault"

# Nothing that check asks takes long, except Puppet, which has its own limit.
COMMAND_TIMEOUT_S = 25


class Finding(NamedTuple):
    """One sentence, and what to do about it."""

    level: str
    text: str
    mend: str = ""


def output(command: Sequence[str], given: Optional[str] = None) -> Optional[str]:
    """What a command prints; None if there is no such command, or it fails."""
    try:
        done = subprocess.run(
            command, input=given or "", capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
