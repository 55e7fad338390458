"""The whole command: 10,000 nodes with runs of 5 to 60 s, 500 at once, followed by PuppetDB to the proofs."""

from __future__ import annotations

import heapq
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import fleet_nodes
from tests.bench.table import Goal, Row, percentile
from tests.bench_fleet import figures
from tests.fleet_nodes import Fleet

NODES = 10_000
AT_ONCE = 500
RUN_S = (5.0, 60.0)
ORDERS = 21  # of which the median is the ideal

PERCENT_OVER = 5


def measure(directory: Path, scale: float) -> Iterator[Row]:
    """Yield the rows about a run of the whole command, over TLS and with an EC certificate."""
    count = int(NODES * scale)
    at_once = min(AT_ONCE, count // 4)  # so that a quick run takes two minutes, and not eleven
    with fleet_nodes.start(count, run_s=RUN_S, tls=True) as fleet:
        lengths = [spec.run_s for spec in fleet.specs]
        best_s = percentile([ideal_s(lengths, at_once, seed) for seed in range(ORDERS)], 50)
        result = directory / "result.jsonl"
        cost = figures.of_module(
            "tests.bench_fleet.command", directory, *options(fleet), "--at-once", str(at_once),
            *("--follow", "puppetdb", "--puppetdb", fleet.puppetdb.url, "--json", result),
            *("--query", "nodes[certname]{}", "--address-fact", "networking.ip"),
        )  # fmt: skip
        started, asked = fleet.started(), fleet.puppetdb.requests
    took_s, outcomes, proven = _told(result)
    name = f"{count:,} runs of {RUN_S[0]:.0f} to {RUN_S[1]:.0f} s, {at_once} at once"
    note = (
        f"the ideal of {best_s:.1f} s is that of slots without any delay that take the nodes in random order;"
        f" the sum of all runs, divided by the slots, is {sum(lengths) / at_once:.1f} s"
    )
    over = 100 * (took_s / best_s - 1)
    yield Row(f"{name}: wall over the ideal", "%", [over], Goal(PERCENT_OVER), note=note)
    yield Row(f"{name}: wall", "s", [took_s], note="from the first request to the last proof")
    yield Row(f"{name}: CPU of the command", "s", [cost.cpu_s], note=f"{asked} requests to PuppetDB")
    yield Row(f"{name}: peak resident", "MiB", [cost.peak_mib])
    yield Row(f"{name}: not run, or run twice", "", [_wrong(started)], Goal(0))
    yield Row(f"{name}: not changed and proven", "", [count - min(proven, outcomes["changed"])], Goal(0))


def options(fleet: Fleet) -> list[str]:
    """Return the options of `run` for a fleet, but those that say which nodes."""
    files = fleet.credentials
    how = ["--plain-http"]
    if fleet.tls:
        how = ["--ca", str(files.ca), "--cert", str(files.cert), "--key", str(files.key)]
    return ["run", "--yes", "--quiet", "--puppetserver", "none", "--port", str(fleet.port), *how]


def ideal_s(lengths: Sequence[float], slots: int, seed: int) -> float:
    """Return how long runs take if each slot takes the next one at once, in the random order of a seed.

    A tool that does not know the lengths cannot do better. The sum divided by the slots cannot be reached:
    at the end there are fewer runs than slots.
    """
    order = list(lengths)
    random.Random(seed).shuffle(order)
    ends = [0.0] * slots
    for length in order:
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)


def _told(result: Path) -> tuple[float, Counter[str], int]:
    """Return from the result file how long it took, the nodes by outcome, and how many are proven."""
    outcomes: dict[str, str] = {}
    proven: set[str] = set()
    first = last = 0.0
    for line in map(json.loads, result.read_text().splitlines()):
        if line["line"] != "node":
            continue
        first, last = first or line["time"], line["time"]
        outcomes[line["node"]] = line.get("outcome", line["event"])
        if line["event"] == "proven":
            proven.add(line["node"])
    return last - first, Counter(outcomes.values()), len(proven)


def _wrong(started: dict[str, list[str]]) -> int:
    return sum(len(runs) != 1 for runs in started.values())
