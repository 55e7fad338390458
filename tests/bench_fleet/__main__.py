"""`make bench-fleet`: the cost of puppet-twitch-fleet, with thousands of simulated nodes on this machine.

The nodes are in processes of their own (tests/fleet_nodes), and the figures are those of the client alone:
its CPU does not depend on how fast the nodes are, its wall time does. As in `make bench`, a figure that
misses its goal is marked MISSED and is no failure.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import aiohttp

from tests.bench.table import MISSED, Row, percentile, table, write
from tests.bench_fleet import figures, peers, pressure, runs, triggers

QUICK = 0.1
# A quarter of an hour, of which eleven minutes are the 10,000 runs. SIGALRM ends a bench that waits for ever.
TIMEOUT_S = 3600
PEER = "peer"

Part = Callable[[Path, float], Iterator[Row]]

PARTS: dict[str, Part] = {
    "plain": triggers.plain,
    "tls": triggers.tls,
    "waits": triggers.waits,
    "peers": peers.measure,
    "runs": runs.measure,
    "pressure": pressure.measure,
}


def main() -> int:
    """Measure, print and write; return 0 if everything could be measured, goals missed or not."""
    options = _options()
    signal.alarm(TIMEOUT_S)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    scale = QUICK if options.quick else 1.0
    conditions, rows, began = _conditions(scale), [], time.monotonic()
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="bench-fleet-") as directory:
            for row in PARTS[part](Path(directory), scale):
                value = f"{percentile(row.ours, 50):.4g} {row.unit}"
                print(f"bench-fleet: {time.monotonic() - began:4.0f} s  {row.what}: {value}", file=sys.stderr)
                rows.append(row)
    conditions["load at the end"] = os.getloadavg()
    write(options.json, conditions, rows, PEER)
    print(table(rows, PEER))
    missed = sum(row.missed for row in rows)
    print(f"{missed} of {sum(bool(row.goal) for row in rows)} goals {MISSED}; written to {options.json}")
    before, after = (conditions[f"load at the {end}"][0] for end in ("beginning", "end"))
    print(f"{conditions['cores']} cores; load {before:.1f} at the beginning, {after:.1f} at the end")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-fleet", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the nodes, and of their goals")
    parser.add_argument("--json", type=Path, default=Path("build/bench-fleet.json"))
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"{part}: there are {', '.join(PARTS)}")
    return options


def _conditions(scale: float) -> dict[str, Any]:
    versions = {"python": platform.python_version(), "aiohttp": aiohttp.__version__}
    return {
        "versions": {**versions, "OpenSSL": ssl.OPENSSL_VERSION},
        "cores": os.cpu_count(),
        "load at the beginning": os.getloadavg(),
        "scale": scale,
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (figures.MeasuringError, OSError) as error:
        sys.exit(f"bench-fleet: {error}")
