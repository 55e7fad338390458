"""Back-pressure: the queue of a real puppetserver that is too small for the load.

The server has one JRuby. The nodes are simulated, but each run asks the server for its catalog, with the
node's own certificate of the Puppet CA; compiling takes a second. So four runs of four seconds at once are
the best fixed number. `python3 -m tests.bench_fleet.pressure FILE` measures in a lab, for `measure`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.table import Goal, Row
from tests.fleet_nodes import credentials, scene
from tests.fleet_nodes.node import SimulatedRoot
from tests.fleet_nodes.scene import NodeSpec
from tests.fleet_nodes.serving import ServedNode, Site
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.server import start_puppetserver
from twitch import config
from twitch.listener import tokens
from twitch.records import Record

REPOSITORY = Path(__file__).resolve().parents[2]

NODES = 40
CATALOG_S, REST_S = 1, 3.0  # of a run: with the JRuby, and without
FIXED = (2, 4, 8)
AT_ONCE = 20  # at most, with the queue as the throttle; the default
SLOW = f"$waited = generate('/bin/sleep', '{CATALOG_S}')\n"

PERCENT_OVER = 20  # of the best fixed number
SETTLED_S, LONG_QUEUE = 10, 2  # after so many seconds, no more than so many requests wait
LIMIT_S = 600
LOOK_S = 0.5

PORT = 2023
PUPPET = "https://puppet:8140"
STATUS = f"{PUPPET}/status/v1/services/jruby-metrics?level=debug"
CERTS = "/root/pressure"
# By openssl, because 40 requests for a signature would take as long as the bench.
ISSUE = f"""\
set -e
ca=$(puppet config print cadir --section server)
mkdir -p {CERTS}
cd {CERTS}
cp "$ca/ca_crt.pem" ca.pem
for name in NAMES; do
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out csr \\
        -subj /CN=$name 2>/dev/null
    openssl x509 -req -in csr -CA "$ca/ca_crt.pem" -CAkey "$ca/ca_key.pem" -days 30 -out $name.pem \\
        -set_serial 0x7ffffff$(od -An -N4 -tx4 /dev/urandom | tr -d ' ') 2>/dev/null
