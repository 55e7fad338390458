"""The result files that every run leaves behind without an option: the newest KEPT of them."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from twitch.errors import TwitchError

KEPT = 20
PATTERN = "fleet-*.jsonl"


def folder() -> Path:
    """Return $XDG_STATE_HOME/puppet-twitch; without the variable ~/.local/state, on every system."""
    state = os.environ.get("XDG_STATE_HOME", "")
    # A relative path is invalid, and ignored (XDG Base Directory Specification).
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return base / "puppet-twitch"


def new_path() -> Path:
    """Return the path for the result of a run that begins now; removes the oldest files beyond KEPT.

    Raises `OSError` if the folder cannot be made.
    """
    directory = folder()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in _files(directory)[KEPT - 1 :]:
        with contextlib.suppress(OSError):  # another run may have removed it
            old.unlink()
    began = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return directory / f"fleet-{began}-{os.getpid()}.jsonl"


def newest() -> Path:
    """Return the newest result file; raises `TwitchError` if there is none."""
    files = _files(folder())
    if not files:
        raise TwitchError(f"no result in {folder()}: name the file that --json has written")
    return files[0]


def _files(directory: Path) -> list[Path]:
    """Return the result files, the newest first: their names begin with the time, in UTC."""
    return sorted(directory.glob(PATTERN), reverse=True)
