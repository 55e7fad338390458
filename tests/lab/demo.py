"""`tests/lab/demo [fleet] start | shell [COMMAND…] | stop`: machines that stay, to try things on.

`start` leaves a lab in the background, whose command `keep` boots the machines and waits for their end;
`tour` and `enter` are run in that lab's namespaces. A demo exists while a file is locked: the kernel
releases the lock with the last process of the lab, and the file holds the pid of its `enter`.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

from . import images
from .demos import FLEET, ONE, Demo
from .errors import LabError

HERE = Path(__file__).resolve().parent
STOP_TIMEOUT_S = 120

USAGE = "usage: tests/lab/demo [fleet] start | shell [COMMAND…] | stop"


def main(arguments: Sequence[str]) -> int:
    """Run the command of the command line; return the exit status."""
    demo, words = (FLEET, arguments[1:]) if arguments[:1] == ["fleet"] else (ONE, arguments)
    command, *rest = words or [""]
    try:
        if os.geteuid():
            raise LabError("the demo's machines need root")
        if command == "start" and not rest:
            return start(demo)
        if command == "stop" and not rest:
            return stop(demo)
        if command == "shell":
            shell(demo, rest)
        if command == "keep":
            return demo.keep()
        if command == "tour":
            return demo.tour()
        if command == "enter":
            argv = demo.entrance(rest)
            os.execvp(argv[0], argv)
        raise LabError(USAGE)
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def start(demo: Demo) -> int:
    """Remove the last demo, boot a new one and show the tour; return 0 if all of it worked."""
    for image in demo.images:
        images.built(image)
    lock = _lock(demo)
    lock.parent.mkdir(exist_ok=True)
    with lock.open("a+") as held:
        _end(held)
        held.truncate(0)
        lab = subprocess.Popen(
            (HERE / "enter", HERE / "demo", *demo.words, "keep"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Ctrl-C must not reach the lab. Its processes inherit the lock.
            start_new_session=True,
            pass_fds=(held.fileno(),),
        )
        held.write(str(lab.pid))
        held.flush()
        try:
            _await_up(lab)
            code = subprocess.run(_in_lab(demo, lab.pid, "tour")).returncode
        except BaseException:
            lab.send_signal(signal.SIGTERM)
            raise
    print(f"\n{demo.hint}")
    return code


def stop(demo: Demo) -> int:
    """Remove the machines, if there are any."""
    lock = _lock(demo)
    if lock.exists():
        with lock.open("a+") as held:
            _end(held)
            held.truncate(0)
    print("There is no demo machine now.")
    return 0


def shell(demo: Demo, command: Sequence[str]) -> NoReturn:
    """Become a shell in a machine, or a command there; LabError if there is no demo."""
    lock = _lock(demo)
    if lock.exists():
        with lock.open("a+") as held:
            if not _try_lock(held):
                argv = _in_lab(demo, _pid(held), "enter", *command)
                os.execvp(argv[0], argv)
    raise LabError(f"there is no demo machine: make {demo.name}")


def _lock(demo: Demo) -> Path:
    return Path(f"/run/puppet-twitch-lab/{demo.name}.lock")


def _await_up(lab: subprocess.Popen[str]) -> None:
    """Print the steps of `keep` until the machines are up; LabError has its output if they do not boot."""
    assert lab.stdout
    while True:
        line = lab.stdout.readline()  # or its end: `keep` has a limit for each step
        if line == "up\n":
            return
        if not line.startswith("==> "):
            raise LabError(f"it does not boot:\n{line}{lab.stdout.read()}")
        print(line, end="", flush=True)


def _end(held: IO[str]) -> None:
    """End the lab that has the lock, if there is one, and take the lock."""
    if _try_lock(held):
        return
    deadline = time.monotonic() + STOP_TIMEOUT_S
    with suppress(ProcessLookupError):  # it has ended meanwhile
        os.kill(_pid(held), signal.SIGTERM)
    while not _try_lock(held):
        if time.monotonic() > deadline:
            raise LabError(f"the demo, process {_pid(held)}, does not end")
        time.sleep(0.02)


def _try_lock(held: IO[str]) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid(held: IO[str]) -> int:
    """Return the pid of the `enter` whose lab holds the lock."""
    held.seek(0)
    text = held.read()
    if not text:
        raise LabError("another `demo start` has just begun")
    return int(text)


def _in_lab(demo: Demo, enter: int, *arguments: str) -> list[str]:
    """Return the command line that runs this command in the namespaces below that `enter`."""
    init = _child(_child(enter))  # below unshare: see namespaces.py
    namespaces = ("--mount", "--net", "--pid", "--ipc", "--uts")
    return ["nsenter", f"--target={init}", *namespaces, "--", f"{HERE}/demo", *demo.words, *arguments]


def _child(pid: int) -> int:
    """Return the only child of a process; LabError if the process has ended."""
    try:
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ValueError):
        raise LabError("the demo machine is just going away") from None
    return int(child)
