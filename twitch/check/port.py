"""The process that has the port. It is not a privileged port, so that process may be anybody's."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from twitch.check import files, systemd
from twitch.check.findings import FAULT, Finding
from twitch.check.systemd import SOCKET
from twitch.root import unit

# In the output of `ss --extended`. Not `--processes`: a process chooses its own name, which can look like the
# rest of such a line, and would aim the command of the fix at another process.
INODE = re.compile(r"\bino:(\d+)\b")
PROC = "/proc"


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
        its_unit = systemd.unit_of(opener.pid)
        text += f"; it is in {its_unit}" if its_unit else ""
        yield Finding(FAULT, text, f"{systemd.end_command(opener.pid)}; systemctl restart {SOCKET}")


def openers() -> Iterator[Opener]:
    """Yield the processes other than systemd that listen on the port of puppet-twitch.socket."""
    for port in sorted(set(re.findall(r":(\d+) \(Stream\)", systemd.show(SOCKET, "Listen")))):
        sockets = systemd.output(
            ["ss", "--no-header", "--listening", "--tcp", "--numeric", "--extended", f"sport = :{port}"]
        )
        for line in (sockets or "").splitlines():
            inode = INODE.search(line)
            holders = _holders(inode[1]) if inode else []
            processes = [Opener(line.split()[3], pid, unit.process_name(pid) or "unknown") for pid in holders]
            if processes and 1 not in [process.pid for process in processes]:
                # A server with workers: its main process would start others.
                yield next((one for one in processes if systemd.is_main(one.pid)), processes[0])


def _holders(inode: str) -> list[int]:
    """Return the processes that have a socket open."""
    holders = []
    for pid in sorted(int(name) for name in os.listdir(PROC) if name.isdigit()):
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            links = (os.readlink(f"{PROC}/{pid}/fd/{number}") for number in os.listdir(f"{PROC}/{pid}/fd"))
            if f"socket:[{inode}]" in links:
                holders.append(pid)
    return holders


def _owner(pid: int) -> str:
    try:
        return files.owner_name(os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return "unknown"
