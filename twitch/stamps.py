"""Whether files and directories are still as they were, without reading them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Optional

# A file that changes twice within a tick of the kernel (10 ms at most) has one time for both changes.
RACY_S = 1.0


def stamp(paths: Iterable[str]) -> Optional[str]:
    """Return what changes with any of these; None if one cannot be seen, or has changed just now.

    A directory changes when an entry is added, removed or replaced. The time is that of the inode (ctime),
    which no tool sets back.
    """
    parts = []
    for path in paths:
        try:
            info = os.stat(path)
        except OSError:
            return None
        if info.st_ctime > time.time() - RACY_S:
            return None
        parts.append(f"{info.st_dev}.{info.st_ino}.{info.st_ctime_ns}")
    return " ".join(parts)
