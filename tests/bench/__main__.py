"""`make bench`: the cost of puppet-twitch, beside a peer on the same machine in the same run.

It prints one table, and writes everything to a JSON file. A figure that misses its goal is marked MISSED
and is no failure: times depend on the machine, and the table is for reading, not for CI.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench import client, crowds, fairness, followers, loads, triggers, waits
from tests.bench import node as nodes
from tests.bench.table import MISSED, Goal, Row, table, write
from tests.lab.errors import LabError
from tests.lab.install import install
from tests.lab.lab import Lab
from tests.lab.machine import Machine

QUICK = 0.2
# Six minutes on a quiet machine. SIGALRM ends a bench that waits for ever.
TIMEOUT_S = 3600
PARTS = (
    *("rest", "triggers", "waits", "tls", "loads", "crowds"),
    *("fairness", "followers", "real", "systems"),
)


def main() -> int:
    """Measure, print and write; return 0 if everything could be measured, goals missed or not."""
    options = _options()
    signal.alarm(TIMEOUT_S)
    scale = QUICK if options.quick else 1.0
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rows: list[Row] = []
    began = time.monotonic()
    with Lab() as lab, tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(loads.WRK_REPORT)
        script.flush()
        # `extra`, to tell a bench from the tests' machines in a process list.
        node = lab.boot("extra", image="debian12-bench")
        install(node)
        nodes.prepare(node)
        crowd = lab.client(*(f"10.77.0.{number}" for number in range(210, 226)))
        conditions = _conditions(node, scale)
        parts = {
            "rest": lambda: _rest(node),
            "triggers": lambda: triggers.measure(node, scale),
            "waits": lambda: waits.measure(node, scale),
            "tls": lambda: waits.measure_tls(node, scale),
            "loads": lambda: loads.measure(node, crowd, scale, script.name),
            "crowds": lambda: crowds.measure(node, crowd, scale),
            "fairness": lambda: fairness.measure(node, crowd, scale),
            "followers": lambda: followers.measure(node, crowd, scale),
            "real": lambda: triggers.measure_real(node, scale),
            "systems": lambda: waits.measure_systems(lab, scale),
        }
        for name in options.parts or PARTS:
            for row in parts[name]():
                print(f"bench: {time.monotonic() - began:4.0f} s  {row.what}", file=sys.stderr)
                rows.append(row)
    conditions["load at the end"] = os.getloadavg()
    write(options.json, conditions, rows)
    print(table(rows))
    missed = sum(row.missed for row in rows)
    print(f"{missed} of {sum(bool(row.goal) for row in rows)} goals {MISSED}; written to {options.json}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the samples")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"{part}: there are {', '.join(PARTS)}")
    return options


def _conditions(node: Machine, scale: float) -> dict[str, Any]:
    versions = "systemctl --version | head -n1; python3 --version; webhook -version; puppet --version"
    return {
        "versions": node.sh(versions).stdout.splitlines(),
        "cores": os.cpu_count(),
        "load at the beginning": os.getloadavg(),
        "scale": scale,
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


def _rest(node: Machine) -> Iterator[Row]:
    """Yield the rows about an idle node, and about the listener between requests."""
    nodes.stop_listener(node)
    nodes.await_quiet(node)
    ours, theirs = nodes.count(node, nodes.OURS), nodes.count(node, nodes.PEERS)
    yield Row("idle: processes", "", [ours], Goal(0), [theirs])
    yield Row("idle: resident", "MiB", [nodes.memory_mib(node, pids=nodes.OURS)], Goal(0), [_peer_mib(node)])
    nodes.await_end(node, client.ask(node.address, nodes.PORT, nodes.TRIGGER).run)
    for _ in range(100):
        client.ask(node.address, nodes.PORT, "/version")
        client.ask(node.address, nodes.PEER_PORT, "/hooks/nothing")
    client.ask(node.address, nodes.PORT, "/puppet/status")
    note = "after a trigger, a status and 100 others"
    yield Row("serving: resident", "MiB", [nodes.memory_mib(node)], Goal(18), [_peer_mib(node)], note)
    pss = "awk '/^Pss:/{print $2}' /proc/$(systemctl show -P MainPID puppet-twitch.service)/smaps_rollup"
    yield Row("serving: of that not shared (PSS)", "MiB", [int(node.sh(pss).stdout) / 1024])
    nodes.inside(node, f"{nodes.STUB}/hold").touch()
    run = client.ask(node.address, nodes.PORT, nodes.TRIGGER).run
    nodes.stop_listener(node)
    pids = f"{nodes.OURS} | grep -vx $(systemctl show -P MainPID 'puppet-twitch-run@*')"
    during = nodes.count(node, pids)
    nodes.inside(node, f"{nodes.STUB}/hold").unlink()
    nodes.await_end(node, run)
    yield Row("during a run: processes but Puppet", "", [during], Goal(0))
    shown = node.run("systemd-analyze", "security", "--no-pager", nodes.LISTENER).stdout
    exposure = re.findall(r"exposure level for \S+: ([0-9.]+)", shown)
    yield Row("sandbox: systemd-analyze security", "of 10", [float(exposure[0])], Goal(0.5))


def _peer_mib(node: Machine) -> float:
    return nodes.memory_mib(node, pids=nodes.PEERS)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"bench: {error}")
