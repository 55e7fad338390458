"""The process that has the port. It is not a privileged port, so that process may be anybody's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from twitch.check import files, systemd
from twitch.check.findings import FAULT, Finding
from twitch.check.systemd import SOCKET

# In the output of `ss --processes`: users:(("systemd",pid=1,fd=43),("python3",pid=20,fd=3))
PROCESS = re.compile(r'\("([^"]*)",pid=(\d+),')


class Opener(NamedTuple):
    """A process other than systemd that listens on the port."""

    address: str
    pid: int
    name: str


def check() -> Iterator[Finding]:
    """Report a listening socket on the port of puppet-twitch.socket that systemd has not opened.

    Only root can see the processes of all users.
    """
    for opener in openers():
        text = (
            f"process {opener.pid} ({opener.name}, user {_owner(opener.pid)}) has opened {opener.address}, "
            "not systemd, so it reads tokens that are sent there"
        )
        unit = systemd.unit_of(opener.pid)
        text += f"; it is in {unit}" if unit else ""
        yield Finding(FAULT, text, f"{systemd.end_command(opener.pid)}; systemctl restart {SOCKET}")


def openers() -> Iterator[Opener]:
    """Yield the processes other than systemd that listen on the port of puppet-twitch.socket."""
    for port in sorted(set(re.findall(r":(\d+) \(Stream\)", systemd.show(SOCKET, "Listen")))):
        sockets = systemd.output(
            ["ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes", f"sport = :{port}"]
        )
        for line in (sockets or "").splitlines():
            processes = [Opener(line.split()[3], int(pid), name) for name, pid in PROCESS.findall(line)]
            if processes and 1 not in [process.pid for process in processes]:
                # A server with workers: its main process would start others.
                yield next((one for one in processes if systemd.is_main(one.pid)), processes[0])


def _owner(pid: int) -> str:
    try:
        return files.owner_name(os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return "unknown"
