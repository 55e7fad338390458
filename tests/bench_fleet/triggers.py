"""Triggers on thousands of nodes, and waits that are held: CPU and memory of the client, beside wall time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests import fleet_nodes
from tests.bench.table import Goal, Row
from tests.bench_fleet import client, figures
from tests.fleet_nodes import Fleet

NODES = 10_000
AT_ONCE = 100
HELD = 500
# Longer than all triggers take, so that no end of a run is in the figures of a trigger.
RUN_S = 900.0
# Longer than it takes to open the connections that are held at once, so that all of them are.
HELD_RUN_S, WAIT_S = 20.0, 120

PLAIN_CPU_S, TLS_CPU_S, PEAK_MIB = 6, 20, 200


def plain(directory: Path, scale: float) -> Iterator[Row]:
    """Yield the rows about triggers over plain HTTP, by anonymous callers."""
    with fleet_nodes.start(int(NODES * scale), run_s=(RUN_S, RUN_S), anonymous="trigger status") as fleet:
        yield from _rows("plain HTTP", fleet, client.work(fleet, AT_ONCE), directory, PLAIN_CPU_S * scale)


def tls(directory: Path, scale: float) -> Iterator[Row]:
    """Yield the rows about triggers over TLS 1.3, with an EC certificate, and with a token."""
    for what, with_token in (("EC client certificate", False), ("token", True)):
        with fleet_nodes.start(int(NODES * scale), run_s=(RUN_S, RUN_S), tls=True) as fleet:
            work = client.work(fleet, AT_ONCE, with_token=with_token)
            yield from _rows(f"TLS, {what}", fleet, work, directory, TLS_CPU_S * scale)


def waits(directory: Path, scale: float) -> Iterator[Row]:
    """Yield the rows about callers over TLS that all wait for the ends of their runs at the same time."""
    with fleet_nodes.start(HELD, run_s=(HELD_RUN_S, HELD_RUN_S), tls=True) as fleet:
        cost = client.measure(client.work(fleet, HELD, wait_s=WAIT_S), directory)
    yield Row(f"{HELD} held TLS waits: peak resident", "MiB", [cost.peak_mib], Goal(PEAK_MIB))
    yield Row(f"{HELD} held TLS waits: CPU", "s", [cost.cpu_s])
    yield Row(f"{HELD} held TLS waits: lost", "", [HELD - (cost.counts or {}).get("200", 0)], Goal(0))


def _rows(what: str, fleet: Fleet, work: client.Work, directory: Path, cpu_s: float) -> Iterator[Row]:
    name = f"{len(fleet.nodes):,} triggers, {what}"
    pids = [process.pid for process in fleet.processes]
    before = figures.cpu_s_of(pids)
    cost = client.measure(work, directory)
    simulated_s = figures.cpu_s_of(pids) - before
    twice = sum(len(runs) != 1 for runs in fleet.started().values())
    yield Row(f"{name}: CPU", "s", [cost.cpu_s], Goal(cpu_s))
    yield Row(
        f"{name}: wall", "s", [cost.wall_s], note=f"the simulated nodes took {simulated_s:.1f} s of CPU"
    )
    yield Row(f"{name}: peak resident", "MiB", [cost.peak_mib], Goal(PEAK_MIB))
    yield Row(
        f"{name}: not answered 202", "", [len(fleet.nodes) - (cost.counts or {}).get("202", 0)], Goal(0)
    )
    yield Row(f"{name}: not run, or run twice", "", [twice], Goal(0))
