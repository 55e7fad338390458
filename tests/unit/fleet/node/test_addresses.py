"""Addresses of nodes: in threads, so that a DNS server that is dead stalls nobody else."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from tests.unit.fleet.node.serving import LIMIT_S
from twitch.fleet.node import addresses
from twitch.fleet.node.addresses import AddressResolver
from twitch.fleet.node.answers import DNS, NotReached
from twitch.fleet.nodes import Node

FOUND = ((int(socket.AF_INET6), "2001:db8::7"), (int(socket.AF_INET), "192.0.2.7"))


@pytest.mark.parametrize(
    ("node", "address", "family"),
    [
        (Node("web01"), "192.0.2.9", socket.AF_INET),
        (Node("web01"), "2001:db8::9", socket.AF_INET6),
        (Node("192.0.2.9"), None, socket.AF_INET),
    ],
)
async def test_address_is_not_looked_up(
    node: Node, address: str | None, family: socket.AddressFamily
) -> None:
    resolver = AddressResolver()
    assert await resolver.find(node._replace(address=address), "web01") == 1
    (found,) = await resolver.resolve("web01", 2023)
    assert (found["host"], found["family"]) == (address or node.name, family)
    assert (found["hostname"], found["port"]) == ("web01", 2023)


async def test_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def look_up(name: str) -> addresses.Addresses:
        asked.append(name)
        return FOUND

    monkeypatch.setattr(addresses, "_addresses", look_up)
    resolver = AddressResolver()
    node = Node("web01", "web01.oob.example.com")
    for _ in range(3):
        assert await resolver.find(node, "web01") == 2
    assert asked == ["web01.oob.example.com"]
    resolver.put_last("web01")
    assert [one["host"] for one in await resolver.resolve("web01")] == ["192.0.2.7", "2001:db8::7"]
    resolver.forget("web01")
    await resolver.find(node, "web01")
    assert len(asked) == 2


async def test_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(addresses, "_addresses", fail)
    for node, text in (
        (Node("web01"), "DNS: Name or service not known"),
        (Node("web01", "web01.oob"), "DNS: web01.oob: Name or service not known"),
    ):
        with pytest.raises(NotReached) as caught:
            await AddressResolver().find(node, "web01")
        assert (caught.value.kind, caught.value.sent, str(caught.value)) == (DNS, False, text)


async def test_dead_dns_stalls_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "LOOK_UP_S", 0.2)
    alive = threading.Event()

    def look_up(name: str) -> addresses.Addresses:
        if name.startswith("dead"):
            alive.wait(LIMIT_S)
        return FOUND

    monkeypatch.setattr(addresses, "_addresses", look_up)
    resolver = AddressResolver()
    dead = [
        asyncio.ensure_future(resolver.find(Node(f"dead{n}"), f"dead{n}"))
        for n in range(addresses.LOOK_UPS - 1)
    ]
    try:
        assert await resolver.find(Node("web01"), "web01") == 2
        failed = await asyncio.gather(*dead, return_exceptions=True)
    finally:
        alive.set()
    assert {type(error) for error in failed} == {NotReached}
    assert str(failed[0]) == "DNS: no answer within 0.2 s"
    # The threads that were waited for in vain make room again.
    while resolver._free._value < addresses.LOOK_UPS:
        await asyncio.sleep(0)


async def test_an_address_that_another_request_has_forgotten_is_an_error_of_the_system() -> None:
    found = AddressResolver()
    await found.find(Node("web01", "192.0.2.9"), "web01")
    found.forget("web01")
    found.put_last("web01")
    with pytest.raises(OSError, match="asked for again"):
        await found.resolve("web01")
