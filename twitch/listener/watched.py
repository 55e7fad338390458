"""A file that is read again when it has changed, so that what an operator writes counts at once."""

from __future__ import annotations

import logging
import os
import time
from typing import Callable, Generic, TypeVar

from twitch.errors import ConfigError

log = logging.getLogger(__name__)

Content = TypeVar("Content")

# The clock of files ticks every 10 ms or faster (CONFIG_HZ >= 100).
SETTLED_NS = 50_000_000


class Watched(Generic[Content]):
    """What `load(path)` makes of a file, as the file is now.

    One stat() a look. While `load` raises, every look tries again: a fault lasts no longer than it
    stands in the file. So does a file that has only just changed: a second change within one tick of
    the kernel's clock could leave the same stamp (as git's index knows, Documentation/technical/racy-git).

    A fault is logged once, however many look at it, and again when it comes back.
    """

    def __init__(self, path: str, load: Callable[[str], Content]) -> None:
        self._path = path
        self._load = load
        self._known: list[tuple[object, Content]] = []  # none or one
        self._fault = ""

    def current(self) -> Content:
        """Return the content; raises `ConfigError` as `load` does."""
        stamp = self._stamp()
        if not self._known or self._known[0][0] != stamp:
            self._known = []
            content = self._loaded()
            if not self._fresh():
                self._known = [(stamp, content)]
            return content
        return self._known[0][1]

    def _loaded(self) -> Content:
        try:
            content = self._load(self._path)
        except ConfigError as error:
            if str(error) != self._fault:
                self._fault = str(error)
                log.error("%s", error)
            raise
        self._fault = ""
        return content

    def _fresh(self) -> bool:
        try:
            changed_ns = os.stat(self._path).st_ctime_ns
        except OSError:
            return False
        return abs(time.time_ns() - changed_ns) < SETTLED_NS

    def _stamp(self) -> object:
        try:
            info = os.stat(self._path)
        except OSError as error:
            return error.errno
        return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
