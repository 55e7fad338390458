"""What `check` finds: good, worth a note, or a fault; with the mend."""

from __future__ import annotations

from typing import NamedTuple

GOOD, NOTE, FAULT = "good", "note", "fault"


class Finding(NamedTuple):
    """One sentence, and what to do about it."""

    level: str
    text: str
    mend: str = ""
