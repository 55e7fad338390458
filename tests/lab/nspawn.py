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
    """How a process of the lab enters a booted machine."""

    leader: int
    """The machine's PID 1, as the lab's pid namespace counts it."""
    group: str
    """The control group of its nspawn."""

    def command(self, argv: Sequence[str], environment: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` inside, with this environment alone."""
        # Below the machine's root group, as a login would be: journald and systemd in the machine
        # then see a process of the machine, in a group of no unit.
        group = Path(self.group) / "payload" / "lab"
        group.mkdir(exist_ok=True)
        inside = ["nsenter", f"--target={self.leader}", "--all", "--", "env", "-i", *environment]
        # nsenter waits outside for its child in the machine, which must end when nsenter is killed.
        inside += ["setpriv", "--pdeathsig=KILL", "--"]
        return _enter_group(group, [*inside, *argv])

    def save(self, path: Path) -> None:
        """Save this for other processes."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Entrance:
        """Read what `save` wrote; LabError where no machine was booted."""
        try:
            saved = json.loads(path.read_text())
        except FileNotFoundError:
            raise LabError(f"no machine is up: there is no {path}") from None
        return cls(**saved)


class Boot:
    """A running nspawn in a control group of its own.

    `own` is the machine's directory in the lab: `root` is the mounted disk, `console` the output of
    nspawn, and `entrance` is for other processes, once the machine is up.
    """

    def __init__(self, name: str, own: Path) -> None:
        self.name = name
        self.own = own
        self._leader = 0
        self._group = cgroups.own() / name
        self._group.mkdir(exist_ok=True)
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = own / "notify"
        address.unlink(missing_ok=True)
        self._notified.bind(os.fspath(address))
        with (own / "console").open("ab") as output:
            self.process = subprocess.Popen(
                _enter_group(self._group, _nspawn(name, own / "root")),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": os.fspath(address)},
            )

    def await_ready(self, timeout_s: float) -> Entrance:
        """Wait until the machine's systemd reports that it is up; LabError has the console if it does not."""
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = deadline - time.monotonic()
            # In short steps, to notice an nspawn that ended without a message.
            if select.select([self._notified], [], [], max(0, min(left_s, 0.1)))[0]:
                if self._is_ready(self._notified.recv(4096).decode()):
                    break
            elif self.process.poll() is not None:
                raise LabError(f"{self.name}: nspawn exited {self.process.returncode}{self._console()}")
            elif left_s <= 0:
                raise LabError(f"{self.name} is not up after {timeout_s:g} s{self._console()}")
        # systemd sends more messages later, and PID 1 would block if nobody read them.
        self._notified.close()
        entrance = Entrance(self._leader, os.fspath(self._group))
        entrance.save(self.own / "entrance")
        return entrance

    def await_end(self, timeout_s: float | None) -> int:
        """Wait until the machine is down, remove its group, return nspawn's exit status."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} is not down after {timeout_s:g} s{self._console()}") from None
        (self.own / "entrance").unlink(missing_ok=True)
        cgroups.remove(self._group)
        return code

    def _is_ready(self, message: str) -> bool:
        fields = dict(line.partition("=")[::2] for line in message.splitlines())
        if "X_NSPAWN_LEADER_PID" in fields:
            self._leader = int(fields["X_NSPAWN_LEADER_PID"])
        return fields.get("READY") == "1"

    def _console(self) -> str:
        lines = (self.own / "console").read_text(errors="replace").splitlines()
        return "; its console:\n" + "\n".join(lines[-60:])


def _nspawn(name: str, root: Path) -> list[str]:
    return [
        *("systemd-nspawn", "--quiet", f"--machine={name}", f"--directory={root}", "--boot"),
        # There is no machined, and the group is our own instead of a unit's.
        *("--register=no", "--keep-unit"),
        *(f"--network-namespace-path=/run/netns/{name}", "--capability=CAP_NET_ADMIN"),
        # READY=1 when the machine's systemd is up, not when it was started.
        *("--notify-ready=yes", "--console=pipe"),
        # Nothing of this host is visible in the machine.
        *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
    ]


def _enter_group(group: Path, argv: Sequence[str]) -> list[str]:
    """Return a command line that moves itself into this group and becomes `argv`."""
    # The process moves itself before it execs, so that no child of it can be elsewhere. Repeated, because
    # systemd inside may remove an empty group that is no unit's: after daemon-reexec at any time. Usually no
    # process is started for it: a test session enters its machines tens of thousands of times.
    enter = f'enter() {{ echo 0 >"{group}/cgroup.procs"; }}; n=0'
    again = f'mkdir -p "{group}" 2>/dev/null; n=$((n + 1)); test $n -le 200 || {{ enter; exit 1; }}'
    script = f'{enter}; until enter 2>/dev/null; do {again}; done; exec "$@"'
    return ["/bin/sh", "-c", script, "lab", *argv]
