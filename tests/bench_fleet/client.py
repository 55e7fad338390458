"""The client of the command alone, in a process of its own: `python3 -m tests.bench_fleet.client OUT JOB`.

It triggers a run on each node, or waits for its end as well, so many at once, with the code that the command
uses (twitch/fleet/node), and counts the statuses of the answers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple, Optional

from tests.bench_fleet import figures
from tests.fleet_nodes import Fleet
from twitch.fleet import loop
from twitch.fleet.events import Ask
from twitch.fleet.node import access
from twitch.fleet.node.access import Access
from twitch.fleet.node.api import NodeApi
from twitch.fleet.nodes import Node


class Work(NamedTuple):
    """What the client has to do."""

    port: int
    nodes: list[tuple[str, Optional[str]]]
    at_once: int
    wait_s: int = 0
    token: Optional[str] = None
    ca: Optional[str] = None  # None: plain HTTP
    cert: Optional[str] = None
    key: Optional[str] = None


def work(fleet: Fleet, at_once: int, *, with_token: bool = False, wait_s: int = 0) -> Work:
    """Return the work on all nodes of a fleet, over TLS if the fleet has TLS, and by its operator."""
    files, token = fleet.credentials, fleet.credentials.token
    nodes = [(node.name, node.address) for node in fleet.nodes]
    if not fleet.tls:
        return Work(fleet.port, nodes, at_once, wait_s)
    if with_token:
        return Work(fleet.port, nodes, at_once, wait_s, token=token, ca=str(files.ca))
    return Work(
        fleet.port, nodes, at_once, wait_s, ca=str(files.ca), cert=str(files.cert), key=str(files.key)
    )


def measure(todo: Work, directory: Path) -> figures.Figures:
    """Do the work in another process; return what it has cost."""
    path = directory / "work.json"
    path.write_text(json.dumps(todo._asdict()))
    return figures.of_module("tests.bench_fleet.client", directory, path)


async def _do(todo: Work) -> Counter[str]:
    answers: Counter[str] = Counter()
    nodes = iter([Node(name, address) for name, address in todo.nodes])

    async def one_after_the_other(api: NodeApi) -> None:
        for node in nodes:
            answer = await api.trigger(node, Ask(label="fleet-00000000"), wait_s=todo.wait_s)
            answers[str(answer.status)] += 1

    async with NodeApi(_access(todo), connections=todo.at_once) as api:
        await asyncio.gather(*(one_after_the_other(api) for _ in range(todo.at_once)))
    return answers


def _access(todo: Work) -> Access:
    if todo.ca is None:
        return Access(todo.port)
    ca, cert, key = (Path(path) if path else None for path in (todo.ca, todo.cert, todo.key))
    return Access(todo.port, access.tls(access.Files(ca, cert, key)), todo.token)


if __name__ == "__main__":
    began = time.monotonic()
    answers = loop.run(_do(Work(**json.loads(Path(sys.argv[2]).read_text()))))
    figures.of_this_process(began, counts=dict(answers)).write(sys.argv[1])
