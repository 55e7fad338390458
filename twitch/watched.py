"""A file that is read again when it has changed, so that what an operator writes counts at once."""

from __future__ import annotations

import os
from typing import Callable, Generic, TypeVar

Content = TypeVar("Content")


class Watched(Generic[Content]):
    """What `load(path)` makes of a file, as the file is now.

    One stat() a look. While `load` raises, every look tries again: a fault lasts no longer than it
    stands in the file.
    """

    def __init__(self, path: str, load: Callable[[str], Content]) -> None:
        self._path = path
        self._load = load
        self._known: list[tuple[object, Content]] = []  # none or one

    def current(self) -> Content:
        """Return the content; raises what `load` raises."""
        stamp = self._stamp()
        if not self._known or self._known[0][0] != stamp:
            self._known = []
            self._known = [(stamp, self._load(self._path))]
        return self._known[0][1]

    def _stamp(self) -> object:
        try:
            info = os.stat(self._path)
        except OSError as error:
            return error.errno
        return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
