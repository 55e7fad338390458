"""A machine, and what tests do with it: commands, files, the journal, reboots."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from . import curl, network
from .errors import LabError
from .nspawn import REBOOTED, Boot, Entrance

BOOT_TIMEOUT_S = 120
STOP_TIMEOUT_S = 120
# For any condition. A run of Puppet is 2 s of CPU time, for which a busy machine may need a minute.
WAIT_S = 120

# The environment of a root login on Debian; nothing of the caller's.
ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "HOME=/root",
)

# Between two looks at a condition; later a tenth of the time that has passed, because the processes of a look
# compete with the run that a test waits for.
POLL_S, LONGEST_POLL_S = 0.05, 0.25

Completed = subprocess.CompletedProcess[str]
T = TypeVar("T")


class Machine:
    """One machine; made by `Lab.boot`."""

    def __init__(self, name: str, number: int, own: Path) -> None:
        self.name = name
        self.own = own
        """Its directory in the lab."""
        self.root = own / "root"
        """Its whole file system, seen from the lab: for big copies, and while it is off."""
        self.address, self.address6 = network.addresses(number)
        self.netns = network.Netns(name, (self.address, self.address6))
        """Its network, for tools of this host; its loopback is inside as well."""
        self.changes = 0
        """A number that differs after each command and each copied file."""
        self._boot: Boot | None = None
        self._entrance: Entrance | None = None

    # -- power ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Boot; return when systemd says `running`. LabError lists failed units, or the console."""
        self._boot = Boot(self.name, self.own)
        self._entrance = self._boot.await_ready(BOOT_TIMEOUT_S)
        wait = ("systemctl", "is-system-running", "--wait")
        state = self.run(*wait, check=False, timeout_s=BOOT_TIMEOUT_S).stdout.strip()
        if state != "running":
            failed = self.sh("systemctl --failed --no-legend --plain; journalctl -b -p err -o cat")
            raise LabError(f"{self.name} is {state}:\n{failed.stdout}")

    def attach(self) -> None:
        """Attach to the machine that another process of this lab has booted; LabError if it is off."""
        self._entrance = Entrance.load(self.own / "entrance")

    def reboot(self) -> None:
        """Reboot from inside; return when it is up again, its files kept and `leader` new."""
        self.run("systemctl", "reboot", check=False)
        code = self.await_end(STOP_TIMEOUT_S)
        if code != REBOOTED:
            raise LabError(f"{self.name} went down with {code} instead of rebooting")
        self.start()

    def poweroff(self) -> None:
        """Shut down in order; `start` boots the machine again."""
        # systemd(1): SIGRTMIN+4 asks PID 1 for poweroff.target.
        os.kill(self.leader, signal.SIGRTMIN + 4)
        self.await_end(STOP_TIMEOUT_S)

    def cut_the_power(self) -> None:
        """Kill the machine with all of its processes, and boot it again; its files are kept."""
        os.kill(self.leader, signal.SIGKILL)
        self.await_end(STOP_TIMEOUT_S)
        self.start()

    def await_end(self, timeout_s: float | None = None) -> int:
        """Wait until the machine is down; return nspawn's exit status, REBOOTED or other."""
        if self._boot is None:
            raise LabError(f"{self.name} was not booted by this process")
        code = self._boot.await_end(timeout_s)
        self._boot = self._entrance = None
        return code

    @property
    def leader(self) -> int:
        """The machine's PID 1, as the lab counts."""
        return self._up().leader

    @property
    def is_up(self) -> bool:
        """Whether it was booted and not shut down since."""
        return self._entrance is not None

    def _up(self) -> Entrance:
        if self._entrance is None:
            raise LabError(f"{self.name} is off")
        return self._entrance

    # -- commands -------------------------------------------------------------------------------

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` inside as root."""
        self.changes += 1
        return self._up().command(argv, ENVIRONMENT)

    def run(self, *argv: str, check: bool = True, timeout_s: float = 60) -> Completed:
        """Run a command; LabError, with all it printed, if it fails or takes too long."""
        what = f"{self.name}: {shlex.join(argv)}"
        try:
            ended = subprocess.run(
                self.command(argv),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            output = _text(error.stdout) + _text(error.stderr)
            raise LabError(f"{what}: still running after {timeout_s:g} s\n{output}") from None
        # Decoded here: text=True would turn the \r\n of HTTP into \n.
        done = Completed(argv, ended.returncode, _text(ended.stdout), _text(ended.stderr))
        if check and done.returncode:
            raise LabError(f"{what}: exited {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def sh(self, script: str, *, check: bool = True, timeout_s: float = 60) -> Completed:
        """Run a shell script, as `run` does."""
        return self.run("/bin/sh", "-c", script, check=check, timeout_s=timeout_s)

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        """Start a command, its output in one pipe, and do not wait for it."""
        return subprocess.Popen(
            self.command(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @overload
    def wait(self, condition: str, timeout_s: float = ..., *, show: str = ...) -> str: ...
    @overload
    def wait(self, condition: Callable[[], T], timeout_s: float = ..., *, show: str = ...) -> T: ...
    def wait(
        self,
        condition: str | Callable[[], T],
        timeout_s: float = WAIT_S,
        *,
        show: str = "systemctl list-units --all --no-legend --no-pager 'puppet*'",
    ) -> T | str:
        """Wait until a shell command succeeds or a function returns a true value.

        Return the command's output or that value. LabError after `timeout_s`, with the output of the
        shell command `show`.
        """
        began = time.monotonic()
        while True:
            if callable(condition):
                value = condition()
                if value:
                    return value
                last = repr(value)
            else:
                done = self.sh(condition, check=False)
                if done.returncode == 0:
                    return done.stdout
                last = f"exited {done.returncode}\n{done.stdout}{done.stderr}"
            waited_s = time.monotonic() - began
            if waited_s > timeout_s:
                state = self.sh(show, check=False).stdout
                raise LabError(f"{self.name}: not within {timeout_s:g} s: {condition}: {last}\n{state}")
            time.sleep(min(max(POLL_S, waited_s / 10), LONGEST_POLL_S))

    # -- files ----------------------------------------------------------------------------------

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file that belongs to root, with its directories."""
        # Through a process inside: /run and /tmp are mounts of the machine's own.
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
        done = subprocess.run(
            self.command(("/bin/sh", "-c", script, "sh", path, f"{mode:o}")),
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise LabError(f"{self.name}: cannot write {path}: {done.stderr.strip()}")

    def read(self, path: str) -> str:
        """Return a file's text; LabError if there is none."""
        return self.run("cat", "--", path).stdout

    def exists(self, path: str) -> bool:
        """Whether there is such a file, directory or socket."""
        return self.run("test", "-e", path, check=False).returncode == 0

    def copy(self, source: Path, path: str) -> None:
        """Copy a file or a directory of this host's to the machine's disk (not its /run or /tmp)."""
        self.changes += 1
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)

    # -- HTTP and the journal -------------------------------------------------------------------

    def curl(self, url: str, *arguments: str, timeout_s: float = 60) -> curl.Reply:
        """Ask with the machine's own curl; a url that begins with / means its own port 2023."""
        if url.startswith("/"):
            url = f"http://localhost:2023{url}"
        # --globoff: an IPv6 address has brackets.
        asked = ("curl", "--silent", "--show-error", "--include", "--globoff", *arguments, url)
        return curl.parse(self.run(*asked, timeout_s=timeout_s).stdout)

    def journal(self, *arguments: str) -> list[dict[str, Any]]:
        """Return journal entries, oldest first: `journal("_SYSTEMD_UNIT=x.service")`.

        All that was logged before the call is among them, however late journald is.
        """
        query = shlex.join(("journalctl", "--output=json", "--no-pager", "--all", *arguments))
        done = self.sh(f"journalctl --sync; {query}")
        return [json.loads(line) for line in done.stdout.splitlines()]


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace")
