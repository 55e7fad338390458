"""One query of PuppetDB, and everything that can come instead of its answer."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fleet_nodes.web import Reply
from tests.unit.fleet import servers
from tests.unit.pki import PKI
from twitch.fleet.node.access import Files
from twitch.fleet.puppetdb.client import PuppetDB, PuppetDBError
from twitch.fleet.puppetdb.settings import Settings

QUERY = ["from", "nodes", ["extract", ["certname"]]]
NO_FILES = Files()
PQL_ERROR = "PQL parse error at line 1, column 29:\n\nnodes[certname] { certname ~\n"


def client(*urls: str, files: Files = NO_FILES, **limits: float) -> PuppetDB:
    return PuppetDB(Settings(urls, "test", files), **limits)


async def error_of(database: PuppetDB) -> str:
    """Return the error of a query."""
    async with database:
        with pytest.raises(PuppetDBError) as error:
            await database.query(QUERY)
    return str(error.value)


async def test_a_query_goes_by_post_with_its_origin() -> None:
    async with servers.puppetdb([{"certname": "web1"}]) as (database, bodies):
        assert await database.query(QUERY) == [{"certname": "web1"}]
        assert await database.query("nodes[certname] {}") == [{"certname": "web1"}]
    assert bodies == [
        {"query": QUERY, "origin": "puppet-twitch"},
        {"query": "nodes[certname] {}", "origin": "puppet-twitch"},
    ]


@pytest.mark.parametrize(
    ("version", "parts", "limit"),
    [("7.12.1", (7, 12, 1), 500), ("7.13.0", (7, 13, 0), 10_000), ("8.4.1-SNAPSHOT", (8, 4, 1), 10_000)],
)
async def test_the_version_says_how_long_arrays_may_be(
    version: str, parts: tuple[int, ...], limit: int
) -> None:
    async with servers.puppetdb([], version) as (database, _):
        assert await database.version() == parts
        assert await database.array_limit() == limit


async def test_the_version_is_asked_for_once() -> None:
    def answer(path: str, fields: dict[str, Any]) -> Reply:
        return Reply(200, {"version": "8.4.1"})

    async with servers.web(answer) as server, client(server.url) as database:
        await database.array_limit()
        await database.array_limit()
        assert server.requests == 1


async def test_an_error_of_the_query_is_shown_on_one_line() -> None:
    async with servers.web(lambda path, fields: Reply(400, PQL_ERROR)) as server:
        text = await error_of(client(server.url))
    assert text == (
        f"PuppetDB ({server.url}): 400: PQL parse error at line 1, column 29: nodes[certname] {{ certname ~"
    )


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "certificate-allowlist"), (404, "no PuppetDB at this address"), (503, "503: x")],
)
async def test_an_error_says_what_to_do(status: int, words: str) -> None:
    async with servers.web(lambda path, fields: Reply(status, "x")) as server:
        assert words in await error_of(client(server.url))


@pytest.mark.parametrize("text", ['[{"certname": "web1"}, {"cert', "", "[]]"])
async def test_an_answer_that_ends_in_the_middle_is_not_taken(text: str) -> None:
    async with servers.web(lambda path, fields: Reply(200, text)) as server:
        assert "ends in the middle" in await error_of(client(server.url))


async def test_a_time_limit_of_puppetdb_is_named() -> None:
    # As PuppetDB 8.4.1 has ended 56 MB of rows, under the status 200.
    text = (
        '[{"certname":"web1"},{"certnPDBQuery:bb1b1c42-1c35-412b-befd-2dcdc6d045ad: from "x" exceeded timeout'
    )
    async with servers.web(lambda path, fields: Reply(200, text)) as server:
        found = await error_of(client(server.url))
    assert (
        found
        == f'PuppetDB ({server.url}) has not finished its answer: from "x" exceeded timeout; ask for less'
    )


async def test_a_connection_that_breaks_within_the_answer_is_not_taken() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await servers.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[{\r\n")
        await writer.drain()

    async with servers.raw(cut) as url:
        assert "ends in the middle" in await error_of(client(url))


@pytest.mark.parametrize("value", [{"error": 1}, ["web1"], "web1"])
async def test_an_answer_that_is_no_list_of_rows_is_not_puppetdb(value: object) -> None:
    async with servers.web(lambda path, fields: Reply(200, value)) as server:
        text = await error_of(client(server.url))
    assert "this is not PuppetDB" in text or "ends in the middle" in text


async def test_the_next_url_is_asked_and_then_remembered() -> None:
    rows = [{"certname": "web1"}]
    async with (
        servers.web(lambda path, fields: Reply(200, rows)) as server,
        client(servers.unused_url(), server.url) as database,
    ):
        assert await database.query(QUERY) == rows
        assert database.url == server.url


async def test_a_puppetdb_that_starts_is_passed_over() -> None:
    starts, works = Reply(503, "starting"), Reply(200, [])
    async with (
        servers.web(lambda *_: starts) as first,
        servers.web(lambda *_: works) as second,
        client(first.url, second.url) as database,
    ):
        assert await database.query(QUERY) == []


async def test_if_no_url_answers_each_has_its_reason() -> None:
    text = await error_of(client(servers.unused_url(), "http://nosuch.invalid:8080"))
    assert f"{servers.unused_url()}: connection refused; http://nosuch.invalid:8080: " in text


async def test_an_answer_that_does_not_come_has_an_end() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with servers.raw(silent) as url:
        assert "no answer in 0.1 s" in await error_of(client(url, query_s=0.1))


async def test_queue_depth_is_none_if_it_cannot_be_read() -> None:
    status = {"status": {"queue_depth": 7}}
    async with servers.web(lambda path, fields: Reply(200, status)) as server, client(server.url) as database:
        assert await database.queue_depth() == 7
    async with client(server.url) as database:
        assert await database.queue_depth() is None


# ---- TLS, as jetty does it: without a certificate of its CA, the connection is closed after the handshake


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    pki = PKI(tmp_path_factory.mktemp("pki"))
    pki.certificate("localhost")
    pki.certificate("operator")
    pki.certificate("stranger", by=pki.foreign)
    (pki.directory / "ca.pem").write_text(pki.bundle())
    return pki


def files(pki: PKI, name: str = "") -> Files:
    ca = pki.directory / "ca.pem"
    return Files(ca, pki.directory / f"{name}.pem", pki.directory / f"{name}.key") if name else Files(ca)


@contextlib.asynccontextmanager
async def with_tls(pki: PKI) -> AsyncIterator[str]:
    """A PuppetDB over TLS; its URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await servers.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")
        await writer.drain()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.directory / "ca.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pki.directory / "localhost.pem", pki.directory / "localhost.key")
    async with servers.raw(answer, context) as url:
        yield url


