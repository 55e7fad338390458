"""A command called puppet that tells settings, and writes down how it was run instead of running.

It is executed for real; only what Puppet would do then is left out.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twitch.root.settings import SETTINGS, Settings

# -I and -S: it starts in 15 ms, and its environment cannot change what it is.
SCRIPT = """\
#!/usr/bin/python3 -IS
import json, os, sys
here = os.path.dirname(os.path.abspath(sys.argv[0]))
with open(here + "/asked", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "config":
    sys.stdout.write(open(here + "/settings").read())
    sys.exit()
links = {}
for number in os.listdir("/proc/self/fd"):
    try:
        links[int(number)] = os.readlink("/proc/self/fd/" + number)
    except OSError:
        pass  # the directory itself
seen = {"argv": sys.argv, "environment": dict(os.environ), "descriptors": links, "pid": os.getpid()}
run = here + "/run." + str(os.getpid())
with open(run + ".new", "w") as file:
    json.dump(seen, file)
os.rename(run + ".new", run)
if os.path.exists(here + "/cue"):
    open(here + "/cue").read()
"""


class FakePuppet:
    """The command and its records, in a directory of their own."""

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
        self.tell()

    @property
    def settings(self) -> Settings:
        return Settings(
            agent_catalog_run_lockfile=os.fspath(self.lock),
            agent_disabled_lockfile=os.fspath(self.disabled),
            config=os.fspath(self.conf),
            lastrunfile=os.fspath(self.summary),
            lastrunreport=os.fspath(self.report),
            logdest="",
            runtimeout="3600",
        )

    def tell(self, **changed: str) -> None:
        """Say these settings from now on, as `puppet config print` does."""
        values = self.settings._replace(**changed)._asdict()
        lines = [f"{name} = {values[name]}\n" for name in sorted(SETTINGS)]
        self.directory.joinpath("settings").write_text("".join(lines))

    def asked(self) -> list[list[str]]:
        """Return the arguments of every time that it was executed."""
        record = self.directory / "asked"
        return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []

    def runs(self) -> list[dict[str, Any]]:
        """Return what was written down about each run."""
        return [
            json.loads(path.read_text()) for path in self.directory.glob("run.*") if path.suffix != ".new"
        ]

    def hold(self) -> None:
        """Let every run from now on last until `let_go`."""
        os.mkfifo(self.directory / "cue")

    def let_go(self) -> None:
        """End a run that is held; waits for it to begin, if need be."""
        with open(self.directory / "cue", "w"):
            pass
