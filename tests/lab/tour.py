"""The steps of `make demo`: install Puppet Twitch on a machine, trigger a run, show the answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from .errors import LabError
from .install import install
from .machine import Machine

MANIFEST = """\
file { '/etc/motd':
  content => "Puppet looks after this machine.\\n",
}
"""
# The last step is within the cooldown, also on a busy machine.
CONFIGURATION = """\
[access]
cooldown = 60

[puppet]
command = apply
manifest = /etc/puppet/demo.pp
"""


class Tour:
    """Runs commands on a machine with their output shown, and knows the current step."""

    def __init__(self, machine: Machine, shell: Callable[[str], Sequence[str]] | None = None) -> None:
        self.machine = machine
        self._shell = shell or (lambda script: ("/bin/sh", "-c", script))  # script -> command line
        self.step = ""

    def begin(self, step: str) -> None:
        """Print the title of the next step."""
        self.step = step
        print(f"\n==> {step}", flush=True)

    def show(self, command: str, expected: str = "", *, exit_code: int = 0) -> str:
        """Run a command and print its output; LabError if it, or its exit status, is not the expected one."""
        print(f"$ {command}", flush=True)
        done = self.machine.run(*self._shell(f"exec 2>&1; {command}"), check=False, timeout_s=120)
        print(done.stdout.replace("\r\n", "\n").rstrip("\n"), flush=True)
        if exit_code:
            print(f"(exit status {done.returncode})", flush=True)
        if done.returncode != exit_code:
            raise LabError(f"exit status {done.returncode}")
        if not re.search(expected, done.stdout, re.DOTALL):
            raise LabError(f"there is no {expected!r} in its output")
        return done.stdout


def tour(machine: Machine) -> int:
    """Show all steps; return 0, or print the step that failed and return 1."""
    at = Tour(machine)
    try:
        at.begin("Installing puppet-twitch: make install, then starting its socket")
        install(machine)

        at.begin("Configuring it to apply a local manifest")
        machine.write("/etc/puppet/demo.pp", MANIFEST)
        machine.write("/etc/puppet-twitch/puppet-twitch.conf", CONFIGURATION)
        at.show("cat /etc/puppet/demo.pp /etc/puppet-twitch/puppet-twitch.conf")

        at.begin("No process runs yet; systemd listens on the port")
        at.show("ps -u twitch || systemctl is-active puppet-twitch.socket", "active")

        at.begin("Triggering a run")
        answer = at.show("curl -si http://localhost:2023/puppet/twitch", "Triggered puppet run")
        run = re.search(r"^Puppet-Run: *([0-9a-f]{32})\s*$", answer, re.IGNORECASE | re.MULTILINE)
        if run is None:
            raise LabError("the answer has no Puppet-Run header")

        at.begin("Waiting for the end of the run")
        at.show(f'curl -s "http://localhost:2023/puppet/runs/{run[1]}?wait=60"', "changed")

        at.begin("Asking for the status")
        at.show("curl -s http://localhost:2023/puppet/status", "idle")

        at.begin("The journal of that run")
        machine.run("journalctl", "--sync")  # the verdict is known before journald has stored each line
        at.show(f"journalctl --no-pager -o cat _SYSTEMD_INVOCATION_ID={run[1]}", "motd")

        at.begin("Triggering again at once: the cooldown for anonymous callers")
        at.show("curl -si http://localhost:2023/puppet/twitch", "HTTP/1.1 429 ")
    except LabError as error:
        print(f"\ndemo: failed at: {at.step}\n{error}", flush=True)
        return 1
    return 0
