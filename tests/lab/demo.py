"""`tests/lab/demo start | shell [COMMAND…] | stop`: one machine that stays, to try things on.

`start` leaves a lab in the background, whose command `keep` boots the machine and waits for its end;
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
from pathlib import Path
from typing import IO, NoReturn

from . import images
from .errors import LabError
from .lab import Lab, machine_named
from .machine import Machine
from .nspawn import REBOOTED
from .tour import tour

NAME, IMAGE = "demo", "debian12"
HELD = Path("/run/puppet-twitch-lab/demo.lock")

HERE = Path(__file__).resolve().parent
STOP_TIMEOUT_S = 30

USAGE = "usage: tests/lab/demo start | shell [COMMAND…] | stop"


def main(arguments: Sequence[str]) -> int:
    """Run the command of the command line; return the exit code."""
    command, *rest = arguments or [""]
    try:
        if os.geteuid():
            raise LabError("the demo's machine needs root")
        if command == "start" and not rest:
            return start()
        if command == "stop" and not rest:
            return stop()
        if command == "shell":
            shell(rest)
        if command == "keep":
            return _keep()
        if command == "tour":
            return tour(_attached())
        if command == "enter":
            _enter(rest)
        raise LabError(USAGE)
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def start() -> int:
    """Remove the last demo, boot a new one and show the tour; return 0 if all of it worked."""
    images.built(IMAGE)
    HELD.parent.mkdir(exist_ok=True)
    with HELD.open("a+") as held:
        _end(held)
        held.truncate(0)
        print("==> Booting a Debian 12 machine with its own systemd", flush=True)
        lab = subprocess.Popen(
            (HERE / "enter", HERE / "demo", "keep"),
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
            assert lab.stdout
            line = lab.stdout.readline()  # or its end: `keep` has a limit for the boot
            if line != "up\n":
                raise LabError(f"it does not boot:\n{line}{lab.stdout.read()}")
            code = subprocess.run(_in_lab(lab.pid, "tour")).returncode
        except BaseException:
            lab.send_signal(signal.SIGTERM)
            raise
    print("\nA root shell in the machine:  make demo-shell\nRemove it:                    make demo-stop")
    return code


def stop() -> int:
    """Remove the machine, if there is one."""
    if HELD.exists():
        with HELD.open("a+") as held:
            _end(held)
            held.truncate(0)
    print("There is no demo machine now.")
    return 0


def shell(command: Sequence[str]) -> NoReturn:
    """Become a root shell in the machine, or a command there; LabError if there is no demo."""
    if HELD.exists():
        with HELD.open("a+") as held:
            if not _try_lock(held):
                argv = _in_lab(_pid(held), "enter", *command)
                os.execvp(argv[0], argv)
    raise LabError("there is no demo machine: make demo")


def _end(held: IO[str]) -> None:
    """End the lab that has the lock, if there is one, and take the lock."""
    if _try_lock(held):
        return
    deadline = time.monotonic() + STOP_TIMEOUT_S
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


def _in_lab(enter: int, *arguments: str) -> list[str]:
    """Return the command line that runs this command in the namespaces below that `enter`."""
    init = _child(_child(enter))  # below unshare: see namespaces.py
    namespaces = ("--mount", "--net", "--pid", "--ipc", "--uts")
    return ["nsenter", f"--target={init}", *namespaces, "--", f"{HERE}/demo", *arguments]


def _child(pid: int) -> int:
    """Return the only child of a process; LabError if the process has ended."""
    try:
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ValueError):
        raise LabError("the demo machine is just going away") from None
    return int(child)


# -- in the lab's namespaces --------------------------------------------------------------------


def _keep() -> int:
    """Boot the machine, print `up`, and stay until it is powered off; it may reboot."""
    with Lab() as lab:
        machine = lab.boot(NAME, image=IMAGE)
        print("up", flush=True)
        while machine.await_end() == REBOOTED:
            machine.start()
    return 0


def _enter(command: Sequence[str]) -> NoReturn:
    """Become a command in the machine, a login shell without one."""
    terminal = (f"TERM={os.environ['TERM']}",) if "TERM" in os.environ else ()
    argv = _attached().command(["env", *terminal, *(command or ("bash", "--login"))])
    os.execvp(argv[0], argv)


def _attached() -> Machine:
    machine = machine_named(NAME)
    machine.attach()
    return machine
