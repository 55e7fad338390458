"""`listen` from root's terminal: the listener's user cannot type into root's shell, or read its keys."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]

# As `listen` does when root starts it, up to the point where the listener's user could parse a request.
ATTACK = """\
import fcntl, os, sys, termios
sys.path.insert(0, sys.argv[1])
from twitch.listener import activation
activation.USER = "nobody"
activation.leave_root()

def attempt(name, call):
    try:
        call()
    except OSError as error:
        print(name, error.strerror)
    else:
        print(name, "worked")

def type_a_key(descriptor):
    fcntl.ioctl(descriptor, termios.TIOCSTI, b"x")

attempt("open", lambda: os.open("/dev/tty", os.O_RDWR))
attempt("reopen", lambda: os.open("/proc/self/fd/1", os.O_RDWR))
attempt("take", lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0))
for descriptor in (0, 1, 2, 7):
    attempt(f"type {descriptor}", lambda: type_a_key(descriptor))
    attempt(f"read {descriptor}", lambda: os.read(descriptor, 0))
print("uid", os.getuid(), flush=True)
"""


def run(directory: Path, shell: str) -> str:
    """Return what a command of a shell prints to a new terminal, in a session of its own."""
    script = directory / "attack.py"
    script.write_text(ATTACK)
    pid, terminal = pty.fork()
    if pid == 0:
        command = f"{sys.executable} -I {script} {REPOSITORY}"
        os.execv("/bin/sh", ["sh", "-c", shell.format(command=command)])
    output = b"".join(_chunks(terminal))
    assert os.waitpid(pid, 0)[1] == 0, output
    return output.decode()


def _chunks(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # EIO: the last process has closed the terminal
            return
        if not chunk:
            return
        yield chunk


def test_the_listener_cannot_type_into_the_terminal(tmp_path: Path, root: None) -> None:
    lines = run(tmp_path, "{command} 7<>/dev/tty; true").replace("\r\n", "\n").splitlines()
    assert lines[-1].startswith("uid ")
    assert lines[-1] != "uid 0"
    worked = [line.rpartition(" ")[0] for line in lines[:-1] if line.endswith(" worked")]
    assert worked == ["read 0", "read 7"]  # /dev/null now
    assert len(lines) == 12
