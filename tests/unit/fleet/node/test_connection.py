"""What goes wrong on the way to a node: each failure has a kind, one line, and says whether the request can
have arrived."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.unit.api_under_test import RUN, ApiUnderTest
from tests.unit.fleet.node.serving import LIMIT_S, NAME, NODE, answering, at_the_port, listener
from tests.unit.pki import PKI
from twitch.config import Config
from twitch.fleet.events import Ask
from twitch.fleet.node import addresses as node_addresses
from twitch.fleet.node import connection, open_files
from twitch.fleet.node.access import Access, Files, tls
from twitch.fleet.node.answers import DNS, GARBAGE, REFUSED, RESET, TIMEOUT, TLS, NotReached
from twitch.fleet.node.api import NodeApi
from twitch.fleet.nodes import Node
from twitch.listener import tls as listener_tls
from twitch.listener import tls_context

ANSWER = b'{"message": "Triggered puppet run", "run": "%s"}' % RUN.encode()
HEAD = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n"
GOOD = HEAD + b"Content-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER


async def failure(access: Access, node: Node = NODE) -> NotReached:
    """Trigger a run, and return why that was not possible."""
    async with NodeApi(access, connections=1) as api:
        with pytest.raises(NotReached) as caught:
            await asyncio.wait_for(api.trigger(node, Ask()), LIMIT_S)
    assert "\n" not in str(caught.value)
    return caught.value


# ---- plain HTTP


async def test_connection_refused_is_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    error = await failure(Access(port))
    assert (error.kind, error.sent) == (REFUSED, False)
    assert str(error) == f"port {port}: connection refused"


CUT = {
    "at-once": b"",
    "in-the-head": b"HTTP/1.1 202 Acc",
    "in-the-body": HEAD + b"Content-Length: 100\r\n\r\n{",
    "in-a-chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
async def test_answer_that_is_cut_may_have_been_sent(data: bytes, reset: bool) -> None:
    async with at_the_port(answering(data, reset=reset)) as port:
        error = await failure(Access(port))
    assert (error.kind, error.sent) == (RESET, True)


NOT_HTTP = {
    "ssh": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "zeros": b"\0" * 100,
    "two-lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "length-of-letters": HEAD + b"Content-Length: x\r\n\r\n{}",
    "endless-header": b"HTTP/1.1 202 Accepted\r\nX: " + b"x" * 100_000,
    "status": b"HTTP/1.1 99999 Accepted\r\n\r\n",
}


@pytest.mark.parametrize("data", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_answer_that_is_not_http_is_garbage(data: bytes) -> None:
    async with at_the_port(answering(data)) as port:
        error = await failure(Access(port))
    assert (error.kind, error.sent) == (GARBAGE, True)


async def test_node_that_does_not_answer_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_S", 0.1)
    silent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()

    async with at_the_port(serve) as port:
        error = await failure(Access(port))
    assert (error.kind, error.sent) == (TIMEOUT, True)


async def test_node_that_drips_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_S", 0.2)
    monkeypatch.setattr(connection, "CONNECT_S", 0.2)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with at_the_port(serve) as port:
        error = await failure(Access(port))
    assert (error.kind, error.sent) == (TIMEOUT, True)


async def test_connection_that_is_not_accepted_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 0.1)
    # The kernel accepts for a full backlog, and then drops what comes.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with contextlib.ExitStack() as until_end:
            for _ in range(3):
                client = until_end.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(full.getsockname())
            error = await failure(Access(full.getsockname()[1]))
    assert (error.kind, error.sent) == (TIMEOUT, False)


async def test_redirects_and_cookies_are_not_followed() -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(HEAD + b"Set-Cookie: a=b\r\nLocation: /elsewhere\r\nConnection: close\r\n\r\n" + ANSWER)

    async with at_the_port(serve) as port, NodeApi(Access(port, token="secret"), connections=1) as api:
        for _ in range(2):
            assert (await api.trigger(NODE, Ask())).run == RUN
    first, second = heads
    assert first == second
    assert b"Host: web01.example.com:%d\r\n" % port in first
    assert b"Authorization: Bearer secret\r\n" in first
    assert b"Accept-Encoding" not in first
    assert b"Content-Type" not in first
    assert first.startswith(b"POST /puppet/twitch?queue=true HTTP/1.1\r\n")


async def test_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with at_the_port(answering(GOOD)) as port, NodeApi(Access(port), connections=1) as api:
        assert (await api.trigger(NODE, Ask())).status == 202


async def test_more_requests_than_connections_take_turns() -> None:
    open_now, most = 0, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await reader.readuntil(b"\r\n\r\n")
        open_now -= 1
        writer.write(GOOD)

    async with at_the_port(serve) as port, NodeApi(Access(port), connections=3) as api:
        answers = await asyncio.gather(*(api.trigger(NODE, Ask()) for _ in range(20)))
    assert {answer.status for answer in answers} == {202}
    assert most <= 3


# ---- names and addresses


async def test_address_that_does_not_answer_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    # As with an IPv6 address that has no route: aiohttp before 3.10 gives up after the first timeout.
    monkeypatch.setattr(connection, "CONNECT_S", 3.0)  # for the second address as well
    with socket.socket() as full:
        full.bind(("127.0.0.2", 0))
        port = full.getsockname()[1]
        full.listen(0)
        addresses = ((int(socket.AF_INET), "127.0.0.2"), (int(socket.AF_INET), "127.0.0.1"))
        monkeypatch.setattr(node_addresses, "_addresses", lambda name: addresses)
        server = await asyncio.start_server(answering(GOOD), "127.0.0.1", port)
        with contextlib.ExitStack() as until_end:
            for _ in range(3):
                client = until_end.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(full.getsockname())
            async with NodeApi(Access(port), connections=1) as api:
                answer = await asyncio.wait_for(api.trigger(Node(NAME), Ask()), LIMIT_S)
        server.close()
    assert answer.status == 202


@pytest.mark.parametrize("name", ["web_01.example.com", "WEB01", "-", "[::1]", "::1", "127.0.0.1", "x." * 60])
async def test_names_that_a_node_can_have(name: str) -> None:
    node = Node(name, "127.0.0.1") if name != "::1" else Node(name)
    address = "127.0.0.1" if name != "::1" else "::1"
    server = await asyncio.start_server(answering(GOOD), address, 0)
    async with NodeApi(Access(server.sockets[0].getsockname()[1]), connections=1) as api:
        assert (await asyncio.wait_for(api.trigger(node, Ask()), LIMIT_S)).status == 202
    server.close()


@pytest.mark.parametrize("name", ["web 1", "web/1", "a@b", "x" * 300, "*", "a?b", "a#b"])
async def test_name_that_is_none_is_not_asked(name: str) -> None:
    error = await failure(Access(1), Node(name))
    assert (error.kind, error.sent) == (DNS, False)


# ---- TLS, with the contexts of a real listener


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    return PKI(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def ca(pki: PKI) -> Path:
    path = pki.directory / "ca.pem"
    path.write_text(pki.bundle())
    return path


def context(pki: PKI, directory: Path, name: str, **certificate: object) -> ssl.SSLContext:
    """Return the context of a listener with a certificate of this name."""
    cert, key = pki.certificate(name, **certificate)  # type: ignore[arg-type]
    files = pki.hand_over(directory / "credentials", cert, key)
    paths = listener_tls.Files(*(os.fspath(files / one) for one in listener_tls.CREDENTIALS))
    return tls_context.trust(Config(tls=True), paths).context


@pytest.fixture(scope="module")
def node_tls(pki: PKI, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return context(pki, tmp_path_factory.mktemp("node"), NAME, names=(NAME,))


@contextlib.asynccontextmanager
async def tls_node(api: ApiUnderTest, node_tls: ssl.SSLContext, access: Access) -> AsyncIterator[NodeApi]:
    async with listener(api, node_tls) as at, NodeApi(access._replace(port=at.port), connections=2) as node:
        yield node


@pytest.fixture
def operator(pki: PKI, ca: Path) -> Iterator[Access]:
    cert, key = pki.certificate("operator")
    yield Access(tls=tls(Files(ca, cert, key)))


async def test_certname_is_verified_whatever_the_address_is(
    api: ApiUnderTest, node_tls: ssl.SSLContext, operator: Access
) -> None:
    api.allow("cert:operator = trigger", "anonymous =")
    async with tls_node(api, node_tls, operator) as node:
        answer = await node.trigger(NODE, Ask())
    assert (answer.status, answer.run) == (202, RUN)
    assert api.root.asked[0].caller == "cert:operator"  # type: ignore[union-attr]


async def test_token_over_tls(api: ApiUnderTest, node_tls: ssl.SSLContext, ca: Path) -> None:
    api.allow("token:alice = trigger", "anonymous =")
    token = api.token("alice").rpartition(" ")[2]
    async with tls_node(api, node_tls, Access(tls=tls(Files(ca)), token=token)) as node:
        assert (await node.trigger(NODE, Ask())).status == 202


async def test_certificate_of_another_node_is_refused(pki: PKI, ca: Path, tmp_path: Path) -> None:
    other = context(pki, tmp_path, "web02.example.com", names=("web02.example.com",))
    async with at_the_port(answering(GOOD), other) as port:
        error = await failure(Access(port, tls(Files(ca)), "secret"))
    assert (error.kind, error.sent) == (TLS, False)
    assert "web01.example.com" in str(error)


async def test_certificate_without_names_is_verified_by_its_common_name(
    pki: PKI, ca: Path, tmp_path: Path
) -> None:
    # puppetserver before 6.15.2 puts no subjectAltName into certificates of agents (SERVER-2338).
    old = context(pki, tmp_path, NAME)
    mine = tls(Files(ca))
    async with at_the_port(answering(GOOD), old) as port, NodeApi(Access(port, mine), connections=1) as api:
        assert (await api.trigger(NODE, Ask())).status == 202


async def test_certificate_of_another_ca_is_refused(pki: PKI, ca: Path) -> None:
    cert, key = pki.certificate(NAME, by=pki.foreign, names=(NAME,))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    async with at_the_port(answering(GOOD), server) as port:
        error = await failure(Access(port, tls(Files(ca)), "secret"))
    assert (error.kind, error.sent) == (TLS, False)
    assert str(error) == "TLS: the certificate of the node: it is of another CA than ours; see --ca"


async def test_plain_http_where_tls_is_expected(ca: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with at_the_port(serve) as port:
        error = await failure(Access(port, tls(Files(ca)), "secret"))
    assert (error.kind, error.sent) == (TLS, False)
    assert "--plain-http" in str(error)


@pytest.mark.parametrize("revoked", [False, True], ids=["required", "revoked"])
async def test_refused_client_certificate_is_not_sent(
    pki: PKI, ca: Path, tmp_path: Path, revoked: bool
) -> None:
    mine = Files(ca)
    if revoked:
        cert, key = pki.certificate("leaver")
        pki.authority.revoke(cert)
        mine = Files(ca, cert, key)
    required = context(pki, tmp_path, f"node{revoked}.example.com", names=(NAME,))
    required.verify_mode = ssl.CERT_REQUIRED
    async with at_the_port(answering(GOOD), required) as port:
        error = await failure(Access(port, tls(mine)))
    assert (error.kind, error.sent) == (TLS, False)
    assert ("revoked" if revoked else "certificate required") in str(error)


async def test_long_answer_over_tls_is_whole(node_tls: ssl.SSLContext, ca: Path) -> None:
    from twitch.fleet import loop

    loop._small_tls_buffers()
    text = b"x" * 200_000
    body = b'{"message": "' + text + b'"}'
    data = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    mine, serve = tls(Files(ca)), answering(data)
    async with at_the_port(serve, node_tls) as port, NodeApi(Access(port, mine), connections=1) as api:
        answer = await asyncio.wait_for(api.trigger(NODE, Ask()), LIMIT_S)
    assert answer.message == text.decode()


def test_soft_limit_of_open_files_is_raised() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert open_files.connections(500) == (500, None)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 500 + open_files.OTHERS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_hard_limit_of_open_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    limit, note = open_files.connections(5000)
    assert limit == 1024 - open_files.OTHERS
    assert note
    assert "824 connections at once instead of 5000" in note
