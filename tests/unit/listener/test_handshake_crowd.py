"""Handshakes by the hundred, silent, slow, cut off or garbage: nobody waits for anybody else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from pathlib import Path

import pytest

from tests.unit import tlswire
from tests.unit.pki import PKI
from twitch.listener import handshake, room, server


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    return PKI(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def credentials(pki: PKI) -> Path:
    return pki.hand_over(pki.directory / "credentials", *pki.certificate("node"))


async def test_silent_and_slow_handshakes_do_not_block_others(pki: PKI, credentials: Path) -> None:
    with contextlib.ExitStack() as held:
        async with tlswire.node(pki, credentials) as node:
            for number in range(300):  # more than there are places
                one = held.enter_context(node.connect(f"127.0.1.{number % 10 + 1}"))
                if number % 2:
                    one.sendall(b"\x16\x03\x01")  # a handshake that goes no further
            for _ in range(5):
                assert (await node.ask(pki.certificate("good"))).startswith(b"HTTP/1.1 200 ")
    assert len(node.listener._connections) == 0


async def test_silent_handshakes_of_one_address_do_not_keep_others_behind_it_out(
    pki: PKI, credentials: Path
) -> None:
    with contextlib.ExitStack() as held:
        async with tlswire.node(pki, credentials) as node:
            for number in range(100):
                one = held.enter_context(node.connect("127.0.1.1"))
                if number % 2:
                    one.sendall(b"\x16\x03\x01")
            crowd = node.listener._connections
            while crowd.line or not all(crowd._is_idle(one, room.FAIR_S) for one in crowd):
                await asyncio.sleep(0.01)
            for _ in range(5):
                assert (await node.ask(source="127.0.1.1")).startswith(b"HTTP/1.1 200 ")
            assert (await node.ask(source="127.0.1.2")).startswith(b"HTTP/1.1 200 ")
            assert len(list(crowd)) <= room.MAX_PER_ADDRESS


async def test_handshake_has_more_time_than_a_silent_client(
    pki: PKI, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "HANDSHAKE_FACTOR", 10**6)
    context = ssl._create_unverified_context()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing := ssl.MemoryBIO())
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    with contextlib.ExitStack() as held:
        async with tlswire.node(pki, credentials) as node:
            for number in range(2 * room.MAX_PER_ADDRESS):
                one = held.enter_context(node.connect("127.0.1.1"))
                one.sendall(hello if number == 0 else b"")
            crowd = node.listener._connections
            while len(crowd) + len(node.service.drops) < 2 * room.MAX_PER_ADDRESS or crowd.line:
                await asyncio.sleep(0.01)
            assert [one.shakes_hands for one in crowd].count(True) == 1
            assert node.service.drops == [room.DISPLACED] * room.MAX_PER_ADDRESS


async def test_certificate_gets_through_strangers_that_shake_hands_without_end_at_its_address(
    pki: PKI, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FAIR_S", 3600)  # these clients and the listener share a loop
    monkeypatch.setattr(room, "LINE_S", 3600)
    monkeypatch.setattr(handshake, "HANDSHAKE_TIMEOUT_S", 3600)
    certificate = pki.certificate("deploy")
    done, context = asyncio.Event(), ssl._create_unverified_context()
    async with tlswire.node(pki, credentials) as node:

        async def stranger() -> None:
            while not done.is_set():
                reader, writer = await asyncio.open_connection("127.0.0.1", node.port, ssl=context)
                writer.write(tlswire.GET)
                assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
                writer.close()

        crowd = [asyncio.create_task(stranger()) for _ in range(2 * room.MAX_PER_ADDRESS)]
        while len(node.service.seen) < len(crowd):
            await asyncio.sleep(0.01)
        for _ in range(5):
            assert (await node.ask(certificate)).startswith(b"HTTP/1.1 200 ")
        done.set()
        await asyncio.gather(*crowd)
        assert node.service.drops == []


@pytest.mark.parametrize(
    "said", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "a-byte", "a-head"]
)
async def test_a_handshake_that_takes_too_long_ends(
    pki: PKI, credentials: Path, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "HANDSHAKE_TIMEOUT_S", 0.2)
    async with tlswire.node(pki, credentials) as node:

        def stay() -> bytes:
            with node.connect() as plain:
                plain.sendall(said)
                return plain.recv(100)

        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(stay) == b""
        assert node.service.drops == ["TLS handshake too slow"]


async def test_stopping_does_not_wait_for_a_handshake(
    pki: PKI, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "HANDSHAKE_TIMEOUT_S", 3600)
    monkeypatch.setattr(server, "STOP_GRACE_S", 0.05)
    with contextlib.ExitStack() as held:
        async with tlswire.node(pki, credentials) as node:
            held.enter_context(node.connect())
            held.enter_context(node.connect()).sendall(b"\x16\x03\x01")
            while len(node.listener._handshakes) < 2:
                await asyncio.sleep(0)


async def test_coming_and_going_at_every_moment_leaves_nothing_behind(pki: PKI, credentials: Path) -> None:
    context = ssl._create_unverified_context()
    client = context.wrap_bio(incoming := ssl.MemoryBIO(), outgoing := ssl.MemoryBIO())
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    assert incoming.pending == 0
    hello = outgoing.read()
    async with tlswire.node(pki, credentials) as node:
        for length in range(0, len(hello) + 1, 16):
            for linger in (b"\0\0\0\0\0\0\0\0", b"\1\0\0\0\0\0\0\0"):  # FIN, RST
                with node.connect() as plain:
                    plain.sendall(hello[:length])
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                await asyncio.sleep(0)
        while node.listener._connections:
            await asyncio.sleep(0)
        assert (await node.ask()).startswith(b"HTTP/1.1 200 ")
    assert len(node.listener._connections) == 0
    assert not node.listener._handshakes


async def test_garbage_after_the_first_byte_is_counted(pki: PKI, credentials: Path) -> None:
    async with tlswire.node(pki, credentials) as node:

        def ask() -> bytes:
            with node.connect() as plain:
                plain.sendall(b"\x16" + os.urandom(200))
                with contextlib.suppress(ConnectionResetError):
                    return b"".join(iter(lambda: plain.recv(65536), b""))
                return b""

        for _ in range(20):
            assert b"HTTP/1.1" not in await asyncio.to_thread(ask)
        assert node.service.seen == []
        assert {text.split()[0] for text in node.service.drops} <= {"TLS"}
