"""Whether only root can change a file or a directory of ours."""

from __future__ import annotations

import os
import stat
from typing import Optional

from twitch.errors import TwitchError


class NotOurs(TwitchError):
    """Another user can change a directory or a file of ours, so that nothing in it can be trusted."""

    def __init__(self, fault: str, fix: str) -> None:
        super().__init__(f"{fault}; {fix}")
        self.fault = fault
        self.fix = fix


def fault(path: str) -> Optional[str]:
    """Return why a path of ours cannot be trusted; None if it can, or does not exist."""
    try:
        info = os.lstat(path)
    except OSError:
        return None
    if stat.S_ISLNK(info.st_mode):
        return "is a symbolic link"
    if info.st_uid != os.geteuid():
        return f"belongs to uid {info.st_uid} instead of root"
    if info.st_mode & 0o022:
        return f"has mode {stat.S_IMODE(info.st_mode):o}, so users other than root can change it"
    return None
