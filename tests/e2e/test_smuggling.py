"""Requests that two readers could read differently, against the real listener behind its real socket.

Each vector is followed by a second request. After a refusal it must not be answered: a reader that
disagrees about where the first request ends would answer it. After a good request it must be.

The vectors are from RFC 9112, from reports of request smuggling, and from the ideas behind gunicorn's
own list of requests. No chunked body is among them: every Transfer-Encoding is refused with the head.
"""

from __future__ import annotations

import re
import socket

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

POST = b"POST /puppet/twitch HTTP/1.1\r\nHost: node\r\n"
GET = b"GET /version HTTP/1.1\r\nHost: node\r\n"
SECOND = b"GET /info HTTP/1.1\r\nHost: node\r\n\r\n"
SECOND_ANSWER = b"A simple endpoint"
JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"0\r\n\r\n"


def line(method: bytes, target: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"%b %b %b\r\nHost: node\r\n\r\n" % (method, target, version)


def host(value: bytes) -> bytes:
    return b"GET /version HTTP/1.1\r\nHost: %b\r\n\r\n" % value


# vector -> the request, and the status code of the one answer; then the connection must end.
ENDS_THE_CONNECTION: dict[str, tuple[bytes, int]] = {
    # Transfer-Encoding: the listener reads no chunks.
    "CL.TE": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED, 411),
    "TE.CL": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + CHUNKED, 411),
    "TE alone": (POST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED, 411),
    "TE and CL on a GET": (GET + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + CHUNKED, 411),
    "TE twice": (POST + b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED, 411),
    "TE gzip, chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKED, 411),
    "TE chunked, gzip": (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + CHUNKED, 411),
    "TE chunked, then identity": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + CHUNKED,
        411,
    ),
    "TE identity": (POST + b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n", 411),
    "TE empty": (POST + b"Transfer-Encoding:\r\n\r\n", 411),
    "TE in quotes": (POST + b'Transfer-Encoding: "chunked"\r\n\r\n' + CHUNKED, 411),
    "TE with a tab": (POST + b"Transfer-Encoding:\tchunked\r\n\r\n" + CHUNKED, 411),
    "TE with a vertical tab": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKED, 400),
    "TE with a letter beyond ASCII": (POST + b"Transfer-Encoding: \xdfchunked\r\n\r\n" + CHUNKED, 411),
    "TE before its colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED, 400),
    "TE folded": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKED, 400),
    "TE on HTTP/1.0": (
        POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
        411,
    ),
    "chunk extensions": (POST + b"Transfer-Encoding: chunked\r\n\r\n0;a=\nb\r\n\r\n", 411),
    # Content-Length: digits, once.
    "CL twice, equal": (POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400),
    "CL twice, different": (POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n", 400),
    "CL as a list": (POST + b"Content-Length: 0, 0\r\n\r\n", 400),
    "CL of two numbers": (POST + b"Content-Length: 0 1\r\n\r\n", 400),
    "CL with a sign": (POST + b"Content-Length: +0\r\n\r\n", 400),
    "CL negative": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "CL hexadecimal": (POST + b"Content-Length: 0x0\r\n\r\n", 400),
    "CL with a fraction": (POST + b"Content-Length: 1.0\r\n\r\n", 400),
    "CL with an underscore": (POST + b"Content-Length: 1_0\r\n\r\n", 400),
    "CL with a digit beyond ASCII": (POST + b"Content-Length: \xb2\r\n\r\n", 400),
    "CL with a name beyond ASCII": (POST + b"Content-Length\xdf: 3\r\n\r\n", 400),
    "CL before its colon": (POST + b"Content-Length : 0\r\n\r\n", 400),
    "CL empty": (POST + b"Content-Length: \r\n\r\n", 400),
    "CL enormous": (POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 413),
    # Ends of lines.
    "bare LF between lines": (GET.replace(b"\r\n", b"\n") + b"\n", 400),
    "bare LF at the end": (GET + b"X: y\n\r\n", 400),
    "bare CR between lines": (GET.replace(b"\r\n", b"\r") + b"\r", 400),
    "bare CR in a value": (GET + b"X: a\rb\r\n\r\n", 400),
    "CR before CR LF": (GET.replace(b"\r\n", b"\r\r\n", 1) + b"\r\n", 400),
    "LF CR": (GET.replace(b"\r\n", b"\n\r") + b"\n\r", 400),
    # RFC 9112 section 2.2: SHOULD be ignored; h11 does not.
    "an empty line first": (b"\r\n" + GET + b"\r\n", 400),
    # Header fields.
    "NUL in a value": (GET + b"X: a\0b\r\n\r\n", 400),
    "BEL in a value": (GET + b"X: a\x07b\r\n\r\n", 400),
    "DEL in a value": (GET + b"X: a\x7fb\r\n\r\n", 400),
    "NUL in a name": (GET + b"X\0y: a\r\n\r\n", 400),
    "a letter beyond ASCII in a name": (GET + b"X\xff: a\r\n\r\n", 400),
    "brackets in a name": (GET + b"X[]: a\r\n\r\n", 400),
    "space in a name": (GET + b"X y: a\r\n\r\n", 400),
    "no name": (GET + b": a\r\n\r\n", 400),
    "no colon": (GET + b"X\r\n\r\n", 400),
    # RFC 9112 section 5.2 allows both answers.
    "folded header": (GET + b"X: a\r\n b\r\n\r\n", 400),
    "space before the first header": (b"GET /version HTTP/1.1\r\n Host: node\r\n\r\n", 400),
    "a header beyond its limit": (GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    # Host: RFC 9112 section 3.2 demands 400.
    "no host": (b"GET /version HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GET + b"Host: other\r\n\r\n", 400),
    "host as a list": (host(b"node, other"), 400),
    "host with a space": (host(b"a b"), 400),
    "host with a path": (host(b"node/path"), 400),
    "host with a user": (host(b"user@node"), 400),
    # RFC 9110 section 4.2.4: userinfo is to be treated as an error.
    "absolute form with a user": (line(b"GET", b"http://user:pass@node/version"), 400),
    "host with a port of letters": (host(b"node:http"), 400),
    # The request line.
    "two spaces": (line(b"GET ", b"/version"), 400),
    "a tab": (GET.replace(b" ", b"\t", 1) + b"\r\n", 400),
    "a space at the end": (line(b"GET", b"/version", b"HTTP/1.1 "), 400),
    "LF for spaces": (b"GET\n/version\nHTTP/1.1\r\nHost: node\r\n\r\n", 400),
    "method with a colon": (line(b"GET:", b"/version"), 400),
    "method with NUL": (line(b"GET\0", b"/version"), 400),
    "method with a letter beyond ASCII": (line(b"GET\xdf", b"/version"), 400),
    "no target": (b"GET HTTP/1.1\r\nHost: node\r\n\r\n", 400),
    "target without a slash": (line(b"GET", b"version"), 400),
    "target with a backslash": (line(b"GET", b"\\version"), 400),
    "target with a fragment": (line(b"GET", b"/version#a"), 400),
    "target with NUL": (line(b"GET", b"/ver\0sion"), 400),
    "target beyond ASCII": (line(b"GET", b"/version\xff"), 400),
    "target beyond its limit": (line(b"GET", b"/" + b"a" * 20_000), 414),
    "target of another scheme": (line(b"GET", b"ftp://node/version"), 400),
    "asterisk for a GET": (line(b"GET", b"*"), 400),
    "authority for a GET": (line(b"GET", b"node:80"), 400),
    "CONNECT": (line(b"CONNECT", b"node:443"), 400),  # this is no proxy
    "another protocol": (line(b"GET", b"/version", b"FTP/1.1"), 400),
    "version of three digits": (line(b"GET", b"/version", b"HTTP/1.10"), 400),
    "version with a comma": (line(b"GET", b"/version", b"HTTP/1,1"), 400),
    "version in lower case": (line(b"GET", b"/version", b"http/1.1"), 400),
    "version 0.8": (line(b"GET", b"/version", b"HTTP/0.8"), 505),
    "version 2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/0.9": (b"GET /version\r\n", 400),
    "the PROXY protocol": (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n" + GET + b"\r\n", 400),
    "an answer": (b"HTTP/1.1 200 OK\r\n\r\n", 400),
    # Good, and the client says that it is the last one.
    "Connection: close": (GET + b"Connection: Close\r\n\r\n", 200),
    "Connection: close in a list": (GET + b"Connection: keep-alive, close\r\n\r\n", 200),
    "HTTP/1.0": (b"GET /version HTTP/1.0\r\n\r\n", 200),
    "HTTP/1.0 with keep-alive": (b"GET /version HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200),
}
# Odd, and good HTTP: answered (be it with a complaint), and so is the second request.
GOES_ON: dict[str, tuple[bytes, int]] = {
    "plain": (GET + b"\r\n", 200),
    "absolute form": (line(b"GET", b"http://other/version"), 200),
    "absolute form with https": (line(b"GET", b"https://node/version"), 200),
    "absolute form with IPv6": (line(b"GET", b"http://[::1]:8080/version"), 200),
    "three slashes": (line(b"GET", b"///version"), 404),
    "asterisk for OPTIONS": (line(b"OPTIONS", b"*"), 404),
    "a method that nobody knows": (line(b"-BLARGH", b"/version"), 405),
    "version 1.2": (line(b"GET", b"/version", b"HTTP/1.2"), 200),
    "IPv6 host": (host(b"[fd77::c]:2023"), 200),
    "empty host": (host(b""), 200),
    "CL of 0": (GET + b"Content-Length: 0\r\n\r\n", 200),
    "CL of 000": (GET + b"Content-Length: 000\r\n\r\n", 200),
    "CL between tabs": (GET + b"Content-Length: \t0 \t\r\n\r\n", 200),
    # With an underscore these are other headers: nothing here turns one into the other, as CGI does.
    "Content_Length": (GET + b"Content_Length: 5\r\n\r\n", 200),
    "Transfer_Encoding": (GET + b"Transfer_Encoding: chunked\r\n\r\n", 200),
    "a name of odd characters": (GET + b"X.y|z: a\r\n\r\n", 200),
    "a value beyond ASCII": (GET + b"X: caf\xe9\r\n\r\n", 200),
    "an upgrade to HTTP/2": (GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 200),
    "two content types": (GET + JSON + b"Content-Type: text/html\r\n\r\n", 200),
    "a body": (POST + JSON + b"Content-Length: 14\r\n\r\n" + b'{"async": "x"}', 400),
    "a body that looks like a request": (
        POST + b"Content-Length: %d\r\n\r\n" % len(SECOND) + SECOND,
        415,
    ),
    "a body of a GET that looks like a request": (
        GET + b"Content-Length: %d\r\n\r\n" % len(SECOND) + SECOND,
        400,
    ),
}


def answers(node: Machine, sent: bytes) -> tuple[list[int], bytes]:
    """Return the status codes of all answers until the end of the connection, and their bytes."""
    with socket.create_connection((node.address, 2023), timeout=60) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    return [int(code) for code in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", received)], received


@pytest.mark.parametrize(("request_", "code"), ENDS_THE_CONNECTION.values(), ids=ENDS_THE_CONNECTION)
def test_second_request_is_not_smuggled_in(shared_stub_node12: Machine, request_: bytes, code: int) -> None:
    codes, received = answers(shared_stub_node12, request_ + SECOND)
    assert codes == [code], received
    assert b"\r\nconnection: close\r\n" in received.lower()
    assert SECOND_ANSWER not in received
    assert stub.stub_log(shared_stub_node12) == []


@pytest.mark.parametrize(("request_", "code"), GOES_ON.values(), ids=GOES_ON)
def test_second_request_is_answered_after_a_good_one(
    shared_stub_node12: Machine, request_: bytes, code: int
) -> None:
    codes, received = answers(shared_stub_node12, request_ + SECOND)
    assert codes == [code, 200], received
    assert received.count(SECOND_ANSWER) == 1
    assert stub.stub_log(shared_stub_node12) == []
