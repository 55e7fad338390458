"""How far the run under way is: read from the files that Puppet writes on its way, and from its processes.

No text of Puppet is read, so its language does not matter. The order of the files, seen with Puppet 7.23,
8.10 and OpenVox 9.0 rc1 (tests/e2e/test_agent_progress.py):

    the process exists                              starting: Ruby, certificates, waiting for a lock
    the run lock has its pid                        preparing: plugins, facts, catalog
    `resourcefile` is newer than the lock           applying, with prerun_command and postrun_command
    `lastrunfile` (the summary) is newer as well    reporting: the report is sent to the server
    the run lock is gone                            done

`resourcefile` has a line for each resource of the catalog. Puppet says nowhere how many of them are done, but
with --evaltrace, which multiplies log and report.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional

from twitch.node_status import APPLYING, PREPARING, REPORTING, STARTING, Doing
from twitch.records import GOOD, Options, Record
from twitch.root import files, unit
from twitch.root.claims import Claim
from twitch.root.node import Node
from twitch.root.process import start_time
from twitch.root.puppet_locks import Holder
from twitch.root.report import written_since
from twitch.root.settings import Settings

# Ten times the longest one: 50,000 resources with names of 100 characters.
MAX_RESOURCES_BYTES = 50 * 1024 * 1024
READ_BYTES = 64 * 1024  # at once
# The time that a run usually takes is the median of these.
USUAL_OF, USUAL_LEAST = 20, 3
# A command in a shell in a script in a package manager in Puppet; a process that forks all the time must not
# keep root here.
MAX_DEPTH = 32


class Progress(NamedTuple):
    """How far a run is; None where it is not known."""

    phase: Optional[str] = None  # one of node_status.PHASES
    resources: Optional[int] = None  # in the catalog, while it is applied
    elapsed_s: Optional[int] = None
    usual_s: Optional[int] = None
    doing: Optional[Doing] = None


def look(
    node: Node, ours: Optional[Claim], holder: Optional[Holder], started: Optional[float], ended: list[Record]
) -> Progress:
    """Return how far the run under way is: one of ours, or that of the Puppet that holds the run lock.

    `started` is when it began (epoch seconds), and `ended` the records of ended runs, the last one first.
    """
    if not ours and not holder:
        return Progress()
    pid = ours.pid if ours else holder.pid if holder else 0
    phase = _phase(node, pid, holder, started)
    return Progress(
        phase=phase,
        resources=resources(node.settings.resourcefile) if phase == APPLYING else None,
        elapsed_s=None if started is None else max(0, int(time.time() - started)),
        usual_s=usual_s(ended, ours.options if ours else Options()),
        doing=doing(pid),
    )


def _phase(node: Node, pid: int, holder: Optional[Holder], started: Optional[float]) -> Optional[str]:
    settings = node.settings
    if holder and holder.pid == pid:
        # The time of the lock, and not of the record: the files are on file systems of one clock.
        phase = _phase_since(settings, _mtime(settings.agent_catalog_run_lockfile))
        # A site can turn the list of resources off, and then nothing shows when the catalog is applied.
        return phase or (PREPARING if settings.write_catalog_summary != "false" else None)
    if started is not None and written_since(settings.lastrunfile, started):
        return REPORTING  # the lock goes a moment before the process
    if node.config.command == "agent":
        return STARTING
    # `puppet apply` takes no lock, and writes no list of its resources unless it is told to.
    return _phase_since(settings, started)


def _phase_since(settings: Settings, moment: Optional[float]) -> Optional[str]:
    if moment is not None and written_since(settings.lastrunfile, moment):
        return REPORTING
    if moment is not None and settings.resourcefile and written_since(settings.resourcefile, moment):
        return APPLYING
    return None


def _mtime(path: str) -> Optional[float]:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def resources(path: str) -> Optional[int]:
    """Return the number of resources in a catalog: the lines of the list that the agent has written of it."""
    lines = read = 0
    try:
        with files.open_foreign(path, MAX_RESOURCES_BYTES) as file:
            while read < MAX_RESOURCES_BYTES:
                block = file.read(READ_BYTES)
                if not block:
                    break
                read += len(block)
                lines += block.count(b"\n")
    except OSError:
        return None
    # For a catalog without resources, Puppet writes an empty line.
    return 0 if read <= 1 else lines


def usual_s(ended: Iterable[Record], options: Options) -> Optional[int]:
    """Return the seconds that a run with these options usually takes; None if there were too few of them.

    That is the median of the last good runs of the same kind: with noop or without, with tags or without.
    """
    kind = (options.noop, bool(options.tags))
    times = [
        record.duration_s
        for record in ended
        if record.verdict in GOOD
        and record.duration_s is not None
        and (record.options.noop, bool(record.options.tags)) == kind
    ][:USUAL_OF]
    # The median; of an even number, the upper one of the middle two. Importing `statistics` takes 2 ms.
    return round(sorted(times)[len(times) // 2]) if len(times) >= USUAL_LEAST else None


def doing(pid: int) -> Optional[Doing]:
    """Return the process that Puppet waits for; None if it has started none, or the kernel cannot say.

    Puppet waits for one command at a time. That is its oldest child; and a shell or a package manager waits
    for its own oldest child in turn, so the last one in this line is at work. Only the name that the kernel
    knows (comm): a command line may have passwords.
    """
    found: Optional[Doing] = None
    below = children(pid)
    for _ in range(MAX_DEPTH):
        oldest = min(below, default=None)
        if oldest is None:
            break
        start, pid = oldest
        name = unit.process_name(pid)
        if name is None:
            break  # it has ended meanwhile
        found = Doing(name, unit.age_s(start))
        below = children(pid)
    return found


def children(pid: int) -> Sequence[tuple[int, int]]:
    """Return start and pid of each living child of a process, of all its threads."""
    pids: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                pids += map(int, file.read().split())
    except (OSError, ValueError):
        pass  # it has ended meanwhile; or a kernel without CONFIG_PROC_CHILDREN
    starts = ((start_time(child), child) for child in pids)
    return [(start, child) for start, child in starts if start is not None]
