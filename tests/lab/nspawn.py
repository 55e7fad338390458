"""One boot of a machine: the systemd-nspawn process from its start to its end."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from . import cgroups
from .errors import LabError

# nspawn(1), --keep-unit: what a reboot from inside looks like, RestartForceExitStatus=133.
REBOOTED = 133


@dataclass(frozen=True)
class Entrance:
    """All it takes to enter a booted machine, for any process in the lab's namespaces."""

    leader: int
    """The machine's PID 1, as the lab's pid namespace counts it."""
    groups: tuple[str, ...]
    """Its control group in each tree."""

    def command(self, argv: Sequence[str], environment: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` inside, with this environment alone."""
        # Below the machine's root group, as a login would be: journald and systemd inside then
        # see a process of theirs, in a group that is no unit's.
        groups = [Path(group) / "payload" / "lab" for group in self.groups]
        for group in groups:
            group.mkdir(exist_ok=True)
        inside = ["nsenter", f"--target={self.leader}", "--all", "--", "env", "-i", *environment]
        # nsenter waits outside for a child inside, and would leave it there when it is killed.
        inside += ["setpriv", "--pdeathsig=KILL", "--"]
        return _enter_groups(groups, [*inside, *argv])

    def save(self, path: Path) -> None:
        """Write this down for other processes."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Entrance:
        """Read what `save` wrote; LabError where no machine was booted."""
        try:
            saved = json.loads(path.read_text())
        except FileNotFoundError:
            raise LabError(f"no machine is up: there is no {path}") from None
        return cls(saved["leader"], tuple(saved["groups"]))


class Boot:
    """A running nspawn with its control group, once it is up with its entrance.

    `own` is the machine's directory in the lab: `root` is the mounted disk; `console`, what nspawn
    prints, and `entrance`, for others to find, are written here.
    """

    def __init__(self, name: str, own: Path) -> None:
        self.name = name
        self.own = own
        self._leader = 0
        self._groups = cgroups.create(name)
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = own / "notify"
        address.unlink(missing_ok=True)
        self._notified.bind(os.fspath(address))
        with (own / "console").open("ab") as output:
            self.process = subprocess.Popen(
                _enter_groups(self._groups, _nspawn(name, own / "root")),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    "PATH": os.environ["PATH"],
                    # Debian 11 and later are made for cgroup2; a hybrid host would offer both.
                    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                    "NOTIFY_SOCKET": os.fspath(address),
                },
            )

    def await_ready(self, timeout_s: float) -> Entrance:
        """Wait until systemd inside says that it is up; LabError shows the console if not."""
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = deadline - time.monotonic()
            # In short steps, to see an nspawn that gave up before it could say anything.
            if select.select([self._notified], [], [], max(0, min(left_s, 0.1)))[0]:
                if self._heard(self._notified.recv(4096).decode()):
                    break
            elif self.process.poll() is not None:
                raise LabError(f"{self.name}: nspawn exited {self.process.returncode}{self._said()}")
            elif left_s <= 0:
                raise LabError(f"{self.name} is not up after {timeout_s:g} s{self._said()}")
        # systemd inside tells on, and PID 1 would stop for a reader who does not read.
        self._notified.close()
        entrance = Entrance(self._leader, tuple(map(os.fspath, self._groups)))
        entrance.save(self.own / "entrance")
        return entrance

    def await_end(self, timeout_s: float | None) -> int:
        """Wait until the machine is down, clear its groups away, return nspawn's exit code."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} is not down after {timeout_s:g} s{self._said()}") from None
        (self.own / "entrance").unlink(missing_ok=True)
        cgroups.remove(self._groups)
        return code

    def _heard(self, message: str) -> bool:
        fields = dict(line.partition("=")[::2] for line in message.splitlines())
        if "X_NSPAWN_LEADER_PID" in fields:
            self._leader = int(fields["X_NSPAWN_LEADER_PID"])
        return fields.get("READY") == "1"

    def _said(self) -> str:
        lines = (self.own / "console").read_text(errors="replace").splitlines()
        return "; its console:\n" + "\n".join(lines[-60:])


def _nspawn(name: str, root: Path) -> list[str]:
    return [
        *("systemd-nspawn", "--quiet", f"--machine={name}", f"--directory={root}", "--boot"),
        # No machined in the lab, and our own group instead of a unit.
        *("--register=no", "--keep-unit"),
        *(f"--network-namespace-path=/run/netns/{name}", "--capability=CAP_NET_ADMIN"),
        # READY=1 when systemd inside is up, not when it was started.
        *("--notify-ready=yes", "--console=pipe"),
        # Nothing of this host's shows inside.
        *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
    ]


def _enter_groups(groups: Sequence[Path], argv: Sequence[str]) -> list[str]:
    """Return a command line that moves itself into these groups and becomes `argv`."""
    # A process does this itself, and then execs, so that no child of it can be elsewhere.
    moves = "".join(f'echo 0 >"{group}/cgroup.procs" && ' for group in groups)
    return ["/bin/sh", "-c", f'{moves}exec "$@"', "lab", *argv]
