"""A process of simulated nodes: `python3 -m tests.fleet_nodes.nodes_process SCENE DESCRIPTOR`.

The descriptor is a line to the process that simulates PuppetDB, which gets a report of each run.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import ssl
import sys
from pathlib import Path
from typing import Any, Callable

from tests.fleet_nodes import control
from tests.fleet_nodes.scene import NodeSpec, Scene
from tests.fleet_nodes.serving import ServedNode, Site
from twitch import config
from twitch.listener import tls_context, tokens
from twitch.records import Record


async def main(scene: Scene, reports: socket.socket) -> None:
    """Serve until the test ends."""
    _, writer = await asyncio.open_connection(sock=reports)

    def reported(spec: NodeSpec, record: Record) -> None:
        writer.write(json.dumps({"certname": spec.name, **record.to_json()}).encode() + b"\n")

    site = _site(scene)
    nodes = {spec.name: ServedNode(spec, site, reported) for spec in scene.nodes}
    for node in nodes.values():
        await node.listen()
    commands: dict[str, Callable[..., Any]] = {
        "started": lambda: {name: node.root.started for name, node in nodes.items()},
        "die": lambda name: nodes[name].die(),
        "finish": lambda name: nodes[name].root.finish(),
    }
    await control.serve(commands, scene.longest_s)


def _site(scene: Scene) -> Site:
    directory = Path(scene.directory)
    context = impostor = None
    if scene.tls:
        context = _context(directory / "node.pem", directory / "node.key")
        context.load_verify_locations(directory / "ca.pem")
        context.verify_mode = ssl.CERT_OPTIONAL
        impostor = _context(directory / "impostor.pem", directory / "impostor.key")
    settings = config.load(str(directory / "puppet-twitch.conf"))
    return Site(scene.port, settings, tokens.load(str(directory / "tokens")), context, impostor)


def _context(cert: Path, key: Path) -> ssl.SSLContext:
    return tls_context.context(str(cert), str(key))


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(Scene.read(Path(sys.argv[1])), socket.socket(fileno=int(sys.argv[2]))))
