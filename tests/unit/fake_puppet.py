"""A command called puppet that prints settings, and instead of a run writes down how it was called.

It is a real process; only what Puppet would do in a run is left out.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from tests.unit.processes import wait_until
from twitch.root.settings import SETTINGS, Settings

# -I and -S: it starts in 15 ms, and its environment cannot change what it does.
SCRIPT = """\
#!/usr/bin/python3 -IS
import json, os, sys
directory = os.path.dirname(os.path.abspath(sys.argv[0]))
with open(directory + "/calls", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "config":
    sys.stdout.write(open(directory + "/settings").read())
    sys.exit()
links = {}
for number in os.listdir("/proc/self/fd"):
    try:
        links[int(number)] = os.readlink("/proc/self/fd/" + number)
    except OSError:
        pass  # the directory itself
# Not os.environ, in which Python itself sets LC_CTYPE.
variables = open("/proc/self/environ").read().split("\\0")
environment = dict(variable.split("=", 1) for variable in variables if variable)
call = {"argv": sys.argv, "environment": environment, "descriptors": links, "pid": os.getpid()}
run = directory + "/run." + str(os.getpid())
with open(run + ".new", "w") as file:
    json.dump(call, file)
os.rename(run + ".new", run)
if os.path.exists(directory + "/cue"):
    open(directory + "/cue").read()
"""


class FakePuppet:
    """The command, its settings and what it has written down, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.path = directory / "puppet"
        self.path.write_text(SCRIPT)
        self.path.chmod(0o755)
        self.conf = directory / "puppet.conf"
        self.conf.write_text("[agent]\n")
        self.lock = directory / "agent_catalog_run.lock"
        self.disabled = directory / "agent_disabled.lock"
        self.report = directory / "last_run_report.yaml"
        self.summary = directory / "last_run_summary.yaml"
        self.resources = directory / "resources.txt"
        self.set_settings()

    @property
    def settings(self) -> Settings:
        return Settings(
            agent_catalog_run_lockfile=os.fspath(self.lock),
            agent_disabled_lockfile=os.fspath(self.disabled),
            config=os.fspath(self.conf),
            lastrunfile=os.fspath(self.summary),
            lastrunreport=os.fspath(self.report),
            logdest="",
            pidfile=os.fspath(self.directory / "agent.pid"),
            resourcefile=os.fspath(self.resources),
            runtimeout="3600",
        )

    def set_settings(self, **changed: str) -> None:
        """Print these settings from now on, as `puppet config print` does."""
        values = self.settings._replace(**changed)._asdict()
        lines = [f"{name} = {values[name]}\n" for name in sorted(SETTINGS)]
        self.directory.joinpath("settings").write_text("".join(lines))

    def calls(self) -> list[list[str]]:
        """Return the arguments of each call, of `config print` as well."""
        path = self.directory / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def runs(self) -> list[dict[str, Any]]:
        """Return how each run was called: argv, environment, descriptors, pid."""
        return [
            json.loads(path.read_text()) for path in self.directory.glob("run.*") if path.suffix != ".new"
        ]

    def hold_runs(self) -> None:
        """Let every run from now on last until `release_run`."""
        os.mkfifo(self.directory / "cue")

    def release_run(self) -> None:
        """End a run that is held; wait for it to begin, if need be."""
        wait_until(self._released, "a held run waits to be released")

    def _released(self) -> bool:
        try:
            os.close(os.open(self.directory / "cue", os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno == errno.ENXIO:
                return False  # no run has opened it yet
            raise
        return True
