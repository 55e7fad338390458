"""`tests/lab/enter`: run a command in mount, pid, network, ipc and uts namespaces of its own.

Whatever the command starts, mounts or configures ends with it by the kernel's hand, be it
interrupted or killed: when the first process of a pid namespace dies, the kernel kills the others,
and the last one takes mounts and networks along. Three processes:

    enter   outside; passes signals in and the exit code out; holds and removes the control groups
    init    first in the new pid namespace; mounts, then reaps what COMMAND leaves behind
    COMMAND as it was given, with the caller's terminal and directory

`/run` is a fresh tmpfs inside: `ip netns` keeps its mounts there and nspawn its locks, and the
machines' disks live there. `/run/systemd` is not visible: this host's systemd is not the lab's.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from . import cgroups
from .errors import LabError

# Names the lab's pid namespace: how a process knows where it is.
MARK = Path("/run/puppet-twitch-lab.inside")

IN_SCOPE = "PUPPET_TWITCH_LAB_IN_SCOPE"
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

# sched.h and prctl.h; Python has unshare() from 3.12 on only.
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
PR_SET_PDEATHSIG = 1
# sigaction(2): sent by the kernel, as Ctrl-C is. The terminal's whole group has it then.
SI_KERNEL = 0x80

_libc = ctypes.CDLL(None, use_errno=True)


def inside() -> bool:
    """Whether this process runs under `tests/lab/enter`."""
    return MARK.exists() and MARK.read_text() == _pid_namespace()


def _pid_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")


def main(command: Sequence[str]) -> int:
    """Run the command in a lab; return its exit code, 128 + the signal if one ended it."""
    try:
        if not command:
            raise LabError("usage: tests/lab/enter COMMAND [ARGUMENT…]")
        if os.geteuid():
            raise LabError("namespaces and machines need root")
        if Path("/run/systemd/system").is_dir() and not os.environ.pop(IN_SCOPE, None):
            _enter_scope(command)
        with cgroups.lab() as groups:
            return _run(command, groups)
    except LabError as error:
        print(f"tests/lab/enter: {error}", file=sys.stderr)
        return 2


def _enter_scope(command: Sequence[str]) -> NoReturn:
    """Start again in a scope, where systemd has given its word not to touch our control groups.

    https://systemd.io/CGROUP_DELEGATION/: only below a unit with Delegate= others may make groups.
    """
    scope = ("systemd-run", "--scope", "--quiet", "--collect", "--property=Delegate=yes", "--")
    again = (sys.executable, str(Path(__file__).with_name("enter")), *command)
    os.execvpe(scope[0], (*scope, *again), {**os.environ, IN_SCOPE: "yes"})


def _run(command: Sequence[str], groups: list[Path]) -> int:
    # Blocked from here on and waited for instead, in both processes: no handler, no race.
    signal.pthread_sigmask(signal.SIG_BLOCK, (*PASSED_ON, signal.SIGCHLD))
    alive, outer = os.pipe()
    _check(_libc.unshare(CLONE_NEWPID), "unshare")
    init = os.fork()
    if init == 0:
        os.close(outer)
        _guard(lambda: _init(command, groups, alive))
    os.close(alive)
    return _attend(init)


def _init(command: Sequence[str], groups: list[Path], alive: int) -> int:
    """Be the first process inside: furnish the namespaces, start the command, reap."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
    if select.select([alive], [], [], 0)[0]:
        return 1  # the outer process died before the kernel was asked to tell us
    cgroups.join(groups)
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS), "unshare")
    for step in (
        ("mount", "--make-rprivate", "/"),
        ("mount", "-t", "proc", "-o", "nosuid,nodev,noexec", "proc", "/proc"),
        ("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run"),
        ("ip", "link", "set", "lo", "up"),
    ):
        done = subprocess.run(step, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise LabError(f"{' '.join(step)}: {done.stderr.strip()}")
    MARK.write_text(_pid_namespace())
    child = os.fork()
    if child == 0:
        _guard(lambda: _exec(command))
    return _attend(child)


def _exec(command: Sequence[str]) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*PASSED_ON, signal.SIGCHLD))
    # Python ignores these two for itself; a command expects them as they come.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(command[0], list(command))
    except OSError as error:
        raise LabError(f"{command[0]}: {error.strerror}") from error


def _attend(child: int) -> int:
    """Pass signals on to the child and reap, until it has ended; return its exit code."""
    while True:
        received = signal.sigwaitinfo((*PASSED_ON, signal.SIGCHLD))
        if received.si_signo != signal.SIGCHLD:
            if received.si_code != SI_KERNEL:
                os.kill(child, received.si_signo)
            continue
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if pid == 0:
                break


def _guard(body: Callable[[], int]) -> NoReturn:
    """Run a forked child's part, which must never return into its parent's."""
    code = 2
    try:
        code = body()
    except (LabError, OSError) as error:
        print(f"tests/lab/enter: {error}", file=sys.stderr)
        code = 127
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _check(result: int, call: str) -> None:
    if result < 0:
        raise LabError(f"{call}: {os.strerror(ctypes.get_errno())}")
