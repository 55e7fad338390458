"""TLS as a client finds it: who gets in, who does not, and that nobody waits for anybody else."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Optional

import pytest

from tests.unit import tlswire
from tests.unit.echo import understood
from tests.unit.pki import PKI, Authority
from tests.unit.tlswire import GET
from twitch.listener.exchange import HTTPError


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    return PKI(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def credentials(pki: PKI) -> Path:
    pki.authority.revoke(pki.certificate("revoked")[0])
    return pki.hand_over(pki.directory / "credentials", *pki.certificate("node"))


# ---- who gets in


async def test_who_shows_no_certificate_is_nobody_but_private(pki: PKI, credentials: Path) -> None:
    async with tlswire.node(pki, credentials) as node:
        answer = await node.ask()
    assert answer.endswith(understood("GET", "/"))
    assert (node.service.seen[0].secure, node.service.seen[0].certname) == (True, None)
    assert node.service.drops == []


async def test_a_certificate_names_its_holder(pki: PKI, credentials: Path) -> None:
    async with tlswire.node(pki, credentials) as node:
        await node.ask(pki.certificate("web.example.com"))
    assert (node.service.seen[0].secure, node.service.seen[0].certname) == (True, "web.example.com")


REFUSED = {
    "revoked": "TLS certificate revoked",
    "expired": "TLS certificate has expired",
    "foreign-with-the-same-name": "TLS unable to get local issuer certificate",
    "self-signed": "TLS self-signed certificate",
}
# OpenSSL 1.1 (Debian 11) finds the CA by its name alone, and then another fault.
OPENSSL_1_1 = ("TLS certificate revoked", "TLS certificate signature failure")


def bad_certificate(pki: PKI, kind: str) -> tuple[Path, Path]:
    if kind == "revoked":
        return pki.directory / "revoked.pem", pki.directory / "revoked.key"
    if kind == "expired":
        return pki.certificate(kind, until="200101000000Z")
    if kind == "self-signed":
        return pki.self_signed(kind)
    return pki.certificate("foreign", "/CN=web.example.com", by=pki.foreign)


@pytest.mark.parametrize("client", ["optional", "required"])
@pytest.mark.parametrize("kind", REFUSED)
async def test_a_certificate_that_is_not_good_is_not_anonymous(
    pki: PKI, credentials: Path, kind: str, client: str
) -> None:
    async with tlswire.node(pki, credentials, client=client) as node:
        # TLS 1.3: the client is done before the server has looked at its certificate.
        with contextlib.suppress(OSError):
            assert await node.ask(bad_certificate(pki, kind)) == b""
        (reason,) = await node.first_drops()
        if ssl.OPENSSL_VERSION_INFO < (3,):
            reason = reason.replace("self signed", "self-signed")
            if kind.startswith("foreign") and reason in OPENSSL_1_1:
                reason = REFUSED[kind]
        assert reason == REFUSED[kind]
        assert node.service.seen == []
        await node.ask(pki.certificate("good"))


# Before, asyncio keeps no alert that could be sent.
ALERTS = sys.version_info >= (3, 11)


@pytest.mark.parametrize(
    ("certificate", "client", "text"),
    [
        ("revoked", "optional", "certificate revoked"),
        ("expired", "optional", "certificate expired"),
        ("self-signed", "optional", "unknown ca"),
        (None, "required", "certificate required"),
    ],
    ids=["revoked", "expired", "self-signed", "missing"],
)
async def test_client_whose_certificate_is_refused_sees_why(
    pki: PKI, credentials: Path, certificate: Optional[str], client: str, text: str
) -> None:
    files = bad_certificate(pki, certificate) if certificate else None
    async with tlswire.node(pki, credentials, client=client) as node:
        if ALERTS:
            with pytest.raises(ssl.SSLError, match=text):
                await node.ask(files)
        else:
            with contextlib.suppress(OSError):
                assert await node.ask(files) == b""


async def test_client_without_tls_13_sees_why_and_the_journal_says_so(pki: PKI, credentials: Path) -> None:
    context = ssl._create_unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with tlswire.node(pki, credentials) as node:
        with pytest.raises(OSError, match="protocol version" if ALERTS else ""):
            await asyncio.to_thread(node._ask, context, tlswire.GET, "127.0.0.1")
        assert await node.first_drops() == ["TLS unsupported protocol"]


@pytest.mark.parametrize("revocation", ["chain", "leaf", "no"])
async def test_revocation_decides_which_certificates_are_refused(
    pki: PKI, tmp_path: Path, revocation: str
) -> None:
    directory = pki.hand_over(tmp_path / "credentials", *pki.certificate("node"))
    refused = bad_certificate(pki, "revoked")
    async with tlswire.node(pki, directory, settings=f"revocation = {revocation}") as node:
        assert (await node.ask(pki.certificate("good"))).startswith(b"HTTP/1.1 200 ")
        if revocation == "no":
            assert (await node.ask(refused)).startswith(b"HTTP/1.1 200 ")
            (directory / "crl").unlink()  # not needed
            assert (await node.ask(refused)).startswith(b"HTTP/1.1 200 ")
            return
        with contextlib.suppress(OSError):
            assert await node.ask(refused) == b""
        assert await node.first_drops() == ["TLS certificate revoked"]
        # Puppet with `leaf` has the CRL of the issuing CA alone.
        (directory / "crl").write_text(pki.authority.crl())
        answer = await node.ask(pki.certificate("another"))
        assert answer.startswith(b"HTTP/1.1 200 " if revocation == "leaf" else b"HTTP/1.1 503 ")


async def test_puppets_ca_can_be_trusted_without_the_root_above_it(pki: PKI, tmp_path: Path) -> None:
    other_ca = Authority(tmp_path / "other", "Other", pki.root)
    other = pki.certificate("other", "/CN=web.example.com", by=other_ca)
    # The client sends the CA as well, as its owner can.
    other[0].write_text(other[0].read_text() + other_ca.cert.read_text())
    directory = pki.hand_over(tmp_path / "credentials", *pki.certificate("node"))
    (directory / "crl").write_text(pki.authority.crl() + other_ca.crl())
    async with tlswire.node(pki, directory, settings="revocation = leaf") as node:
        assert (await node.ask(other)).startswith(b"HTTP/1.1 200 ")
        (directory / "ca").write_text(pki.authority.cert.read_text())
        with contextlib.suppress(OSError):
            assert await node.ask(other) == b""
        assert await node.first_drops() == ["TLS unable to get local issuer certificate"]
        assert (await node.ask(pki.certificate("web.example.com"))).startswith(b"HTTP/1.1 200 ")


async def test_required_means_that_nobody_is_anonymous(pki: PKI, credentials: Path) -> None:
    async with tlswire.node(pki, credentials, client="required") as node:
        with contextlib.suppress(OSError):
            assert await node.ask() == b""
        assert await node.first_drops() == ["TLS peer did not return a certificate"]
        assert node.service.seen == []
        await node.ask(pki.certificate("good"))
    assert [request.certname for request in node.service.seen] == ["good"]


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01", GET], ids=["nothing", "handshake", "plain-http"])
async def test_who_is_not_admitted_gets_no_handshake(pki: PKI, credentials: Path, first: bytes) -> None:
    async with tlswire.node(pki, credentials) as node:
        node.service.refusal = HTTPError(403, "not from there")

        def visit() -> bytes:
            with node.connect() as plain, contextlib.suppress(ConnectionError):
                plain.sendall(first)
                return b"".join(iter(lambda: plain.recv(65536), b""))
            return b""

        assert await asyncio.to_thread(visit) == b""
        assert await node.first_drops() == ["403 forbidden"]
        node.service.refusal = None
        assert (await node.ask()).endswith(understood("GET", "/"))


CNS = {
    "two": ("/CN=a.example.com/CN=b.example.com", "this one has 2"),
    "none": ("/O=a.example.com", "this one has 0"),
    "upper-case": ("/CN=A.example.com", "is not a valid Puppet certname"),
    "space": ("/CN=a anonymous", "is not a valid Puppet certname"),
    "star": ("/CN=*", "is not a valid Puppet certname"),
    "utf8": ("/CN=\u0430.example.com", "is not a valid Puppet certname"),
    "newline": ("/CN=a\nb", "is not a valid Puppet certname"),
}


@pytest.mark.parametrize(("subject", "why"), CNS.values(), ids=CNS)
async def test_a_name_that_could_be_mistaken_is_refused(
    pki: PKI, credentials: Path, subject: str, why: str
) -> None:
    async with tlswire.node(pki, credentials) as node:
        answer = await node.ask(pki.certificate("odd", subject))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert why in answer.decode()
    assert node.service.seen == []


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["-tls1_1"], id="tls-1.1"),
        pytest.param(["-tls1"], id="tls-1.0"),
        pytest.param(["-tls1_2"], id="tls-1.2"),
        pytest.param(["-tls1_2", "-cipher", "AES128-SHA"], id="no-forward-secrecy"),
        pytest.param(["-tls1_2", "-cipher", "AES256-GCM-SHA384"], id="rsa-key-exchange"),
        pytest.param(["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA"], id="cbc"),
        pytest.param(["-tls1_2", "-cipher", "NULL"], id="no-encryption"),
        pytest.param(["-tls1_2", "-cipher", "aNULL"], id="no-authentication"),
    ],
)
async def test_what_is_weak_is_not_spoken(pki: PKI, credentials: Path, options: list[str]) -> None:
    async with tlswire.node(pki, credentials) as node:
        # SECLEVEL=0: the client is willing, so it is the server that is not.
        words = [
            word + ":@SECLEVEL=0" if before == "-cipher" else word
            for before, word in zip(["", *options], options)
        ]
        if "-cipher" not in options:
            words += ["-cipher", "ALL:@SECLEVEL=0"]
        command = ("openssl", "s_client", "-connect", f"127.0.0.1:{node.port}", *words)
        done = await asyncio.to_thread(subprocess.run, command, input=GET, capture_output=True)
        assert done.returncode != 0
        assert b"HTTP/1.1" not in done.stdout
        assert len(await node.first_drops()) == 1
    assert node.service.seen == []


async def test_what_is_strong_is_spoken(pki: PKI, credentials: Path) -> None:
    async with tlswire.node(pki, credentials) as node:
        command = ("openssl", "s_client", "-connect", f"127.0.0.1:{node.port}", "-quiet", "-tls1_3")
        done = await asyncio.to_thread(subprocess.run, command, input=GET, capture_output=True)
        assert done.stdout.endswith(understood("GET", "/"))


# ---- HTTP over it


async def test_plain_http_is_told_so(pki: PKI, credentials: Path) -> None:
    async with tlswire.node(pki, credentials) as node:

        def ask() -> bytes:
            with node.connect() as plain:
                plain.sendall(GET)
                return b"".join(iter(lambda: plain.recv(65536), b""))

        answer = await asyncio.to_thread(ask)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"https://" in answer
    assert node.service.seen == []


async def test_requests_in_pieces_and_one_after_the_other(pki: PKI, credentials: Path) -> None:
    reader, writer = None, None
    async with tlswire.node(pki, credentials) as node:
        context = ssl._create_unverified_context()
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port, ssl=context)
        for number in range(3):
            for byte in b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number:
                writer.write(bytes((byte,)))
                await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            expected = understood("GET", f"/{number}")
            assert await reader.readexactly(len(expected)) == expected
        writer.close()
        await writer.wait_closed()


async def test_a_long_answer_comes_whole(pki: PKI, credentials: Path) -> None:
    async with tlswire.node(pki, credentials) as node:
        answer = await node.ask(request=GET.replace(b"/ ", b"/long ", 1))
    assert answer.endswith(b"x" * node.service.LONG)


async def test_a_client_that_leaves_ends_its_wait(pki: PKI, credentials: Path) -> None:
    async with tlswire.node(pki, credentials) as node:
        context = ssl._create_unverified_context()
        _, writer = await asyncio.open_connection("127.0.0.1", node.port, ssl=context)
        writer.write(GET.replace(b"/ ", b"/wait ", 1))
        while not node.service.seen:
            await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()
        while not node.service.pauses:
            await asyncio.sleep(0)
    assert node.service.pauses == [True]
