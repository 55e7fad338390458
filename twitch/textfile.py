"""A file that another program reads at any moment: node_exporter's textfile collector."""

from __future__ import annotations

import contextlib
import os
from typing import Optional

from twitch.errors import TwitchError


def write(path: str, text: str, at: Optional[int] = None) -> None:
    """Replace a file, so that a reader finds the whole of the old one or of the new one.

    Everybody may read it, because node_exporter has a user of its own. That user may own the directory, so
    all steps go through one descriptor of it, and no link in it is followed. `at` is a descriptor
    of it, if the path to it is not to be trusted either. Raises `TwitchError`.
    """
    directory, name = os.path.split(os.path.abspath(path))
    # node_exporter reads *.prom. With the pid, because another process may write at the same time.
    temporary = f"{name}.{os.getpid()}"
    try:
        if at is not None:
            _replace(at, name, temporary, text.encode())
            return
        at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _replace(at, name, temporary, text.encode())
        finally:
            os.close(at)
    except OSError as error:
        raise TwitchError(f"{path} cannot be written: {error.strerror}") from error


def _replace(at: int, name: str, temporary: str, content: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=at)  # of a process with this pid that was killed
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o644, dir_fd=at)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)  # whatever the umask
            file.write(content)
        os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=at)
        raise
