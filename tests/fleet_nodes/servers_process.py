"""The process beside the nodes: `python3 -m tests.fleet_nodes.servers_process SCENE DESCRIPTOR…`.

It is PuppetDB and puppetserver. Each descriptor is a line from a process of nodes, with reports.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable

from tests.fleet_nodes import control
from tests.fleet_nodes.puppetdb import PuppetDB
from tests.fleet_nodes.puppetserver import Puppetserver
from tests.fleet_nodes.scene import Scene

LINE_BYTES = 1 << 20


async def main(scene: Scene, lines: Sequence[socket.socket]) -> None:
    """Serve until the test ends."""
    database, server = PuppetDB(scene.nodes), Puppetserver()
    webs = {"puppetdb": database.web, "puppetserver": server.web}
    for web in webs.values():
        await web.start()
    readers = [asyncio.create_task(_take(database, line)) for line in lines]
    commands: dict[str, Callable[..., Any]] = {
        "urls": lambda: {name: web.url for name, web in webs.items()},
        "stop": lambda what: webs[what].stop(),
        "start": lambda what: webs[what].start(),
        "slow": lambda what, slow_s: setattr(webs[what], "slow_s", slow_s),
        "requests": lambda what: webs[what].requests,
        "set": lambda what, **fields: _set({"puppetdb": database, "puppetserver": server}[what], fields),
        "get": lambda what, field: getattr({"puppetdb": database, "puppetserver": server}[what], field),
        "hold": lambda holds: database.hold(holds),
        "fail_before": lambda names: database.fail_before(names),
    }
    await control.serve(commands, scene.longest_s)
    for reader in readers:
        reader.cancel()
    # Also where the test was killed, and cannot remove it: it has a token and keys.
    shutil.rmtree(scene.directory, ignore_errors=True)


def _set(thing: object, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        assert hasattr(thing, name), name
        setattr(thing, name, value)


async def _take(database: PuppetDB, line: socket.socket) -> None:
    reader, _ = await asyncio.open_connection(sock=line, limit=LINE_BYTES)
    while record := await reader.readline():
        database.take(json.loads(record))


if __name__ == "__main__":
    asyncio.run(main(Scene.read(Path(sys.argv[1])), [socket.socket(fileno=int(one)) for one in sys.argv[2:]]))
