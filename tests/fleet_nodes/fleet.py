"""A fleet of simulated nodes, as a test or a bench starts and asks it."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from tests.fleet_nodes import credentials
from tests.fleet_nodes.control import Process
from tests.fleet_nodes.credentials import Credentials
from tests.fleet_nodes.scene import Fault, NodeSpec, Scene, draw
from twitch.fleet.nodes import Node

# A process costs 0.15 s of start; one serves a thousand nodes as well as two.
NODES_A_PROCESS = 1000
MOST_NODES = 20_000
LONGEST_S = 1800

# Fleets of one test run are at networks of their own, so that an address is never one of before.
_networks = itertools.count(1)


class Server:
    """PuppetDB or puppetserver, beside the nodes."""

    def __init__(self, process: Process, what: str) -> None:
        self._process = process
        self._what = what
        self.url: str = process.ask("urls")[what]

    def stop(self) -> None:
        """Go away: no connection is left, and none is accepted."""
        self._process.ask("stop", what=self._what)

    def start(self) -> None:
        """Come back, at the same port."""
        self._process.ask("start", what=self._what)

    def slow(self, slow_s: float) -> None:
        """Answer so many seconds late."""
        self._process.ask("slow", what=self._what, slow_s=slow_s)

    def set(self, **fields: Any) -> None:
        """Set fields of puppetdb.PuppetDB or puppetserver.Puppetserver, such as `queue_depth` or `queue`."""
        self._process.ask("set", what=self._what, **fields)

    def get(self, field: str) -> Any:
        """Return a field of puppetdb.PuppetDB or puppetserver.Puppetserver."""
        return self._process.ask("get", what=self._what, field=field)

    @property
    def requests(self) -> int:
        """How many requests it has had."""
        count: int = self._process.ask("requests", what=self._what)
        return count


class SimulatedPuppetDB(Server):
    """The PuppetDB beside the nodes."""

    def hold(self, holds: bool) -> None:
        """Let the reports of runs wait in the queue, or store those that wait."""
        self._process.ask("hold", holds=holds)

    def fail_before(self, *names: str) -> None:
        """Let the last runs of these nodes have failed."""
        self._process.ask("fail_before", names=names)


class Fleet:
    """Simulated nodes that run, with a PuppetDB and a puppetserver."""

    def __init__(
        self, specs: tuple[NodeSpec, ...], port: int, tls: bool, access: Credentials, servers: Process
    ) -> None:
        self.specs = specs
        self.port = port
        self.tls = tls
        self.credentials = access
        self.puppetdb = SimulatedPuppetDB(servers, "puppetdb")
        self.puppetserver = Server(servers, "puppetserver")
        self.processes: list[Process] = []
        self.nodes = [Node(spec.name, spec.address) for spec in specs]

    def with_fault(self, *faults: Fault) -> set[str]:
        """Return the names of the nodes that have one of these faults; without arguments, those without."""
        return {spec.name for spec in self.specs if (spec.fault in faults if faults else spec.fault is None)}

    def started(self) -> dict[str, list[str]]:
        """Return the runs that have begun, by node; asked for by callers, and not Puppet's own."""
        started: dict[str, list[str]] = {}
        for process in self.processes:
            started.update(process.ask("started"))
        return started

    def finish(self, name: str) -> None:
        """End the run that is under way on a node now."""
        self._of(name).ask("finish", name=name)

    def die(self, name: str) -> None:
        """Let a node go away for ever: its connections are reset, and its run is never reported."""
        self._of(name).ask("die", name=name)

    def _of(self, name: str) -> Process:
        number = next(number for number, spec in enumerate(self.specs) if spec.name == name)
        return self.processes[number % len(self.processes)]

    def ideal_s(self, at_once: int) -> float:
        """Return the shortest time in which all runs can end, with so many at once.

        That is the sum of their lengths over the number at once, and not less than the longest run.
        """
        lengths = [spec.run_s for spec in self.specs if spec.fault is None]
        return max(sum(lengths) / at_once, max(lengths))


@contextlib.contextmanager
def start(
    nodes: int = 10,
    *,
    faults: Optional[Mapping[str, float]] = None,
    verdicts: Optional[Mapping[str, float]] = None,
    run_s: tuple[float, float] = (0.1, 0.3),
    tls: bool = False,
    anonymous: str = "trigger status",
    seed: int = 1,
    processes: Optional[int] = None,
    longest_s: int = LONGEST_S,
) -> Iterator[Fleet]:
    """Start a fleet, and end it.

    `faults` (scene.Fault) and `verdicts` (of records.VERDICTS; all other runs change something) are shares of
    the nodes. A run takes as long as is drawn for its node from `run_s`. `anonymous` has the grants of
    callers without credentials.
    """
    assert nodes <= MOST_NODES
    specs = draw(
        nodes, run_s=run_s, faults=faults or {}, verdicts=verdicts or {}, network=next(_networks), seed=seed
    )
    count = processes or min(os.cpu_count() or 1, -(-nodes // NODES_A_PROCESS))
    with contextlib.ExitStack() as until_end:
        directory = Path(until_end.enter_context(tempfile.TemporaryDirectory(prefix="fleet-nodes-")))
        access = credentials.make(directory, tls=tls, anonymous=anonymous)
        scene = Scene(_free_port(), str(directory), tls, longest_s)
        pairs = [socket.socketpair() for _ in range(count)]
        scene._replace(nodes=specs).write(directory / "servers.json")
        servers = Process(
            "tests.fleet_nodes.servers_process",
            str(directory / "servers.json"),
            sockets=[pair[0] for pair in pairs],
        )
        until_end.callback(servers.close)
        parts = []
        for number, (theirs, ours) in enumerate(pairs):
            path = directory / f"nodes{number}.json"
            scene._replace(nodes=specs[number::count]).write(path)
            parts.append(Process("tests.fleet_nodes.nodes_process", str(path), sockets=[ours]))
            until_end.callback(parts[-1].close)
            theirs.close()
            ours.close()
        for process in (servers, *parts):
            process.ready()
        fleet = Fleet(specs, scene.port, tls, access, servers)
        fleet.processes = parts
        yield fleet


def _free_port() -> int:
    """Return a port that nothing uses, below those that connections get."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
