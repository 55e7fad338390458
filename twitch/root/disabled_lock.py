"""Write Puppet's lock file that disables the agent, beside other tools that write and remove it at any time.

`puppet agent --disable` makes the file exclusively, so it may be seen empty; `--enable` removes it; Choria
renames a file to it. None of them knows a lock of its own on the file. So each step here succeeds only if the
file is still the one that was read, and otherwise leaves it to the other tool.

The directory belongs to user puppet in Debian. Everything goes through one descriptor of it, new files have
names that nobody can guess, and no link is followed.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple, Optional

from twitch.errors import TwitchError
from twitch.root import files
from twitch.root.puppet_locks import MAX_LOCK_BYTES

KINDS = {
    stat.S_IFDIR: "is a directory",
    stat.S_IFLNK: "is a symbolic link",
    stat.S_IFIFO: "is a FIFO",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}
# Puppet has about ten files beside the lock; user puppet may have made any number.
MAX_ENTRIES = 1000
# renameat2(2): exchange the two files. Of Linux 3.15 and glibc 2.28.
RENAME_EXCHANGE = 2


class NotALock(TwitchError):
    """There is something in the place of the lock that no tool can have written; the text says what."""


class Found(NamedTuple):
    """The lock file as it was read."""

    content: bytes
    written: float  # epoch seconds
    identity: tuple[int, ...]


class LockFile:
    """The lock file, and the directory that it is in."""

    def __init__(self, path: str, directory: int) -> None:
        self._path = path
        self._name = os.path.basename(path)
        self._directory = directory

    def read(self) -> Optional[Found]:
        """Return the file; None if there is none. Raises `NotALock` and `OSError`."""
        try:
            self._refuse(os.stat(self._name, dir_fd=self._directory, follow_symlinks=False))
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            descriptor = os.open(self._name, flags, dir_fd=self._directory)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:
            info = os.fstat(descriptor)
            self._refuse(info)
            return Found(file.read(MAX_LOCK_BYTES), info.st_mtime, _identity(info))

    def create(self, content: bytes) -> bool:
        """Make the file, whole from its first moment; return False if another tool was first."""
        with self._new(content) as temporary:
            try:
                self._link(temporary, self._name)
            except FileExistsError:
                return False
        self._sync()
        return True

    def replace(self, found: Found, content: bytes) -> bool:
        """Replace the file; return False if it is not the one that was read."""
        with self._new(content) as temporary:
            if not self._is(self._name, found):
                return False
            try:
                _exchange(temporary, self._name, self._directory)
            except FileNotFoundError:
                return False  # `puppet agent --enable`, in between
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.EINVAL):
                    raise
                # A file system that cannot exchange: what another tool does in this instant is lost.
                os.rename(temporary, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
                return True
            if not self._is(temporary, found):
                # `--enable` and `--disable`, in between: their lock goes back. If it was removed meanwhile,
                # that is the last word.
                with contextlib.suppress(FileNotFoundError):
                    _exchange(temporary, self._name, self._directory)
                return False
        self._sync()
        return True

    def remove(self, found: Found) -> bool:
        """Remove the file; return False if it is not the one that was read."""
        if not self._is(self._name, found):
            return False
        aside = self._unguessable()
        try:
            os.rename(self._name, aside, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except FileNotFoundError:
            return False
        try:
            if not self._is(aside, found):  # another tool's, by now: it goes back
                with contextlib.suppress(FileExistsError):
                    self._link(aside, self._name)
                return False
        finally:
            files.remove(aside, self._directory)
        self._sync()
        return True

    # ---- steps

    def _refuse(self, info: os.stat_result) -> None:
        kind = KINDS.get(stat.S_IFMT(info.st_mode))
        if kind is None and info.st_size > MAX_LOCK_BYTES:
            kind = f"has more than {MAX_LOCK_BYTES} bytes"
        if kind:
            fix = f"look at it, then remove it: rm {'-r ' if stat.S_ISDIR(info.st_mode) else ''}{self._path}"
            raise NotALock(f"{self._path} {kind}, and not a lock of Puppet; {fix}")

    @contextlib.contextmanager
    def _new(self, content: bytes) -> Iterator[str]:
        """Yield the name of a new file with this content, which is on the disk. Its name goes at the end."""
        self._remove_strays()
        temporary = self._unguessable()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(temporary, flags, 0o600, dir_fd=self._directory)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from error
        try:
            try:
                with open(descriptor, "wb") as file:
                    os.fchmod(descriptor, 0o644)  # as Puppet's own, whatever the umask
                    file.write(content)
                    file.flush()
                    os.fsync(descriptor)
            except OSError as error:  # a full disk
                raise OSError(error.errno, error.strerror, self._path) from error
            yield temporary
        finally:
            files.remove(temporary, self._directory)

    def _unguessable(self) -> str:
        return f"{self._stray_prefix}{os.urandom(8).hex()}"

    @property
    def _stray_prefix(self) -> str:
        return f".{self._name}.puppet-twitch-"

    def _remove_strays(self) -> None:
        """Remove what a killed writer has left; the caller is the only writer (Store.disabling)."""
        with contextlib.suppress(OSError):
            descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._directory)
            try:
                with os.scandir(descriptor) as entries:
                    names = [entry.name for entry in itertools.islice(entries, MAX_ENTRIES)]
            finally:
                os.close(descriptor)
            for name in names:
                if name.startswith(self._stray_prefix):
                    with contextlib.suppress(OSError):
                        os.unlink(name, dir_fd=self._directory)

    def _link(self, source: str, target: str) -> None:
        directory = self._directory
        os.link(source, target, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)

    def _is(self, name: str, found: Found) -> bool:
        try:
            info = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return _identity(info) == found.identity

    def _sync(self) -> None:
        """Wait until the directory is on the disk. The file is in its place, so an error is none of ours."""
        with contextlib.suppress(OSError):
            descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._directory)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def opened(path: str) -> Iterator[LockFile]:
    """Yield the lock file of this path; raises `OSError` or `TwitchError` without its directory."""
    try:
        with contextlib.ExitStack() as held:
            directory = held.enter_context(files.open_directory(os.path.dirname(path), for_writing=True))
            held = held.pop_all()
    except FileNotFoundError as error:
        missing = f"{os.path.dirname(path)} does not exist, because Puppet has never run on this node"
        raise TwitchError(f"{missing}; puppet agent --disable makes it, and disables Puppet") from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.path.dirname(path)) from error
    with held:
        yield LockFile(path, directory)


def _identity(info: os.stat_result) -> tuple[int, ...]:
    return (info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size)


def _exchange(one: str, other: str, directory: int) -> None:
    """Exchange two files in one step; raises `OSError`, with ENOSYS or EINVAL where that is not possible."""
    import ctypes  # 6 ms, for a hold that joins others or ends before them

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError as error:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    if renameat2(directory, os.fsencode(one), directory, os.fsencode(other), RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