async def test_a_client_with_a_certificate_is_answered(pki: PKI) -> None:
    async with with_tls(pki) as url, client(url, files=files(pki, "operator")) as database:
        assert await database.query(QUERY) == []


async def test_a_client_without_a_certificate_learns_that_it_needs_one(pki: PKI) -> None:
    async with with_tls(pki) as url:
        assert "clients without a certificate; see --cert" in await error_of(client(url, files=files(pki)))


async def test_a_certificate_of_another_ca_is_named(pki: PKI) -> None:
    async with with_tls(pki) as url:
        text = await error_of(client(url, files=files(pki, "stranger")))
    assert f"{pki.directory / 'stranger.pem'} of the CA of this server" in text


async def test_a_server_with_another_ca_is_not_trusted(pki: PKI) -> None:
    async with with_tls(pki) as url:
        text = await error_of(client(url, files=Files(pki.foreign.cert)))
    assert "its certificate is not valid here" in text and "see --ca" in text


@pytest.mark.parametrize(
    ("answer", "scheme", "words"),
    [
        # A TLS alert, which jetty sends to a client that speaks plain HTTP.
        (b"\x15\x03\x03\x00\x02\x02\x50", "http", "the answer is not HTTP; is its URL one with https://?"),
        (b"HTTP/1.1 400 Illegal character\r\n\r\n", "https", "it has no TLS; is its URL one with http://?"),
    ],
)
async def test_http_and_https_that_are_mixed_up_are_told_apart(
    pki: PKI, answer: bytes, scheme: str, words: str
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()

    async with servers.raw(handler) as url:
        assert words in await error_of(client(url.replace("http", scheme), files=files(pki, "operator")))
