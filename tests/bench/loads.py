"""The listener under load: answers per second, CPU, peak memory, and how often root is asked."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

from tests.bench import client
from tests.bench import node as nodes
from tests.bench.table import Goal, Row
from tests.lab.machine import Machine
from tests.lab.network import Netns

# hey counts every answer, so it shows what was lost; wrk is faster, and shows what is possible.
LOAD_S, CONNECTIONS, CLIENTS = 5, 16, 8
RAPID = 5000

# Prints the result as one line of JSON; the duration is in microseconds.
WRK_REPORT = """\
done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('{"requests": %d, "us": %d, "lost": %d, "refused": %d}\\n', summary.requests,
        summary.duration, e.connect + e.read + e.write + e.timeout, e.status))
end
"""


class Wrk:
    """wrk in a client's namespace, for a number of seconds."""

    def __init__(self, crowd: Netns, seconds: float, script: str) -> None:
        self._crowd, self._seconds, self._script = crowd, seconds, script

    def run(self, url: str) -> dict[str, int]:
        """Return how many requests were answered, in how many microseconds, and how many were lost."""
        options = ("-t1", f"-c{CONNECTIONS}", f"-d{self._seconds:g}s", "-s", self._script)
        done = self._crowd.run("wrk", *options, url, timeout_s=self._seconds + 60)
        result: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
        return result


def measure(node: Machine, crowd: Netns, scale: float, script: str) -> Iterator[Row]:
    """Yield the rows about many requests; `script` is a file with WRK_REPORT."""
    wrk = Wrk(crowd, max(1, LOAD_S * scale), script)
    repeat = 3 if scale >= 1 else 1
    ours, theirs = f"http://{node.address}:{nodes.PORT}", f"http://{node.address}:{nodes.PEER_PORT}"
    peer_404 = [wrk.run(f"{theirs}/hooks/nothing") for _ in range(repeat)]
    goal = Goal(3000, at_least=True)
    lost = refused_peak = 0.0
    for what, target, peer in (("/version", "/version", []), ("refused (404)", "/nothing", peer_404)):
        nodes.stop_listener(node)
        client.ask(node.address, nodes.PORT, "/version")
        cpu_s, runs = nodes.cpu_s(node), []
        for _ in range(repeat):
            runs.append(wrk.run(ours + target))
        requests = sum(run["requests"] for run in runs)
        cost = [1e6 * (nodes.cpu_s(node) - cpu_s) / requests]
        lost += sum(run["lost"] for run in runs)
        refused_peak = max(refused_peak, nodes.memory_mib(node, "VmHWM"))
        yield Row(f"{what} in a second", "1/s", _rates(runs), goal, _rates(peer))
        yield Row(f"CPU of 1,000 {what}", "ms", cost, note="the whole machine's")
    yield Row("answers lost in these", "", [lost], Goal(0))
    yield Row("peak resident in these", "MiB", [refused_peak], Goal(40))
    yield from _busy(node, wrk, ours)
    yield from _status(node, wrk, ours)
    yield from _rapid(node, crowd, scale)


def _rates(runs: list[dict[str, int]]) -> list[float]:
    return [1e6 * run["requests"] / run["us"] for run in runs]


def _busy(node: Machine, wrk: Wrk, url: str) -> Iterator[Row]:
    """Yield the rows about triggers while Puppet runs: the listener refuses by itself, and root sleeps."""
    hold = nodes.inside(node, f"{nodes.STUB}/hold")
    hold.touch()
    try:
        run = client.ask(node.address, nodes.PORT, nodes.TRIGGER).run
        asked, began, cpu_s = nodes.questions(node), time.monotonic(), nodes.cpu_s(node)
        load = wrk.run(url + nodes.TRIGGER)
        cost = 1e6 * (nodes.cpu_s(node) - cpu_s) / load["requests"]
        woken = (nodes.questions(node) - asked) / (time.monotonic() - began)
    finally:
        hold.unlink()
    nodes.await_end(node, run)
    yield Row("refused triggers (409) in a second", "1/s", _rates([load]), Goal(3000, at_least=True))
    yield Row(
        "CPU of 1,000 refused triggers", "ms", [cost], note="with the stub's own, which waits meanwhile"
    )
    yield Row(
        "root asked in a second by these", "1/s", [woken], Goal(1.5), note="goal 1, and one at either end"
    )


def _status(node: Machine, wrk: Wrk, url: str) -> Iterator[Row]:
    asked, began = nodes.questions(node), time.monotonic()
    load = wrk.run(f"{url}/puppet/status")
    woken = (nodes.questions(node) - asked) / (time.monotonic() - began)
    nodes.await_quiet(node)
    yield Row("/puppet/status in a second", "1/s", _rates([load]))
    yield Row("root asked in a second by /puppet/status", "1/s", [woken], Goal(1.5))


def _rapid(node: Machine, crowd: Netns, scale: float) -> Iterator[Row]:
    """A new connection for each request."""
    nodes.stop_listener(node)
    count = max(500, int(RAPID * scale))
    options = ("-n", str(count), "-c", str(CLIENTS), "-disable-keepalive", "-t", "20")
    rates, answered = [], []
    for port, target in ((nodes.PORT, "/version"), (nodes.PEER_PORT, "/hooks/nothing")):
        output = crowd.run("hey", *options, f"http://{node.address}:{port}{target}", timeout_s=120).stdout
        rates.append(float(re.findall(r"Requests/sec:\s+([0-9.]+)", output)[0]))
        answered.append(sum(int(one) for one in re.findall(r"\[[0-9]{3}\]\s+([0-9]+) responses", output)))
    peak = nodes.memory_mib(node, "VmHWM")
    what = f"{count:,} connections, one request each"
    yield Row(f"{what}: in a second", "1/s", rates[:1], peer=rates[1:])
    yield Row(f"{what}: lost", "", [float(count - answered[0])], Goal(0), [float(count - answered[1])])
    yield Row(f"{what}: peak resident", "MiB", [peak], Goal(40))
