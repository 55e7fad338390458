"""Real processes under chosen names, for tests of how a Puppet is recognised."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

# Far beyond what any wait here takes: it only ends a wait that would have no end.
LIMIT_S = 60


def wait_until(condition: Callable[[], object], event: str) -> None:
    """Return when the condition is true; fail with the name of the event after LIMIT_S."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT_S} s: {event}"
        time.sleep(0.0005)


def exit_status(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process and return its exit status; fail after LIMIT_S."""
    return process.wait(LIMIT_S)


@contextlib.contextmanager
def live(directory: Path, name: str, *words: str, shown_as: str = "") -> Iterator[int]:
    """Yield the pid of a process called `name` (its comm), with `words` among its arguments.

    It is a shell that waits for a line. The kernel names a process after the file that was executed, even
    if that is a link.
    """
    command = directory / name
    if not command.exists():
        command.symlink_to("/bin/sh")
    arguments = [shown_as or os.fspath(command), "-c", "read line", *words]
    process = subprocess.Popen(arguments, executable=os.fspath(command), stdin=subprocess.PIPE)
    proc = Path(f"/proc/{process.pid}")
    try:
        # Popen returns when the old program is gone. The kernel sets the new name a moment later, and the
        # arguments another moment later.
        wait_until(
            lambda: (proc / "comm").read_text().strip() == name[:15] and (proc / "cmdline").read_bytes(),
            f"process {process.pid} is called {name}",
        )
        yield process.pid
    finally:
        process.communicate(timeout=LIMIT_S)


@contextlib.contextmanager
def zombie(directory: Path, name: str) -> Iterator[int]:
    """Yield the pid of a process that has ended and is not reaped yet."""
    with live(directory, name) as pid:
        os.kill(pid, 9)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        yield pid


def dead() -> int:
    """Return the pid of a process that has ended and was reaped."""
    process = subprocess.Popen(["/bin/true"])
    exit_status(process)
    return process.pid
