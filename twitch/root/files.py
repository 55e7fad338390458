"""Read files that may belong to another user, replace files so that a reader sees a whole one, and lock.

Puppet's directories belong to user `puppet` in Debian, which is the user of a puppetserver. So everything
that root reads there may have been placed by an attacker: a FIFO that never answers, a link to a device that
never ends, a link that leads root's writes elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Optional

# As many links as the kernel follows in one path (path_resolution(7)).
MAX_LINKS = 40
COPIED_BYTES = 1024 * 1024  # at once

# ---- reading


def open_foreign(path: str, max_bytes: int) -> BinaryIO:
    """Open a file that may belong to another user; raises `OSError`, and never waits.

    It has to be a regular file of at most `max_bytes`, and not a link. It can still grow: read no more
    than `max_bytes` of it. O_NONBLOCK is for a FIFO, and for a lease of the owner's, which delays open(2) by
    45 s (fcntl(2), F_SETLEASE).
    """
    with open_directory(os.path.dirname(path)) as directory:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(os.path.basename(path), flags, dir_fd=directory)
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        if info.st_size > max_bytes:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_foreign(path: str, max_bytes: int) -> bytes:
    """Return the content of a file as `open_foreign` opens it; raises `OSError`."""
    with open_foreign(path, max_bytes) as file:
        return file.read(max_bytes)


@contextlib.contextmanager
def open_directory(path: str, *, for_writing: bool = False) -> Iterator[int]:
    """Yield a descriptor of a directory, reached without a link that another user has made.

    Sites do have links in these paths, such as /opt/puppetlabs to another disk. A link of root's in a
    directory of another user can have been moved there, so it is followed for reading only. What is at the
    other end of a descriptor cannot be exchanged, whatever happens to the path afterwards.
    """
    ours = (0, os.geteuid())
    names, links = [name for name in reversed(path.split("/")) if name], 0
    directory = os.open("/" if path.startswith("/") else ".", os.O_PATH | os.O_CLOEXEC)
    try:
        while names:
            child = os.open(names.pop(), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            info = os.fstat(child)
            if stat.S_ISLNK(info.st_mode):
                target = os.readlink("", dir_fd=child)
                os.close(child)
                links += 1
                parent = os.fstat(directory)
                safe = parent.st_uid in ours and not parent.st_mode & 0o022
                if links > MAX_LINKS or info.st_uid not in ours or (for_writing and not safe):
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                names += [name for name in reversed(target.split("/")) if name]
                if not target.startswith("/"):
                    continue
                child = os.open("/", os.O_PATH | os.O_CLOEXEC)
            os.close(directory)
            directory = child
        yield directory
    finally:
        os.close(directory)


# ---- writing


@contextlib.contextmanager
def replacing(path: str, temporary: str, mode: int, directory: Optional[int] = None) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of `path` when the block ends; an error leaves `path` alone.

    `temporary` is where the file is written, in the same directory. It is made anew and never through a
    symbolic link, because another user may own the directory. With a descriptor of the directory, both are
    names in it.
    """
    remove(temporary, directory)  # left by a killed writer
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode, dir_fd=directory)
    try:
        os.fchmod(descriptor, mode)  # whatever UMask= a site has given to runs
        with open(descriptor, "wb") as file:
            yield file
        os.rename(temporary, path, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        if isinstance(error, OSError) and error.filename is None:  # write(2) on a full disk names no file
            raise OSError(error.errno, error.strerror, path) from error
        raise


def write_json(path: str, fields: Mapping[str, Any], mode: int) -> None:
    """Replace a file in /run with a JSON object.

    No fsync: /run is memory, and a crash that loses the file loses the run too.
    """
    content = json.dumps(fields).encode("ascii")
    with replacing(path, f"{path}.{os.getpid()}", mode) as file:
        file.write(content)


def move_foreign(source: str, target: str, temporary: str, max_bytes: int) -> None:
    """Move a file of root's into a directory that may belong to another user; raises `OSError`.

    Every step in that directory goes through one descriptor of it, so a user who exchanges the directory
    or puts a link there meanwhile cannot lead a write elsewhere (seen with paths: in 47 of 40,202 races).
    """
    with open_directory(os.path.dirname(target), for_writing=True) as directory:
        name = os.path.basename(target)
        if os.path.dirname(source) == os.path.dirname(target):
            os.rename(os.path.basename(source), name, src_dir_fd=directory, dst_dir_fd=directory)
            return
        new = os.path.basename(temporary)
        with open_foreign(source, max_bytes) as content, replacing(name, new, 0o640, directory) as file:
            while block := content.read(COPIED_BYTES):
                file.write(block)
    os.unlink(source)


def remove(path: str, directory: Optional[int] = None) -> None:
    """Remove a file, if it is there; with a descriptor of a directory, a name in it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path, dir_fd=directory)


# ---- locks

LOCK_FLAGS = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the lock on a file of root's (flock(2)), which is made if it is not there. Raises `OSError`."""
    # Read-only: a lock that exists can be held although its file system has become read-only.
    descriptor = os.open(path, LOCK_FLAGS, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: str) -> Optional[int]:
    """Take the same lock without waiting; return its descriptor, or None if another process holds it."""
    descriptor = os.open(path, LOCK_FLAGS, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
