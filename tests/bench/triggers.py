"""The cost of one trigger: the time of its answer, of Puppet's start and of the verdict, and the CPU."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.bench import client
from tests.bench import node as nodes
from tests.bench.table import Goal, Row
from tests.lab.machine import Machine

WARM, COLD, EACH, REAL = 60, 30, 30, 5

# Of the program in Ruby that puppet-twitch replaces, as measured on this kind of machine.
RUBY = "the Ruby program before puppet-twitch took 4,240 ms, and stayed resident with 14.1 MiB"


class Cost(NamedTuple):
    """The cost of one trigger, in milliseconds."""

    answer: float
    executed: float  # from the request to Puppet's execve
    cpu: float  # the whole machine's, until the verdict
    verdict: float  # from the request until the record has it and the unit is gone


def measure(node: Machine, scale: float) -> Iterator[Row]:
    """Yield the rows about triggers; `scale` shrinks the numbers of samples."""
    warm_n, cold_n, each_n = (max(3, int(scale * count)) for count in (WARM, COLD, EACH))
    peers = [_peer(node) for _ in range(warm_n)]
    by_hand = [direct(node) for _ in range(warm_n)]
    client.ask(node.address, nodes.PORT, "/version")
    warm = [_ours(node) for _ in range(warm_n)]
    note = "webhook answers before it has started anything, has no `busy`, and always runs"
    answers, theirs = [one.answer for one in warm], [one.answer for one in peers]
    yield Row("warm trigger: 202", "ms", answers, Goal(20), theirs, note)
    cold = [_ours(node, before=nodes.stop_listener) for _ in range(cold_n)]
    yield Row("cold trigger: 202", "ms", [one.answer for one in cold], Goal(100), note=RUBY)
    nodes.set_shape(node, per_connection=True)
    each = [_ours(node) for _ in range(each_n)]
    nodes.set_shape(node, per_connection=False)
    yield Row("trigger, a listener each: 202", "ms", [one.answer for one in each])
    executed = [one.executed for one in peers]
    yield Row("request to execve, warm", "ms", [one.executed for one in warm], peer=executed)
    yield Row("request to execve, cold", "ms", [one.executed for one in cold], peer=executed)
    floor = sorted(one.cpu for one in by_hand)[len(by_hand) // 2]
    note = f"the whole machine's, systemd and journald included, less the stub's own {floor:.1f}"
    cost, theirs = [one.cpu - floor for one in warm], [one.cpu - floor for one in peers]
    yield Row("CPU of a warm trigger beyond Puppet", "ms", cost, Goal(50), theirs, note)
    cost = [one.cpu - floor for one in cold]
    yield Row("CPU of a cold trigger beyond Puppet", "ms", cost, Goal(120), theirs)
    yield Row("after Puppet: to the verdict", "ms", [one.verdict - one.executed for one in warm], Goal(35))


def measure_real(node: Machine, scale: float) -> Iterator[Row]:
    """Yield the rows with Puppet itself, applying nothing, beside the same command by hand."""
    nodes.use_real_puppet(node)
    count = max(2, int(scale * REAL))
    nodes.await_end(node, client.ask(node.address, nodes.PORT, nodes.TRIGGER).run)
    cold = [_whole(node, before=nodes.stop_listener) for _ in range(count)]
    by_hand = [_by_hand(node) for _ in range(count)]
    yield Row("cold trigger with real Puppet: 202", "ms", [answer for answer, _ in cold], Goal(200))
    note = "peer column: the same puppet apply in a shell"
    yield Row(
        "real Puppet run, request to verdict", "ms", [whole for _, whole in cold], peer=by_hand, note=note
    )


def _ours(node: Machine, before: Callable[[Machine], None] | None = None) -> Cost:
    if before:
        before(node)
    known, cpu_s = len(nodes.began(node)), nodes.cpu_s(node)
    asked = client.ask(node.address, nodes.PORT, nodes.TRIGGER)
    if asked.status != 202:
        raise AssertionError(f"a trigger was answered {asked}")
    record = nodes.await_record(node, asked.run)
    done, cpu_ms = time.time(), 1000 * (nodes.cpu_s(node) - cpu_s)
    if record["verdict"] != "unchanged":
        raise AssertionError(f"a run of the stub ended with {record}")
    nodes.await_quiet(node)
    (executed,) = nodes.began(node)[known:]
    return Cost(asked.took_ms, 1000 * (executed - asked.began), cpu_ms, 1000 * (done - asked.began))


def _peer(node: Machine) -> Cost:
    known, cpu_s = len(nodes.began(node)), nodes.cpu_s(node)
    asked = client.ask(node.address, nodes.PEER_PORT, nodes.PEER_TRIGGER)
    if asked.status != 200:
        raise AssertionError(f"webhook answered {asked}")
    lock = nodes.inside(node, f"{nodes.STUB}/agent_catalog_run.lock")
    until = time.monotonic() + nodes.END_WITHIN_S
    while len(nodes.began(node)) == known or lock.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"the run of webhook did not end in {nodes.END_WITHIN_S} s")
        time.sleep(0.002)
    done, cpu_ms = time.time(), 1000 * (nodes.cpu_s(node) - cpu_s)
    (executed,) = nodes.began(node)[known:]
    return Cost(asked.took_ms, 1000 * (executed - asked.began), cpu_ms, 1000 * (done - asked.began))


def direct(node: Machine) -> Cost:
    """Run the stub alone, from a shell that runs already, so that entering the machine is not counted."""
    with subprocess.Popen(
        node.command(("/bin/sh",)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as shell:
        assert shell.stdin and shell.stdout
        shell.stdin.write(b"echo\n")
        shell.stdout.read(1)
        began, cpu_s = time.time(), nodes.cpu_s(node)
        shell.stdin.write(f"{nodes.STUB}/puppet agent; echo\n".encode())
        shell.stdout.read(1)
        done, cpu_ms = time.time(), 1000 * (nodes.cpu_s(node) - cpu_s)
        shell.stdin.close()
    return Cost(0, 1000 * (nodes.began(node)[-1] - began), cpu_ms, 1000 * (done - began))


def _whole(node: Machine, before: Callable[[Machine], None]) -> tuple[float, float]:
    before(node)
    asked = client.ask(node.address, nodes.PORT, nodes.TRIGGER)
    nodes.await_record(node, asked.run)
    whole_ms = 1000 * (time.time() - asked.began)
    nodes.await_quiet(node)
    return asked.took_ms, whole_ms


def _by_hand(node: Machine) -> float:
    began = time.time()
    node.run("puppet", "apply", "--detailed-exitcodes", "/root/site.pp")
    return 1000 * (time.time() - began)
