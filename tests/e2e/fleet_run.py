"""puppet-twitch-fleet on the site, as its operator runs it: its result file, its output, its exit status."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.e2e import stub
from tests.lab.errors import LabError
from tests.lab.fleet import HOME, Site, as_operator
from tests.lab.machine import Machine

# The longest: a node is lost after two minutes, and then its report is looked for.
TIMEOUT_S = 300
# For a step of one run, which waits for the puppetserver while other nodes run.
RUN_S = 180

COMMAND = "puppet-twitch-fleet"
_numbers = itertools.count(1)


class Result(NamedTuple):
    """The end of `puppet-twitch-fleet run`."""

    status: int
    output: str
    lines: list[dict[str, Any]]  # of the result file
    file: str  # its name in the operator's home directory

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """The last line of each node."""
        return {line["node"]: line for line in self.lines if line["line"] == "node"}

    @property
    def outcomes(self) -> dict[str, str]:
        """The outcome of each node."""
        return {name: line["outcome"] for name, line in self.nodes.items()}

    @property
    def summary(self) -> dict[str, Any]:
        """The last line."""
        return self.lines[-1]


class Started:
    """A `run` that goes on."""

    def __init__(self, site: Site, *arguments: str) -> None:
        self._site = site
        self.file = f"result{next(_numbers)}.jsonl"
        words = (COMMAND, "run", "--yes", "--json", self.file, *arguments)
        # A file that is there would be appended to.
        site.operator("rm", "-f", self.file)
        self._output = f"{HOME}/{self.file}.output"
        site.machine.write(self._output, "", 0o666)
        into = ("/bin/sh", "-c", 'exec "$@" >"$0" 2>&1', self._output)
        self._process = site.machine.popen(*as_operator(*into, *words))

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the result file so far."""
        text = self._site.machine.sh(f"cat {HOME}/{self.file}", check=False).stdout
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def output(self) -> str:
        """Return what the command has printed so far."""
        return self._site.machine.read(self._output)

    def await_output(self, pattern: str) -> None:
        """Wait until the command has printed something that a regular expression matches."""

        def printed() -> bool:
            over = self._process.poll() is not None
            found = re.search(pattern, self.output()) is not None
            if not found and over:
                raise LabError(f"ended without {pattern!r}: {self.end()}")
            return found

        self._site.machine.wait(printed, RUN_S, show=f"cat {self._output}")

    def await_event(self, node: str, event: str) -> dict[str, Any]:
        """Wait for a step of a node; return its line. LabError has the output of a command that has ended."""

        def line() -> dict[str, Any] | None:
            over = self._process.poll() is not None  # first, because its last line comes before its end
            found = [one for one in self.lines() if (one.get("node"), one.get("event")) == (node, event)]
            if not found and over:
                raise LabError(f"ended before {node} was {event}: {self.end()}")
            return found[0] if found else None

        return self._site.machine.wait(line, RUN_S, show=f"cat {HOME}/{self.file}") or {}

    def end(self, timeout_s: float = TIMEOUT_S) -> Result:
        """Wait for its end."""
        try:
            self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise LabError(f"run was not over after {timeout_s:g} s: {self.lines()}") from None
        return Result(self._process.returncode, self.output(), self.lines(), self.file)

    def interrupt(self) -> None:
        """Send the command SIGINT, as Ctrl-C does."""
        self._site.machine.sh(f"pkill -INT -u alice -f '{self.file}'")

    def kill(self) -> None:
        """Kill the command with SIGKILL, as a crash of the operator's machine would."""
        self._site.machine.sh(f"pkill -KILL -u alice -f '{self.file}'")
        self._process.communicate(timeout=TIMEOUT_S)


def run(site: Site, *arguments: str) -> Result:
    """Run Puppet on nodes, to the end."""
    return Started(site, *arguments).end()


def hold(site: Site, *nodes: str) -> None:
    """Make the runs of these nodes last until `stub.release`; other nodes have an empty catalog."""
    names = ", ".join(f"'{name}'" for name in nodes)
    site.server.manifest("production", f"node {names} {{\n{stub.HOLD}}}\nnode default {{ }}\n")
    for name in nodes:
        site.nodes[name].run("rm", "-f", stub.CUE, stub.HELD)


def await_held(node: Machine) -> None:
    """Wait until a run has come to the held resource of its catalog."""
    node.wait(f"test -e {stub.HELD}", RUN_S)


def runs_of(node: Machine) -> list[str]:
    """Return the ids of all runs on record."""
    listed = node.sh("ls /run/puppet-twitch/runs /var/lib/puppet-twitch/runs 2>/dev/null", check=False).stdout
    return sorted({line[:-5] for line in listed.split() if line.endswith(".json")})


def started_by(node: Machine, function: Callable[[], object]) -> set[str]:
    """Return the runs that have begun on a node while the function was called."""
    before = set(runs_of(node))
    function()
    return set(runs_of(node)) - before
