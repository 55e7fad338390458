"""The memory of a listener with TLS, whatever a crowd does: a bound in bytes, and never on a clock."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from pathlib import Path

import pytest

import twitch
from tests.unit.fake_node import TWITCH_UID, FakeNode
from tests.unit.listening import GET, answer, connect, port, start, stopped
from tests.unit.pki import PKI
from twitch.listener.room import MAX_PER_ADDRESS, MAX_SERVED

# The goal of make bench for any crowd with TLS. Before the buffers had a bound, 256 connections took 248 MiB.
MOST_MIB = 64

PIPELINE = b"GET /version HTTP/1.1\r\nHost: node\r\n\r\n" * 400
GOOD = (200, f"{twitch.__version__}\n".encode())


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    return PKI(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def credentials(pki: PKI, node: FakeNode) -> Path:
    """Return the credentials of the node, and turn TLS on."""
    directory = pki.hand_over(node.etc / "credentials", *pki.certificate("node"))
    for path in (directory, *directory.iterdir()):
        os.chown(path, TWITCH_UID, -1)
    return directory


def tls_on(node: FakeNode, client: str) -> None:
    node.configure(f"[tls]\nenabled = yes\nclient = {client}\n")


def before(directory: Path) -> str:
    """Return what a shell has to do before it becomes a listener; on the node this is below /etc."""
    return f"export CREDENTIALS_DIRECTORY=/etc/{directory.name};"


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def secure(client: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    client.settimeout(60)
    return context.wrap_socket(client)


def push(client: ssl.SSLSocket) -> None:
    """Send requests, and read nothing, until neither the listener nor the kernel takes more."""
    client.settimeout(0)
    with contextlib.suppress(ssl.SSLWantWriteError, OSError):
        while True:
            client.send(PIPELINE)


def crowded(listening: socket.socket, stack: contextlib.ExitStack, number: int) -> socket.socket:
    """Return a connection of the crowd, from as few addresses as it takes; the kernel holds little for it."""
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.bind((f"127.0.0.{2 + number // MAX_PER_ADDRESS}", 0))
    client.connect(listening.getsockname())
    return client


def test_a_crowd_that_pipelines_and_does_not_read(node: FakeNode, pki: PKI, credentials: Path) -> None:
    tls_on(node, "required")
    context = ssl._create_unverified_context()
    context.load_cert_chain(*pki.certificate("web"))
    with contextlib.ExitStack() as stack, port() as listening:
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # the kernel's memory is not what is measured
            listening.setsockopt(socket.SOL_SOCKET, buffer, 8 * 1024)
        process = start(node, listening, before=before(credentials))
        crowd = [
            stack.enter_context(secure(crowded(listening, stack, number), context))
            for number in range(MAX_SERVED)
        ]
        for one in crowd:
            push(one)
        status = 503  # for as long as each of the crowd is being answered
        while status == 503:
            with connect(listening, "127.1.2.3") as plain, secure(plain, context) as good:
                good.sendall(GET)
                status, body = answer(good)
        assert (status, body) == GOOD
        peak = peak_mib(process.pid)
        assert stopped(process)[0] == 0
    assert peak <= MOST_MIB, f"{peak:.0f} MiB with {len(crowd)} connections"


def test_a_crl_that_changes_again_and_again_leaves_no_memory_behind(
    node: FakeNode, pki: PKI, credentials: Path
) -> None:
    tls_on(node, "optional")
    pki.authority.revoke_many(25_000)
    context = ssl._create_unverified_context()
    context.load_cert_chain(*pki.certificate("web"))
    crls = pki.crls()
    with port() as listening:
        process = start(node, listening, before=before(credentials))
        peaks = []
        for _ in range(12):
            (credentials / "new").write_text(crls)
            (credentials / "new").chmod(0o644)
            (credentials / "new").rename(credentials / "crl")
            with connect(listening) as plain, secure(plain, context) as good:
                good.sendall(GET)
                assert answer(good) == GOOD
            peaks.append(peak_mib(process.pid))
        assert stopped(process)[0] == 0
    assert peaks[-1] <= MOST_MIB, peaks
    assert peaks[-1] - peaks[5] < 8, peaks  # one of these CRLs has 12 MiB
