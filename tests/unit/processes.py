"""Real processes under chosen names, for tests of what tells a Puppet from others."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def live(directory: Path, name: str, *words: str, shown_as: str = "") -> Iterator[int]:
    """A process called `name` (its comm), with `words` among its arguments; yields its pid.

    It is a shell that waits for a line: what the kernel calls a process is the name of the file
    that was executed, be that a link.
    """
    command = directory / name
    if not command.exists():
        command.symlink_to("/bin/sh")
    arguments = [shown_as or os.fspath(command), "-c", "read line", *words]
    process = subprocess.Popen(arguments, executable=os.fspath(command), stdin=subprocess.PIPE)
    try:
        # Popen returns when the old program is gone, which is a moment before the new one's name is
        # there, and the kernel sets its arguments another moment later.
        proc = Path(f"/proc/{process.pid}")
        while (proc / "comm").read_text().strip() != name[:15] or not (proc / "cmdline").read_bytes():
            pass
        yield process.pid
    finally:
        process.communicate()


@contextlib.contextmanager
def zombie(directory: Path, name: str) -> Iterator[int]:
    """A process that has ended and that nobody has asked for; yields its pid."""
    with live(directory, name) as pid:
        os.kill(pid, 9)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        yield pid


def dead() -> int:
    """The pid of a process that is gone."""
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    return process.pid
