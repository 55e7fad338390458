"""Requests that two readers could read differently, against the real listener behind its real socket.

Each vector is followed by a request that must never be answered: a reader who disagrees about where
the first one ends would answer it. What others have collected is in test_public_suites.py.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

POST = b"POST /puppet/twitch HTTP/1.1\r\nHost: node\r\n"
GET = b"GET /version HTTP/1.1\r\nHost: node\r\n"
SMUGGLED = b"GET /info HTTP/1.1\r\nHost: node\r\n\r\n"
JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"0\r\n\r\n"

# vector -> bytes, and what may answer it; then the connection must end.
VECTORS: dict[str, tuple[bytes, str]] = {
    "CL.TE": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED, "411"),
    "TE.CL": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + CHUNKED, "411"),
    "TE alone": (POST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED, "411"),
    "TE twice": (POST + b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED, "400|411"),
    "TE identity": (POST + b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n", "400|411"),
    "TE with a tab": (POST + b"Transfer-Encoding:\tchunked\r\n\r\n" + CHUNKED, "400|411"),
    "TE with a vertical tab": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKED, "400|411"),
    "TE before its colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED, "400"),
    "TE folded": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKED, "400|411"),
    "TE on HTTP/1.0": (
        POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
        "400|411",
    ),
    "chunk extensions": (POST + b"Transfer-Encoding: chunked\r\n\r\n0;a=\nb\r\n\r\n", "411"),
    "CL twice, equal": (POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n", "400"),
    "CL twice, different": (POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n", "400"),
    "CL as a list": (POST + b"Content-Length: 0, 0\r\n\r\n", "400"),
    "CL with a sign": (POST + b"Content-Length: +0\r\n\r\n", "400"),
    "CL negative": (POST + b"Content-Length: -1\r\n\r\n", "400"),
    "CL hexadecimal": (POST + b"Content-Length: 0x0\r\n\r\n", "400"),
    "CL with an underscore": (POST + b"Content-Length: 1_0\r\n\r\n", "400"),
    "CL empty": (POST + b"Content-Length: \r\n\r\n", "400"),
    "CL enormous": (POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", "400|413"),
    "bare LF between lines": (GET.replace(b"\r\n", b"\n") + b"\n", "400"),
    "bare LF at the end": (GET + b"X: y\n\r\n", "400"),
    "bare CR in a value": (GET + b"X: a\rb\r\n\r\n", "400"),
    "NUL in a value": (GET + b"X: a\0b\r\n\r\n", "400"),
    "folded header": (GET + b"X: a\r\n b\r\n\r\n", "400"),
    "space in a name": (GET + b"X y: a\r\n\r\n", "400"),
    "no name": (GET + b": a\r\n\r\n", "400"),
    "space before the first header": (b"GET /version HTTP/1.1\r\n Host: node\r\n\r\n", "400"),
    "no host": (b"GET /version HTTP/1.1\r\n\r\n", "400"),
    "two hosts": (GET + b"Host: other\r\n\r\n", "400"),
    "host with a space": (b"GET /version HTTP/1.1\r\nHost: a b\r\n\r\n", "400"),
    "host with a path": (b"GET /version HTTP/1.1\r\nHost: node/path\r\n\r\n", "400"),
    "host with a user": (b"GET /version HTTP/1.1\r\nHost: user@node\r\n\r\n", "400"),
    "host with a port of letters": (b"GET /version HTTP/1.1\r\nHost: node:http\r\n\r\n", "400"),
    "two spaces": (b"GET  /version HTTP/1.1\r\nHost: node\r\n\r\n", "400"),
    "a tab": (b"GET\t/version HTTP/1.1\r\nHost: node\r\n\r\n", "400"),
    "version 2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400|505"),
    # RFC 9112 section 2.2 would have one ignored; h11 does not.
    "an empty line first": (b"\r\n" + GET + b"\r\n", "400"),
    "HTTP/0.9": (b"GET /version\r\n", "400"),
    "an answer": (b"HTTP/1.1 200 OK\r\n\r\n", "400"),
}
# Odd, and good HTTP: answered (be it with a complaint), and so is what follows.
GOOD = {
    "plain": GET + b"\r\n",
    "absolute form": GET.replace(b" /version", b" http://other/version") + b"\r\n",
    "version 1.2": GET.replace(b"1.1", b"1.2") + b"\r\n",
    "CL of 0": GET + b"Content-Length: 0\r\n\r\n",
    "a body": POST + JSON + b"Content-Length: 14\r\n\r\n" + b'{"async": "x"}',
    "a body that looks like a request": POST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "IPv6 host": GET.replace(b"Host: node", b"Host: [fd77::c]:2023") + b"\r\n",
    "empty host": GET.replace(b"Host: node", b"Host:") + b"\r\n",
}


@pytest.fixture(scope="module")
def served(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    stub.stub_puppet(node12)
    yield node12
    stub.clear(node12)


def answers(node: Machine, sent: bytes) -> tuple[list[str], bytes]:
    """Return the status codes of all answers until the end of the connection, and their bytes."""
    with socket.create_connection((node.address, 2023), timeout=60) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: connection.recv(65536), b""))
    return [code.decode() for code in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", said)], said


@pytest.mark.parametrize(("sent", "allowed"), VECTORS.values(), ids=VECTORS)
def test_nothing_is_smuggled(served: Machine, sent: bytes, allowed: str) -> None:
    codes, said = answers(served, sent + SMUGGLED)
    assert len(codes) == 1, said
    assert re.fullmatch(allowed, codes[0]), said
    assert b"\r\nconnection: close\r\n" in said.lower()
    assert b"A simple endpoint" not in said
    assert stub.stub_log(served) == []


@pytest.mark.parametrize("sent", GOOD.values(), ids=GOOD)
def test_what_is_odd_and_good_is_read_as_everybody_reads_it(served: Machine, sent: bytes) -> None:
    codes, said = answers(served, sent + SMUGGLED)
    assert len(codes) == 2, said
    assert codes[1] == "200"
    assert (codes[0] in ("400", "415")) == sent.startswith(b"POST")
    assert stub.stub_log(served) == []
