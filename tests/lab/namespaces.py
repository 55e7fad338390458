"""`tests/lab/enter`: run a command in mount, pid, network, ipc and uts namespaces of its own.

Four processes, each the parent of the next:

    enter    outside; stays to remove the lab's control group at the end
    unshare  makes the namespaces
    sh       the first process in the pid namespace; mounts, then reaps what COMMAND leaves behind
    COMMAND  as it was given, with the caller's terminal and directory

When one of the first three dies, be it killed, the kernel kills the next one, and with `sh`
everything in its pid namespace; the last process takes mounts and networks along. Ctrl-C is sent to
the whole group by the terminal, COMMAND included; `enter` waits for what COMMAND makes of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import cgroups
from .errors import LabError

# Only the lab's own /run has it: how a process knows where it is.
MARK = Path("/run/puppet-twitch-lab.inside")

IN_SCOPE = "PUPPET_TWITCH_LAB_IN_SCOPE"

UNSHARE = (
    # This sets what the kernel sends to unshare when `enter` dies; --kill-child does so for its child.
    *("setpriv", "--pdeathsig=KILL", "--"),
    *("unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"),
)
# /run is a fresh tmpfs: `ip netns` keeps its mounts there and nspawn its locks, the machines' disks
# are there, and this host's systemd is not visible. nspawn and Debian 11 and later are made for
# cgroup2 at /sys/fs/cgroup, where a hybrid host has version 1.
SETUP = f"""\
set -e
tree=$1
shift
test "$tree" = /sys/fs/cgroup || mount --bind "$tree" /sys/fs/cgroup
mount -t tmpfs -o mode=0755 tmpfs /run
ip link set lo up
touch {MARK}
set +e
"$@"
exit $?
"""


def inside() -> bool:
    """Whether this process runs under `tests/lab/enter`."""
    return MARK.exists()


def main(command: Sequence[str]) -> int:
    """Run the command in a lab; return its exit status, 128 + the signal if one ended it."""
    try:
        if not command:
            raise LabError("usage: tests/lab/enter COMMAND [ARGUMENT…]")
        if os.geteuid():
            raise LabError("namespaces and machines need root")
        if Path("/run/systemd/system").is_dir() and not os.environ.pop(IN_SCOPE, None):
            _enter_scope(command)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: sys.exit(128 + number))
        signal.signal(signal.SIGINT, lambda *_: None)
        with cgroups.lab():
            return _run(command)
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


def _run(command: Sequence[str]) -> int:
    argv = (*UNSHARE, "sh", "-c", SETUP, "sh", os.fspath(cgroups.tree()), *command)
    # An open file of the caller's stays open: the demo's lock is held by every process of its lab.
    lab = subprocess.Popen(argv, close_fds=False)
    try:
        code = lab.wait()
    finally:
        lab.kill()
        lab.wait()
    return code if code >= 0 else 128 - code
