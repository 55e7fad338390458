"""What a process has cost, as it writes it down itself at its end.

The kernel's maximum for a child (wait4) includes what its parent had when it was started, so VmHWM is read.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

REPOSITORY = Path(__file__).resolve().parents[2]

# No measured process takes longer: the longest part, 10,000 runs, is planned for eleven minutes.
LIMIT_S = 1500


class MeasuringError(Exception):
    """A command that was to be measured has failed; the text says which, and what it printed."""


class Figures(NamedTuple):
    """The cost of one process."""

    cpu_s: float  # user and system, from the start of the interpreter
    wall_s: float
    peak_mib: float
    exit: int = 0
    counts: Optional[dict[str, int]] = None  # what it has done, by kind

    def write(self, path: Union[str, Path]) -> None:
        """Write the figures for the bench."""
        Path(path).write_text(json.dumps(self._asdict()))


def of_this_process(began: float, status: int = 0, counts: Optional[dict[str, int]] = None) -> Figures:
    """Return the figures of this process, which has begun its work at this time (time.monotonic)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    wall_s = time.monotonic() - began
    return Figures(used.ru_utime + used.ru_stime, wall_s, int(found[1]) / 1024, status, counts)


def of_module(module: str, directory: Path, *words: Union[str, Path]) -> Figures:
    """Run a module that writes its figures to the file that is its first argument; return them."""
    path = directory / "figures.json"
    path.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", module, path, *words],
        cwd=REPOSITORY,
        env={**os.environ, "XDG_STATE_HOME": os.fspath(directory)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=LIMIT_S,
    )
    if not path.exists():
        raise MeasuringError(f"{module} has ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return Figures(**json.loads(path.read_text()))


def of_command(command: Sequence[Union[str, Path]], given: bytes = b"") -> Figures:
    """Run another command; return its CPU with that of all processes that it has started and waited for."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, input=given, capture_output=True, timeout=LIMIT_S)
    wall_s, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace")[-2000:]
        raise MeasuringError(f"{command[0]} has ended with {done.returncode}: {said}")
    return Figures(cpu_s, wall_s, 0.0)


def cpu_s_of(pids: Sequence[int]) -> float:
    """Return the CPU that these processes have used so far."""
    ticks = 0
    for pid in pids:
        fields: list[Any] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime (proc_pid_stat(5))
    return ticks / os.sysconf("SC_CLK_TCK")
