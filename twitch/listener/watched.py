"""A file that is read again when it has changed, so that a change takes effect with the next request."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from typing import Callable, Generic, Optional, TypeVar

from twitch.errors import ConfigError

log = logging.getLogger(__name__)

Content = TypeVar("Content")

# The kernel's clock for the times of files ticks every 10 ms or faster (CONFIG_HZ >= 100).
SETTLED_NS = 50_000_000


class FaultLog:
    """Logs a fault once, although every request runs into it, and again if it comes back."""

    def __init__(self) -> None:
        self._logged = ""

    @contextlib.contextmanager
    def once(self) -> Iterator[None]:
        """Log a `ConfigError` that leaves the block, unless it is the one that was logged last."""
        try:
            yield
        except ConfigError as error:
            self.log(str(error))
            raise
        self._logged = ""

    def log(self, fault: str) -> None:
        """Log a fault, unless it is the one that was logged last; empty if there is none."""
        if fault and fault != self._logged:
            log.error("%s", fault)
        self._logged = fault


class Watched(Generic[Content]):
    """The content of a file as `load(path)` returns it, always of the file as it is now.

    Each call of `current` costs one stat(). While `load` raises, each call loads the file again, so that a
    fault ends as soon as the file is fixed. A file that has changed within SETTLED_NS is loaded again as
    well: a second change within one tick of the kernel's clock could leave the same times (git's index has
    the same problem, Documentation/technical/racy-git).
    """

    def __init__(self, path: str, load: Callable[[str], Content]) -> None:
        self._path = path
        self._load = load
        self._loaded: Optional[tuple[object, Content]] = None  # the stamp of the file, and its content
        self._faults = FaultLog()

    def current(self) -> Content:
        """Return the content; raises `ConfigError` as `load` does."""
        stamp = self._stamp()
        if self._loaded and self._loaded[0] == stamp:
            return self._loaded[1]
        self._loaded = None
        log.debug("%s is read", self._path)
        with self._faults.once():
            content = self._load(self._path)
        if not self._fresh():
            self._loaded = (stamp, content)
        return content

    def _fresh(self) -> bool:
        return fresh(self._path)

    def _stamp(self) -> object:
        return stamp(self._path)


def stamp(path: str) -> object:
    """Return a value that differs when the file has changed."""
    try:
        info = os.stat(path)
    except OSError as error:
        return error.errno
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def fresh(path: str) -> bool:
    """Return whether the file has changed within SETTLED_NS."""
    try:
        changed_ns = os.stat(path).st_ctime_ns
    except OSError:
        return False
    return abs(time.time_ns() - changed_ns) < SETTLED_NS
