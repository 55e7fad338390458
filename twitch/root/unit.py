"""The unit of a run: its name, the status that systemctl shows, its log level, and the processes in it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Optional

from twitch import sd_notify
from twitch.records import Left
from twitch.root.process import start_time
from twitch.texts import one_line

CGROUP = "/proc/{}/cgroup"
COMM = "/proc/{}/comm"
# Where systemd mounts its hierarchy of control groups: alone, and beside those of version 1.
CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
# Where systemd tells journald about units, in links: the highest level of each unit that has LogLevelMax=,
# and the invocation id of each unit that is not inactive (seen with 252 and 257).
LINKS = "/run/systemd/units"
LOG_LEVELS = f"{LINKS}/log-level-max:"
INVOCATION = "invocation:"

# More would fill a record, and nobody reads them.
MAX_LEFT = 20


def name(pid: Optional[int] = None) -> Optional[str]:
    """Return the unit of a process (of this one by default) if it is a service, or None."""
    unit = os.path.basename(cgroup(pid))
    return unit if unit.endswith(".service") else None


def log_every_line() -> None:
    """Lift the level from which on journald drops lines of this unit; call it before the first line.

    `LogLevelMax=notice` keeps systemd's own lines about the unit out of the journal. But Puppet's lines of
    the level info and debug belong there, if a site has asked for them. The option has one value for both.
    So root removes the link by which journald knows of it; systemd itself has the value in its memory. If
    another version of systemd does without the link, those lines of Puppet are missing, and nothing else.
    """
    unit = name()
    if unit:
        with contextlib.suppress(OSError):
            os.unlink(LOG_LEVELS + unit)


def has_unit(run: str) -> bool:
    """Return whether the unit of a run has not ended: its Puppet is under way, or its ExecStopPost= is."""
    with contextlib.suppress(OSError):
        for link in os.listdir(LINKS):
            with contextlib.suppress(OSError):
                if link.startswith(INVOCATION) and os.readlink(os.path.join(LINKS, link)) == run:
                    return True
    return False


def tell(status: str) -> None:
    """Set the line `Status:` of `systemctl status` (sd_notify(3)), without waiting for a busy systemd."""
    with contextlib.suppress(OSError):
        sd_notify.notify(f"STATUS={status}", socket.MSG_DONTWAIT)


def left_running() -> tuple[Left, ...]:
    """Return the other processes of this unit, the oldest first: the run has started them and not ended them.

    `KillMode=process` leaves them alone when a run is stopped, because a package manager must not be killed.
    """
    processes = []
    for pid in _processes():
        start = start_time(pid)
        if pid == os.getpid() or start is None:
            continue
        comm = process_name(pid)
        if comm is not None:
            processes.append(Left(comm, pid, age_s(start)))
    return tuple(sorted(processes, key=lambda process: (-process.age_s, process.pid))[:MAX_LEFT])


def age_s(start: int) -> int:
    """Return the age of a process in whole seconds; `start` is in clock ticks since boot."""
    return max(0, int(time.clock_gettime(time.CLOCK_BOOTTIME) - start / os.sysconf("SC_CLK_TCK")))


def process_name(pid: int) -> Optional[str]:
    """Return the name of a process on one line, because a process chooses its own; None if it has ended."""
    try:
        with open(COMM.format(pid), "rb") as file:
            return one_line(file.read().decode("utf-8", "replace").rstrip("\n"))
    except OSError:
        return None


def cgroup(pid: Optional[int] = None) -> str:
    """Return the control group of a process (of this one by default): /system.slice/NAME.service, for
    instance; '' if there is none or it cannot be read."""
    try:
        with open(CGROUP.format(pid or "self"), encoding="utf-8", errors="replace") as file:
            lines = [line.split(":", 2) for line in file.read().splitlines()]
    except OSError:
        return ""
    # cgroups(7): `0::PATH` is version 2, `N:name=systemd:PATH` the hierarchy of systemd in version 1.
    paths = {hierarchy: path for _, hierarchy, path in lines}
    return next((paths[name] for name in ("", "name=systemd") if paths.get(name, "/") != "/"), "")


def _processes() -> list[int]:
    if name():
        for top in CGROUPS:
            path = f"{top}{cgroup()}/cgroup.procs"
            with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
                return [int(line) for line in file]
    return []
