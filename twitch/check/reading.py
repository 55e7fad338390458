"""Whether the listener may read a file, in its unit's own view of the file system."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import subprocess
from collections.abc import Iterator

from twitch.check import files, systemd


def readable(path: str, unit: str) -> bool:
    """Return whether the listener's user may read a file, in the unit's own view of the file system."""
    account = systemd.account()
    if path.startswith(files.HIDDEN):
        return False
    if _may_read(path, "/", account):
        return True
    # Below a directory that is bound into an empty file system, the directories above it do not matter.
    return any(
        os.path.isdir(directory) and path.startswith(f"{directory}/") and _may_read(path, directory, account)
        for directory in _bound(unit)
    )


def _bound(unit: str) -> Iterator[str]:
    """Yield the directories that a unit sees at their own places, although not what is around them."""
    empty = [word.partition(":")[0] for word in systemd.show(unit, "TemporaryFileSystem").split()]
    for word in systemd.show(unit, "BindReadOnlyPaths").split():
        source, _, target = word.partition(":")
        target = target.partition(":")[0] or source
        if source == target and any(source.startswith(f"{directory}/") for directory in empty):
            yield source


def _may_read(path: str, below: str, account: systemd.Account) -> bool:
    """Return whether the user may read a file, if it may enter the directory `below`."""
    command = ["test", "-r", os.path.relpath(path, below)]
    try:
        # As the kernel decides it, access control lists included; chdir comes before the change of user.
        done = subprocess.run(
            command, cwd=below, user=account.user, group=account.group, extra_groups=[], check=False
        )
    except (OSError, LookupError, ValueError):
        return False
    return done.returncode == 0


def fix(path: str, unit: str, otherwise: str) -> tuple[str, bool]:
    """Return the fix for a public file that `readable` refuses, and whether it is by hand.

    `otherwise` is for a file that is not there, or that no mode makes readable: the sandbox hides it, or it
    is in Debian's /var/lib/puppet, which Puppet closes again.
    """
    closed = _closed(path, unit)
    if not os.path.exists(path) or path.startswith(files.HIDDEN) or "/var/lib/puppet" in closed or not closed:
        return otherwise, True
    # Not `o+r` for a directory: other users need not see which files it has.
    modes = (("o+x" if os.path.isdir(name) else "o+r", shlex.quote(name)) for name in closed)
    return "; ".join(f"chmod {mode} {name}" for mode, name in modes), False


def _closed(path: str, unit: str) -> list[str]:
    """Return the file, and the directories above it in the view of the unit, if others may not use them."""
    top = next((directory for directory in _bound(unit) if path.startswith(f"{directory}/")), "/")
    closed: list[str] = []
    while len(path) >= len(top) and path != "/":
        with contextlib.suppress(OSError):
            mode = os.stat(path).st_mode
            if not mode & (0o001 if stat.S_ISDIR(mode) else 0o004):
                closed.insert(0, path)
        path = os.path.dirname(path)
    return closed
