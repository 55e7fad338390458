"""The process that has the port. It is not a privileged port, so that process may be anybody's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from twitch.check import files, systemd
from twitch.check.findings import FAULT, Finding
from twitch.check.systemd import SOCKET

# In the output of `ss --processes`: users:(("systemd",pid=1,fd=43),("python3",pid=20,fd=3))
PROCESS = re.compile(r'\("([^"]*)",pid=(\d+),')


def check() -> Iterator[Finding]:
    """Report a listening socket on the port of puppet-twitch.socket that systemd has not opened.

    Only root can see the processes of all users.
    """
    for port in sorted(set(re.findall(r":(\d+) \(Stream\)", systemd.show(SOCKET, "Listen")))):
        sockets = systemd.output(
            ["ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes", f"sport = :{port}"]
        )
        for line in (sockets or "").splitlines():
            processes = PROCESS.findall(line)
            if processes and "1" not in [pid for _, pid in processes]:
                address = line.split()[3]
                name, pid = processes[0]
                text = (
                    f"process {pid} ({name}, user {_owner(pid)}) has opened {address}, not systemd, "
                    "so it reads tokens that are sent there"
                )
                fix = f"look at it with ps -fp {pid}; kill {pid}; systemctl restart {SOCKET}"
                yield Finding(FAULT, text, fix)


def _owner(pid: str) -> str:
    try:
        return files.owner_name(os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return "unknown"
