"""Connections over TLS while CA, CRL and configuration change: what a client that is there already may do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit import tlswire
from tests.unit.echo import understood
from tests.unit.pki import PKI
from tests.unit.tlswire import GET, Node
from twitch.errors import MISCONFIGURED
from twitch.listener import connection, contexts, handshake, room

KEPT = b"GET / HTTP/1.1\r\nHost: node\r\n\r\n"
WAIT = KEPT.replace(b"/ ", b"/wait ", 1)


@pytest.fixture(autouse=True)
def long_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no connection end while openssl makes a CRL, which can take seconds on a busy machine."""
    monkeypatch.setattr(connection, "KEEP_ALIVE_S", 3600)


@pytest.fixture
def pki(tmp_path: Path) -> PKI:
    return PKI(tmp_path)


@pytest.fixture
def credentials(pki: PKI) -> Path:
    return pki.hand_over(pki.directory / "credentials", *pki.certificate("node"))


class Kept:
    """A connection over TLS that stays."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: bytes = KEPT) -> tuple[int, bytes]:
        self.writer.write(request)
        return await self.answer()

    async def answer(self) -> tuple[int, bytes]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split()[1]), await self.reader.readexactly(length)


@contextlib.asynccontextmanager
async def kept(node: Node, certificate: tuple[Path, Path]) -> AsyncIterator[Kept]:
    context = ssl._create_unverified_context()
    context.load_cert_chain(*certificate)
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port, ssl=context)
    try:
        yield Kept(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def write_crl(pki: PKI, credentials: Path, text: str) -> None:
    """Replace the CRL as Puppet does."""
    (credentials / "new").write_text(text)
    (credentials / "new").rename(credentials / "crl")


# ---- a revocation


async def test_a_revocation_refuses_the_next_connection(pki: PKI, credentials: Path) -> None:
    certificate = pki.certificate("web.example.com")
    async with tlswire.node(pki, credentials) as node:
        assert (await node.ask(certificate)).startswith(b"HTTP/1.1 200 ")
        pki.authority.revoke(certificate[0])
        write_crl(pki, credentials, pki.crls())
        with contextlib.suppress(OSError):
            assert await node.ask(certificate) == b""
        assert await node.first_drops() == ["TLS certificate revoked"]
        assert len(node.service.seen) == 1


async def test_a_revocation_ends_a_kept_connection_at_its_next_request(pki: PKI, credentials: Path) -> None:
    revoked, good = pki.certificate("web.example.com"), pki.certificate("good.example.com")
    async with tlswire.node(pki, credentials) as node, kept(node, revoked) as one, kept(node, good) as other:
        assert (await one.ask())[0] == (await other.ask())[0] == 200
        pki.authority.revoke(revoked[0])
        write_crl(pki, credentials, pki.crls())
        assert await one.ask() == (403, b"The client certificate has been revoked")
        assert await one.reader.read() == b""
        assert (await other.ask())[0] == 200
        assert [request.certname for request in node.service.seen].count("web.example.com") == 1


async def test_a_caller_that_waits_while_it_is_revoked_gets_its_answer_and_no_more(
    pki: PKI, credentials: Path
) -> None:
    certificate = pki.certificate("web.example.com")
    async with tlswire.node(pki, credentials) as node, kept(node, certificate) as one:
        one.writer.write(WAIT + KEPT)  # the second request is here before the first is answered
        while not node.service.seen:
            await asyncio.sleep(0)
        pki.authority.revoke(certificate[0])
        write_crl(pki, credentials, pki.crls())
        with contextlib.suppress(OSError):
            assert await node.ask(certificate) == b""  # also while another caller waits
        (waiting,) = (each for each in node.listener._connections if each.waiting)
        waiting.stop_waiting()  # its run has ended
        assert await one.answer() == (200, understood("GET", "/wait"))
        assert (await one.answer())[0] == 403
        assert await one.reader.read() == b""
        assert len(node.service.seen) == 1


async def test_a_crl_of_25000_revocations_is_served(pki: PKI, credentials: Path) -> None:
    revoked, good = pki.certificate("web.example.com"), pki.certificate("good.example.com")
    async with tlswire.node(pki, credentials) as node, kept(node, revoked) as one:
        assert (await one.ask())[0] == 200
        pki.authority.revoke_many(25_000)
        pki.authority.revoke(revoked[0])
        write_crl(pki, credentials, pki.crls())
        assert (credentials / "crl").stat().st_size > 1 << 20
        assert (await node.ask(good)).startswith(b"HTTP/1.1 200 ")
        assert (await one.ask())[0] == 403
        with contextlib.suppress(OSError):
            assert await node.ask(revoked) == b""
        assert await node.first_drops() == ["TLS certificate revoked"]


# ---- faults are answers, over TLS as well


@pytest.mark.parametrize("client", ["optional", "required"])
async def test_an_expired_crl_is_a_readable_answer_to_certificates(
    pki: PKI, credentials: Path, client: str, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = pki.certificate("web.example.com")
    async with tlswire.node(pki, credentials, client=client) as node:
        write_crl(pki, credentials, pki.authority.crl(until="200101000000Z") + pki.root.crl())
        for _ in range(2):
            answer = await node.ask(certificate)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert answer.endswith(contexts.NO_CERTIFICATES.encode())
        assert node.service.seen == []
        if client == "optional":
            assert (await node.ask()).startswith(b"HTTP/1.1 200 ")
        else:
            with contextlib.suppress(OSError):
                assert await node.ask() == b""
        # What is not of this CA gets no further than before.
        with contextlib.suppress(OSError):
            assert await node.ask(pki.certificate("foreign", by=pki.foreign)) == b""
        write_crl(pki, credentials, pki.crls())
        assert (await node.ask(certificate)).startswith(b"HTTP/1.1 200 ")
    assert caplog.messages == [f"[tls] the crl {credentials}/crl verifies no certificate: CRL has expired"]


FAULTS = {
    "configuration": lambda node, credentials: node.conf.write_text("nonsense"),
    "no-crl": lambda node, credentials: (credentials / "crl").unlink(),
    "no-ca": lambda node, credentials: (credentials / "ca").unlink(),
    "crl-garbage": lambda node, credentials: (credentials / "crl").write_bytes(os.urandom(1000)),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("running", [True, False], ids=["meanwhile", "from-the-start"])
async def test_a_fault_is_a_readable_answer(pki: PKI, credentials: Path, fault: str, running: bool) -> None:
    certificate = pki.certificate("web.example.com")
    async with tlswire.node(pki, credentials) as node:
        if running:
            assert (await node.ask(certificate)).startswith(b"HTTP/1.1 200 ")
        FAULTS[fault](node, credentials)
        for shown in (certificate, None):
            answer = await node.ask(shown)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert answer.endswith(MISCONFIGURED.encode())
        assert len(node.service.seen) == running


async def speak(node: Node, said: bytes, source: str = "127.0.0.1") -> bytes:
    def ask() -> bytes:
        with node.connect(source) as plain, contextlib.suppress(ConnectionError):
            plain.sendall(said)
            return b"".join(iter(lambda: plain.recv(65536), b""))
        return b""

    return await asyncio.to_thread(ask)


async def test_a_fault_is_readable_over_plain_http_too(pki: PKI, credentials: Path) -> None:
    async with tlswire.node(pki, credentials) as node:
        node.conf.write_text("nonsense")
        answer = await speak(node, GET)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(MISCONFIGURED.encode())


def hello() -> bytes:
    """Return the first flight of a TLS client."""
    client = ssl._create_unverified_context().wrap_bio(ssl.MemoryBIO(), outgoing := ssl.MemoryBIO())
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("missing", ["cert", "key", "all"])
async def test_without_certificate_and_key_a_handshake_ends_with_an_alert(
    pki: PKI, credentials: Path, missing: str
) -> None:
    for path in credentials.iterdir():
        if missing in ("all", path.name):
            path.unlink()
    async with tlswire.node(pki, credentials) as node:
        for listening in node.listener._sockets:  # as puppet-twitch.socket has it
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
        assert await speak(node, hello()) == handshake.INTERNAL_ERROR
        with pytest.raises(ssl.SSLError, match="TLSV1_ALERT_INTERNAL_ERROR"):
            await node.ask()
        assert (await speak(node, GET)).startswith(b"HTTP/1.1 503 ")
    assert node.service.drops == ["503 configuration or tokens invalid"] * 2


async def test_too_many_connections_is_a_readable_answer(
    pki: PKI, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_SERVED", 1)
    certificate = pki.certificate("web.example.com")
    async with tlswire.node(pki, credentials) as node, kept(node, certificate) as one:
        node.service.named = True  # an anonymous caller that waits would make room
        one.writer.write(WAIT)
        while not node.service.seen:
            await asyncio.sleep(0)
        answer = await node.ask(certificate)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 2\r\n" in answer
        assert answer.endswith(b"Too many connections")
        assert (await speak(node, GET)).endswith(b"Too many connections")
        assert len(node.service.seen) == 1


async def test_only_so_many_refused_clients_get_a_handshake(
    pki: PKI, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "MAX_REFUSED_HANDSHAKES", 2)
    with contextlib.ExitStack() as held:
        async with tlswire.node(pki, credentials) as node:
            node.conf.write_text("nonsense")
            silent = [held.enter_context(node.connect()) for _ in range(2)]
            while len(node.listener._handshakes) < 2:
                await asyncio.sleep(0)
            assert await speak(node, hello()) == b""
            assert node.service.drops == ["503 no room"]
            for one in silent:
                one.close()
            while node.listener._connections:
                await asyncio.sleep(0)
            assert (await node.ask()).startswith(b"HTTP/1.1 503 ")


# ---- sessions


@pytest.mark.parametrize("version", ["-tls1_3", "-tls1_2"])
@pytest.mark.parametrize("ticket", [[], ["-no_ticket"]], ids=["with-tickets", "without"])
async def test_a_session_is_not_resumed(
    pki: PKI, credentials: Path, tmp_path: Path, version: str, ticket: list[str]
) -> None:
    session = tmp_path / "session"
    cert, key = pki.certificate("web.example.com")
    async with tlswire.node(pki, credentials) as node:
        command = ("openssl", "s_client", "-connect", f"127.0.0.1:{node.port}", version, *ticket)
        certificate = ("-ign_eof", "-cert", os.fspath(cert), "-key", os.fspath(key))

        def visit(*options: str) -> bytes:
            done = subprocess.run((*command, *certificate, *options), input=GET, capture_output=True)
            return done.stdout

        first = await asyncio.to_thread(visit, "-sess_out", os.fspath(session))
        assert (b"HTTP/1.1 200" in first) == (version == "-tls1_3")
        if session.exists():
            assert b"Reused, " not in await asyncio.to_thread(visit, "-sess_in", os.fspath(session))
        assert b"Reused, " not in await asyncio.to_thread(visit, "-reconnect")
        trust = await node.listener._contexts.current()
        assert trust is not None
        statistics = trust.context.session_stats()
        assert (statistics["hits"], statistics["number"]) == (0, 0)


async def test_a_handshake_leaves_no_session_behind(pki: PKI, credentials: Path) -> None:
    async with tlswire.node(pki, credentials) as node:
        certificate = pki.certificate("web.example.com")
        # Files that have only just changed are read again at each look, and make another context.
        while (
            trust := await node.listener._contexts.current()
        ) is not await node.listener._contexts.current():
            await asyncio.sleep(0.01)
        for _ in range(50):
            await node.ask(certificate)
    assert trust is not None
    assert trust.context.session_stats()["accept_good"] == 50
    assert trust.context.session_stats()["number"] == 0


# ---- the journal


async def test_debug_lines_hold_nothing_of_a_certificate_but_its_name(
    pki: PKI, credentials: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    cert, key = pki.certificate("secret", "/CN=web.example.com/O=Confidential Ltd")
    foreign = pki.certificate("foreign", "/CN=web.example.com/O=Confidential Ltd", by=pki.foreign)
    async with tlswire.node(pki, credentials) as node:
        await node.ask((cert, key))
        with contextlib.suppress(OSError):
            await node.ask(foreign)
        pki.authority.revoke(cert)
        write_crl(pki, credentials, pki.crls())
        with contextlib.suppress(OSError):
            await node.ask((cert, key))
        await speak(node, b"\x16" + os.urandom(200))
        (credentials / "key").write_text("broken")
    logged = "\n".join(record.getMessage() + str(record.exc_info or "") for record in caplog.records)
    assert f"{credentials}/crl are read" in logged
    assert "no handshake: TLS certificate revoked" in logged
    assert "Confidential" not in logged
    assert "BEGIN" not in logged
    serial = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-in", cert], capture_output=True, text=True
    ).stdout
    for path in (cert, key, credentials / "cert", pki.directory / "node.key"):
        for line in path.read_text().splitlines()[1:-1]:
            assert line not in logged
    assert not re.search(rf"\b0*{serial.partition('=')[2].strip()}\b", logged)


async def test_a_connection_that_is_reset_while_a_fault_is_told_leaves_nothing(
    pki: PKI, credentials: Path
) -> None:
    async with tlswire.node(pki, credentials) as node:
        node.conf.write_text("nonsense")
        flight = hello()
        for length in range(0, len(flight) + 1, 32):
            with node.connect() as plain:
                plain.sendall(flight[:length])
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            for _ in range(3):
                await asyncio.sleep(0)
        while node.listener._connections:
            await asyncio.sleep(0)
        assert (await node.ask()).startswith(b"HTTP/1.1 503 ")