done
"""


class Cost(NamedTuple):
    """What the runs of all nodes have taken."""

    wall_s: float
    waiting: list[int]  # requests in the queue of the server, twice a second
    output: str


class CatalogRoot(SimulatedRoot):
    """A node whose runs ask the puppetserver for a catalog."""

    def _begin(self, run: str) -> str:
        super()._begin(run)
        assert self._timer
        self._timer.cancel()
        self._loop.create_task(self._run_puppet(run))
        return run

    async def _run_puppet(self, run: str) -> None:
        await asyncio.sleep(REST_S / 2)
        got = await catalog(self._spec.name)
        await asyncio.sleep(REST_S / 2)
        self._end(run, "unchanged" if got else "failed")


class PressingNode(ServedNode):
    """Such a node, with its socket."""

    root_class = CatalogRoot


async def catalog(name: str) -> bool:
    """Ask for the catalog of a node, as its agent does; return whether there is one."""
    facts = json.dumps({"name": name, "values": {}})
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--fail", "--output", "/dev/null", "--header", "Accept: application/json"),
        *("--cacert", "ca.pem", "--cert", f"{name}.pem", "--key", f"{name}.key"),
        *("--data", "facts_format=application%2Fjson", "--data-urlencode", f"facts={facts}"),
        f"{PUPPET}/puppet/v3/catalog/{name}?environment=production",
    )
    return await process.wait() == 0


def measure(directory: Path, scale: float) -> Iterator[Row]:
    """Yield the rows of back-pressure, measured in a lab of its own; `scale` is of the nodes."""
    if os.geteuid():
        print("bench-fleet: pressure is left out: a puppetserver in a lab needs root", file=sys.stderr)
        return
    path = directory / "pressure.json"
    words = (REPOSITORY / "tests/lab/enter", sys.executable, "-m", "tests.bench_fleet.pressure")
    count = max(16, int(NODES * scale))
    subprocess.run([*words, path, str(count)], cwd=REPOSITORY, check=True, timeout=LIMIT_S)
    costs = {name: Cost(*cost) for name, cost in json.loads(path.read_text()).items()}
    what = f"{count} runs, one JRuby, {CATALOG_S} of {CATALOG_S + REST_S:.0f} s in it"
    for number in FIXED:
        cost = costs[str(number)]
        yield Row(f"{what}: wall, {number} at once", "s", [cost.wall_s], note=_queue(cost))
    best_s = min(costs[str(number)].wall_s for number in FIXED)
    cost = costs["throttled"]
    over = 100 * (cost.wall_s / best_s - 1)
    yield Row(f"{what}: wall, up to {AT_ONCE}, by the queue", "s", [cost.wall_s], note=_queue(cost))
    yield Row(f"{what}: over the best fixed number", "%", [over], Goal(PERCENT_OVER))
    settled = [float(number) for number in cost.waiting[int(SETTLED_S / LOOK_S) :]]
    yield Row(f"{what}: waiting after {SETTLED_S} s", "requests", settled, Goal(LONG_QUEUE, "p95"))


def _queue(cost: Cost) -> str:
    return (
        f"at most {max(cost.waiting)} requests waited, {sum(cost.waiting) / len(cost.waiting):.1f} on average"
    )


# -- in the lab -----------------------------------------------------------------------------------


def main(path: str, count: str) -> None:
    """Measure with so many nodes, and write the costs to a file."""
    specs = scene.draw(int(count), run_s=(1, 1), faults={}, verdicts={}, network=99, seed=1)
    with Lab() as lab:
        server = start_puppetserver(lab)
        directory = _prepare(server.machine, specs)
        server.manifest("production", SLOW)
        server.await_ready()
        os.chdir(directory)
        try:
            costs = asyncio.run(_measure(specs, directory))
        finally:
            os.chdir(REPOSITORY)  # or the disk of the machine could not be unmounted
    Path(path).write_text(json.dumps(costs))


def _prepare(server: Machine, specs: Sequence[NodeSpec]) -> Path:
    """Give the nodes certificates and all machines names; return the directory of the certificates."""
    server.sh(ISSUE.replace("NAMES", " ".join(spec.name for spec in specs)), timeout_s=120)
    hosts = Path("/run/hosts")
    lines = [f"{server.address} puppet", *(f"{spec.address} {spec.name}" for spec in specs)]
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{line}\n" for line in lines))
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)  # in the lab's namespace
    return server.root / CERTS.lstrip("/")


async def _measure(specs: Sequence[NodeSpec], directory: Path) -> dict[str, Cost]:
    access = credentials.make(directory, tls=False, anonymous="trigger status")
    site = Site(PORT, config.load(str(directory / "puppet-twitch.conf")), tokens.load("tokens"), None, None)
    nodes = [PressingNode(spec, site, _forget) for spec in specs]
    for node in nodes:
        await node.listen()
    # The command finds the certificate of the CA where an operator has it.
    (directory / "puppet-twitch").mkdir()
    (directory / "puppet-twitch/ca.pem").write_text((directory / "ca.pem").read_text())
    assert access.token
    names = [spec.name for spec in specs]
    await _cost(names, "--at-once", "8", "--puppetserver", "none")  # Java compiles what is used often
    costs = {}
    for number in FIXED:
        costs[str(number)] = await _cost(names, "--at-once", str(number), "--puppetserver", "none")
    costs["throttled"] = await _cost(names, "--at-once", str(AT_ONCE), "--puppetserver", PUPPET)
    return costs


async def _cost(names: Sequence[str], *options: str) -> Cost:
    """Run all nodes and return what it has cost."""
    environment = {"XDG_CONFIG_HOME": os.getcwd(), "XDG_STATE_HOME": os.getcwd(), "PATH": os.environ["PATH"]}
    words = ("-m", "twitch.fleet.main", "run", "--yes", "--plain-http", "--puppetdb", "none")
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, *options, *names,
        env={**environment, "PYTHONPATH": os.fspath(REPOSITORY)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    with Sampler() as sampler:
        output, _ = await process.communicate()
    wall_s = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"run has ended with {process.returncode}: {output.decode()[-3000:]}")
    print(f"pressure: {wall_s:.1f} s with {options}", file=sys.stderr)
    for line in output.decode().splitlines():
        if re.search(r"queue|at once", line):
            print(f"    {line}", file=sys.stderr)
    return Cost(wall_s, sampler.waiting, output.decode())


class Sampler:
    """Reads the queue of the server, in a thread, until it is left."""

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self._context = ssl.create_default_context(cafile="ca.pem")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._end.wait(LOOK_S):
            with urllib.request.urlopen(STATUS, context=self._context, timeout=60) as answer:
                metrics = json.load(answer)["status"]["experimental"]["metrics"]
            self.waiting.append(len(metrics["requested-instances"]))

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._end.set()
        self._thread.join()


def _forget(spec: NodeSpec, record: Record) -> None:
    """Send no report anywhere."""


if __name__ == "__main__":
    main(*sys.argv[1:])
