"""The CPU of one run to its verdict, beside what operators use today: curl by xargs, and Ansible's uri."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

from tests import fleet_nodes
from tests.bench.table import Goal, Row
from tests.bench_fleet import figures, runs
from tests.fleet_nodes import Fleet

NODES = 500
AT_ONCE = 50
RUN_S = (1.0, 1.0)
WAIT_S = 60

TIMES_LESS = 10  # than Ansible
PATH = f"/puppet/twitch?queue=true&wait={WAIT_S}"

Tool = Callable[[Fleet, Path], figures.Figures]


def measure(directory: Path, scale: float) -> Iterator[Row]:
    """Yield the rows about 500 nodes that are run and waited for, 50 at once, by each of the three."""
    count = max(AT_ONCE, int(NODES * scale))
    for tls, what in ((False, "plain HTTP"), (True, "TLS, EC client certificate")):
        ours, ours_s = _cost(count, tls, _ours, directory)
        curl, curl_s = _cost(count, tls, _curl, directory)
        name = f"CPU a node, {count} nodes, {what}"
        wall = f"wall {ours_s:.0f} s, beside {curl_s:.0f} s; the ideal is {count * RUN_S[0] / AT_ONCE:.0f} s"
        yield Row(f"{name}, beside xargs curl", "ms", [ours], Goal(curl), [curl], wall)
    ours, ours_s = _cost(count, False, _ours, directory)
    ansible, ansible_s = _cost(count, False, _ansible, directory)
    wall = f"the goal is a {TIMES_LESS}th of Ansible's; wall {ours_s:.0f} s, beside {ansible_s:.0f} s"
    name = f"CPU a node, {count} nodes, plain HTTP, beside Ansible's uri"
    yield Row(name, "ms", [ours], Goal(ansible / TIMES_LESS), [ansible], wall)


def _cost(count: int, tls: bool, tool: Tool, directory: Path) -> tuple[float, float]:
    """Return the CPU a node in milliseconds, and the wall time, on a fleet that nobody has asked before."""
    with fleet_nodes.start(count, run_s=RUN_S, tls=tls) as fleet:
        cost = tool(fleet, directory)
        started = fleet.started()
    if cost.exit or any(len(ids) != 1 for ids in started.values()):
        raise figures.MeasuringError(
            f"{tool.__name__}: exit {cost.exit}, {sum(map(len, started.values()))} runs"
        )
    return 1000 * cost.cpu_s / count, cost.wall_s


def _ours(fleet: Fleet, directory: Path) -> figures.Figures:
    """Run the whole command. Its addresses come from the fake PuppetDB, which proves the runs, too."""
    return figures.of_module(
        "tests.bench_fleet.command", directory, *runs.options(fleet), "--at-once", str(AT_ONCE),
        *("--puppetdb", fleet.puppetdb.url, "--json", directory / "peers.jsonl"),
        *("--query", "nodes[certname]{}", "--address-fact", "networking.ip"),
    )  # fmt: skip


def _curl(fleet: Fleet, directory: Path) -> figures.Figures:
    """Run a curl for each node, without a shell between xargs and curl."""
    scheme, files = "https" if fleet.tls else "http", fleet.credentials
    tls = ("--cacert", files.ca, "--cert", files.cert, "--key", files.key) if fleet.tls else ()
    lines = (
        f"--resolve {node.name}:{fleet.port}:{node.address} {scheme}://{node.name}:{fleet.port}{PATH}\n"
        for node in fleet.nodes
    )
    curl = ("curl", "-fsS", "-o", "/dev/null", "-X", "POST", *tls)
    return figures.of_command(("xargs", "-L", "1", "-P", str(AT_ONCE), *curl), "".join(lines).encode())


def _ansible(fleet: Fleet, directory: Path) -> figures.Figures:
    """Run Ansible's uri for each node on this machine, as a playbook with `connection: local` does."""
    inventory = directory / "inventory"
    inventory.write_text("".join(f"{node.name} address={node.address}\n" for node in fleet.nodes))
    options = ("-i", inventory, "-c", "local", "-f", str(AT_ONCE), "-o", "-m", "ansible.builtin.uri")
    interpreter = ("-e", "ansible_python_interpreter=/usr/bin/python3")  # else it looks for one on each
    url = f"http://{{{{ address }}}}:{fleet.port}{PATH}"
    os.environ["ANSIBLE_LOCAL_TEMP"] = os.fspath(directory / "ansible")
    arguments = f"url={url} method=POST timeout={2 * WAIT_S}"
    return figures.of_command(("ansible", "all", *options, *interpreter, "-a", arguments))
