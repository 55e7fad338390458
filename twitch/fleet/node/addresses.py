"""The addresses of nodes: asked for in threads, so that a DNS server that is dead stalls nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any, Optional

from aiohttp.abc import AbstractResolver

from twitch.fleet.node.answers import DNS, NotReached
from twitch.fleet.nodes import Node

# glibc asks up to three servers twice, for 5 seconds each (resolv.conf(5)).
LOOK_UP_S = 30.0

# Threads that wait for DNS at once. The default of asyncio is a few more than there are cores, and a dead
# server then stalls every name (aiohttp issue 1152).
LOOK_UPS = 128

# A run is asked about for up to an hour, and an address can change meanwhile.
REMEMBERED_S = 300.0

Addresses = tuple[tuple[int, str], ...]  # each with its family


class AddressResolver(AbstractResolver):
    """Gives a connection the address of a node, while its URL has the certname.

    So Host, SNI and the name that TLS verifies are the certname, whatever the address is.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(LOOK_UPS)
        self._found: dict[str, tuple[float, Addresses]] = {}  # host of a URL -> until when, and addresses
        self._clock = asyncio.get_running_loop().time

    async def find(self, node: Node, host: str) -> int:
        """Make sure that the addresses of a node are there; return their number. Raises `NotReached`."""
        until, addresses = self._found.get(host, (0.0, ()))
        if until > self._clock():
            return len(addresses)
        addresses = _literal(node.address or node.name) or await self._look_up(node)
        self._found[host] = (self._clock() + REMEMBERED_S, addresses)
        return len(addresses)

    def forget(self, host: str) -> None:
        """Ask again the next time, because the address has not answered."""
        self._found.pop(host, None)

    def put_last(self, host: str) -> None:
        """Let the next connection begin with the next address."""
        until, addresses = self._found.get(host, (0.0, ()))
        if addresses:
            self._found[host] = (until, (*addresses[1:], *addresses[:1]))

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[Any]:
        """Return the addresses of a host, for aiohttp."""
        # Another request to the same node can have forgotten them meanwhile.
        _, addresses = self._found.get(host, (0.0, ()))
        if not addresses:
            raise OSError("the address is asked for again")
        return [
            {"hostname": host, "host": address, "port": port, "family": of, "proto": 0, "flags": FLAGS}
            for of, address in addresses
        ]

    async def close(self) -> None:
        """Do nothing: a thread that waits for DNS ends by itself, or with the process."""

    async def _look_up(self, node: Node) -> Addresses:
        # Many nodes have the same trouble, and then the same text.
        which = "" if node.address is None else f"{node.address}: "
        try:
            return await asyncio.wait_for(self._in_thread(node.address or node.name), LOOK_UP_S)
        except asyncio.TimeoutError as error:
            raise NotReached(f"DNS: {which}no answer within {LOOK_UP_S:g} s", DNS, sent=False) from error
        except (OSError, UnicodeError) as error:
            text = getattr(error, "strerror", None) or "not a name"
            raise NotReached(f"DNS: {which}{text}", DNS, sent=False) from error

    async def _in_thread(self, name: str) -> Addresses:
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Addresses] = loop.create_future()

        def done(addresses: Addresses, error: Optional[Exception]) -> None:
            self._free.release()  # only now, also if nobody waits any more
            if future.done():
                return
            if error:
                future.set_exception(error)
            else:
                future.set_result(addresses)

        def look_up() -> None:
            addresses: Addresses = ()
            error: Optional[Exception] = None
            try:
                addresses = _addresses(name)
            except (OSError, UnicodeError) as failure:
                error = failure
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(done, addresses, error)

        # Daemon threads: those of an executor are waited for at the end, for as long as DNS takes.
        threading.Thread(target=look_up, daemon=True).start()
        return await future


FLAGS = socket.AI_NUMERICHOST


def _addresses(name: str) -> Addresses:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys((int(family), str(address[0])) for family, _, _, _, address in found))


def _literal(name: str) -> Addresses:
    """Return the address if the name is one already."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError, UnicodeError):
            socket.inet_pton(family, name)
            return ((int(family), name),)
    return ()
