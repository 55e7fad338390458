"""Servers on loopback for tests of what asks PuppetDB and the puppetservers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Callable, NamedTuple, Optional, Union

from tests.fleet_nodes.puppetdb import PuppetDB as Simulated
from tests.fleet_nodes.scene import NodeSpec
from tests.fleet_nodes.web import Reply, Web
from twitch.fleet.puppetdb.client import PuppetDB
from twitch.fleet.puppetdb.settings import Settings

Answer = Callable[[str, dict[str, Any]], Reply]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

# Long enough for any machine, and the end of a test that hangs.
PATIENCE_S = 60


@contextlib.asynccontextmanager
async def web(answer: Answer) -> AsyncIterator[Web]:
    """A server of JSON, which can go away."""
    server = Web(answer)
    await server.start()
    try:
        yield server
    finally:
        await _stopped(server)


async def _stopped(server: Web) -> None:
    """Stop a server, and let its connections come to their ends."""
    server.stop()
    while server._writers:
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def raw(handler: Handler, tls: Optional[ssl.SSLContext] = None) -> AsyncIterator[str]:
    """A server that does with each connection what a handler says; its URL."""

    handling: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handling.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await handler(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"http{'s' if tls else ''}://localhost:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        if handling:
            await asyncio.wait(handling, timeout=PATIENCE_S)


def unused_url() -> str:
    """Return the URL of a port where nothing listens: 9 is not one that a test gets."""
    return "http://127.0.0.1:9"


async def request(reader: asyncio.StreamReader) -> None:
    """Read the head of a request."""
    await reader.readuntil(b"\r\n\r\n")


class Asked(NamedTuple):
    """A client, and the bodies that its PuppetDB has got."""

    database: PuppetDB
    bodies: list[dict[str, Any]]


@contextlib.asynccontextmanager
async def puppetdb(
    rows: Union[list[dict[str, Any]], Callable[[Any], list[dict[str, Any]]]], version: str = "8.4.1"
) -> AsyncIterator[Asked]:
    """A client of a PuppetDB that answers each query with these rows, or with those of a function."""
    bodies: list[dict[str, Any]] = []

    def answer(path: str, fields: dict[str, Any]) -> Reply:
        if path == "/pdb/meta/v1/version":
            return Reply(200, {"version": version})
        if path == "/status/v1/services/puppetdb-status":
            return Reply(200, {"status": {"queue_depth": 0}})
        assert path == "/pdb/query/v4"
        bodies.append(json.loads(json.dumps(fields)))
        return Reply(200, rows(fields["query"]) if callable(rows) else rows)

    async with web(answer) as server, PuppetDB(Settings((server.url,), "test")) as database:
        yield Asked(database, bodies)


@contextlib.asynccontextmanager
async def simulated(*names: str, resources: Optional[list[dict[str, Any]]] = None) -> AsyncIterator[PuppetDB]:
    """A client of a PuppetDB that evaluates queries about these nodes, and these resources."""
    server = _WithResources([NodeSpec(name, "192.0.2.7", 1.0) for name in names], resources or [])
    await server.web.start()
    try:
        async with PuppetDB(Settings((server.web.url,), "test")) as database:
            yield database
    finally:
        await _stopped(server.web)


class _WithResources(Simulated):
    def __init__(self, nodes: list[NodeSpec], resources: list[dict[str, Any]]) -> None:
        super().__init__([])
        self._nodes = {node.name: _row(node) for node in nodes}
        self._resources = resources

    def _rows(self, entity: str) -> list[dict[str, Any]]:
        return self._resources if entity == "resources" else super()._rows(entity)


def _row(node: NodeSpec) -> dict[str, Any]:
    return {
        "certname": node.name,
        "latest_report_status": "failed" if node.name.startswith("bad") else "changed",
        "report_timestamp": "2026-11-26T11:40:22.219Z",
        "report_environment": "production",
        "catalog_environment": "production",
        "cached_catalog_status": "not_used",
        "facts.networking.ip": node.address,
        "facts.cluster": f"c{node.name[3:4]}",
        "trusted.extensions.pp_cluster": None,
    }
