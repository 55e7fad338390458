"""Fifty followers of one run: what they cost between two lines, and how old a line is when it arrives.

The peer is `journalctl --follow` on the node itself, as one process.
"""

from __future__ import annotations

import re
import selectors
import subprocess
import time
from collections.abc import Iterator

from tests.bench import client
from tests.bench import node as nodes
from tests.bench.table import Goal, Row
from tests.lab.machine import Machine
from tests.lab.network import Netns

FOLLOWERS, LINES, QUIET_S = 50, 20, 10
LINE = re.compile(r"line \d+ at ([0-9.]+)")
# The shell itself writes each line, because only lines of the run's main process are in its log.
SCRIPT = f"""\
#!/bin/sh
test "$1" = config && exec cat {nodes.STUB}/settings
number=0
while test -e {nodes.STUB}/hold; do
    sleep 0.2
    test -e {nodes.STUB}/talk && number=$((number + 1)) && echo "line $number at $(date +%s.%N)"
done
"""
READERS = "pgrep -f '[r]ead-log'"


def measure(node: Machine, crowd: Netns, scale: float) -> Iterator[Row]:
    """Yield the rows about followers."""
    lines = max(5, int(LINES * scale))
    node.write(f"{nodes.STUB}/puppet", SCRIPT, 0o755)
    access = "[access]\ncooldown = 0\nanonymous = trigger status logs\n"
    node.write(nodes.CONFIG, f"{access}[puppet]\npath = {nodes.STUB}/puppet\n")
    nodes.stop_listener(node)
    talk, hold = nodes.inside(node, f"{nodes.STUB}/talk"), nodes.inside(node, f"{nodes.STUB}/hold")
    hold.touch()
    run = client.ask(node.address, nodes.PORT, nodes.TRIGGER).run
    before = nodes.memory_mib(node)
    peer = node.popen("journalctl", "--follow", "--output=cat", f"_SYSTEMD_INVOCATION_ID={run}")
    assert peer.stdout
    waiting = selectors.DefaultSelector()
    waiting.register(peer.stdout, selectors.EVENT_READ, None)
    sources = [f"10.77.0.{number}" for number in range(210, 226)]
    request = f"GET /puppet/runs/{run}/log?follow=true HTTP/1.1\r\nHost: node\r\n\r\n".encode()
    followers = []
    for number in range(FOLLOWERS):
        follower = crowd.connect(node.address, nodes.PORT, source=sources[number % len(sources)])
        follower.sendall(request)
        followers.append(follower)
    for follower in followers:
        follower.recv(65536)
        waiting.register(follower, selectors.EVENT_READ, follower)
    time.sleep(1)
    pids = "systemctl show -P MainPID puppet-twitch.service; " + READERS
    spent = _cpu_s(node, pids)
    time.sleep(QUIET_S * scale)
    share = 100 * (_cpu_s(node, pids) - spent) / (QUIET_S * scale)
    more = nodes.memory_mib(node) - before + nodes.memory_mib(node, pids=READERS)
    talk.touch()
    ages: list[float] = []
    theirs: list[float] = []
    until = time.monotonic() + 60
    while len(ages) < lines * FOLLOWERS and time.monotonic() < until:
        for key, _ in waiting.select(1):
            text = _read(key.data, peer)
            now = time.time()
            found = [1000 * (now - float(written)) for written in LINE.findall(text)]
            (ages if key.data else theirs).extend(found)
    readers = nodes.count(node, READERS)
    talk.unlink()
    hold.unlink()
    for follower in followers:
        follower.close()
    peer.kill()
    peer.wait()
    nodes.await_end(node, run)
    nodes.prepare(node)
    yield Row(f"{FOLLOWERS} followers of a run: log readers", "", [readers], Goal(1))
    yield Row("… CPU between lines", "% of a core", [share], Goal(2))
    yield Row("… resident, more than without", "MiB", [more], Goal(24))
    yield Row("… age of a line", "ms", ages, Goal(500, "p95"), theirs, "peer: journalctl --follow")


def _read(follower: object, peer: subprocess.Popen[str]) -> str:
    if follower is None:
        assert peer.stdout
        return peer.stdout.readline()
    data: bytes = follower.recv(65536)  # type: ignore[attr-defined]
    return data.decode()


def _cpu_s(node: Machine, pids: str) -> float:
    """Return the CPU time of processes."""
    script = f"for pid in $({pids}); do cut -d' ' -f14,15 /proc/$pid/stat; done; getconf CLK_TCK"
    *spent, ticks = map(int, node.sh(script).stdout.split())
    return sum(spent) / ticks
