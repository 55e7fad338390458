# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""One request, over real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import pytest
from ansible_collections.puppet_twitch.node.plugins.module_utils import _http
from ansible_collections.puppet_twitch.node.plugins.module_utils._access import Access
from ansible_collections.puppet_twitch.node.plugins.module_utils._answers import MAX_BODY_BYTES, NotReached

LIMIT_S = 30
RUN = "1" * 32


def response(status="200 OK", body=b'{"message": "x"}', *headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Server(threading.Thread):
    """Gives each connection the same bytes, after it has read a request; b"" closes without an answer."""

    def __init__(self, answer):
        super().__init__(daemon=True)
        self.answer = answer
        self.requests = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                peer = self.listening.accept()[0]
            except OSError:
                return
            with peer:
                peer.settimeout(LIMIT_S)
                self.requests.append(_request(peer))
                peer.sendall(self.answer)

    def close(self):
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.join(LIMIT_S)
        self.listening.close()


def _request(peer):
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.recv(65536)
    head, body = data.split(b"\r\n\r\n", 1)
    length = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while length and len(body) < length[0]:
        body += peer.recv(65536)
    return (head + b"\r\n\r\n" + body).decode()


@pytest.fixture
def serve():
    servers = []

    def start(answer):
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def access(server, **options):
    return Access(**{"host": "127.0.0.1", "port": server.port, **options})


def test_a_request_and_its_answer(serve):
    server = serve(response("202 Accepted", b'{"message": "Triggered puppet run"}', f"Puppet-Run: {RUN}"))
    answer = _http.ask(access(server), "POST", "/puppet/twitch", {"label": "CHG-1", "noop": "true"})
    assert (answer.status, answer.run, answer.text) == (202, RUN, "Triggered puppet run")
    (request,) = server.requests
    assert request.startswith("POST /puppet/twitch HTTP/1.1\r\n")
    assert request.endswith("\r\n\r\nlabel=CHG-1&noop=true")
    assert "Accept: application/json\r\n" in request
    assert "Mozilla" not in request


def test_an_error_is_an_answer_too(serve):
    body = json.dumps({"title": "Locked", "status": 423, "detail": "Puppet disabled: CHG-1"}).encode()
    server = serve(response("423 Locked", body, "Retry-After: 30"))
    answer = _http.ask(access(server), "GET", "/puppet/runs", {"limit": "10"})
    assert (answer.status, answer.text, answer.retry_after_s) == (423, "Puppet disabled: CHG-1", 30)
    assert server.requests[0].startswith("GET /puppet/runs?limit=10 HTTP/1.1")


def test_the_request_goes_to_the_address_and_names_the_host(serve):
    server = serve(response())
    _http.ask(access(server, host="web1.example.com", address="127.0.0.1"), "GET", "/puppet/status", {})
    assert f"Host: web1.example.com:{server.port}\r\n" in server.requests[0]


def test_a_token_is_sent_and_netrc_is_not(serve, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(response())
    _http.ask(access(server, token="T" * 43), "GET", "/puppet/status", {})
    assert f"Authorization: Bearer {'T' * 43}\r\n" in server.requests[0]
    _http.ask(access(server), "GET", "/puppet/status", {})
    assert "Authorization" not in server.requests[1]


def test_a_proxy_of_the_environment_is_not_used(serve, monkeypatch):
    server, proxy = serve(response()), serve(response())
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "")
    _http.ask(access(server), "GET", "/puppet/status", {})
    assert (len(server.requests), len(proxy.requests)) == (1, 0)
    _http.ask(access(server, use_proxy=True), "GET", "/puppet/status", {})
    assert (len(server.requests), len(proxy.requests)) == (1, 1)


def test_a_redirect_is_not_followed(serve):
    elsewhere = serve(response())
    server = serve(response("302 Found", b"", f"Location: http://127.0.0.1:{elsewhere.port}/"))
    with pytest.raises(NotReached, match="status 302") as raised:
        _http.ask(access(server, token="T" * 43), "GET", "/puppet/status", {})
    assert raised.value.sent
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        response(body=b"<html>"),
        response(body=b"[1]"),
        response(body=b"\xff"),
        response("500 Error", b"<html>"),
        response(body=b'{"x": "' + b"x" * MAX_BODY_BYTES + b'"}'),
    ],
)
def test_what_puppet_twitch_does_not_answer_is_no_answer(serve, answer):
    server = serve(answer)
    with pytest.raises(NotReached) as raised:
        _http.ask(access(server), "POST", "/puppet/twitch", {})
    assert raised.value.sent
    assert len(server.requests) == 1


def test_a_closed_port_was_not_asked(serve):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(NotReached, match=rf"127\.0\.0\.1, port {port}: Connection refused") as raised:
        _http.ask(Access("127.0.0.1", port=port), "GET", "/puppet/status", {})
    assert not raised.value.sent


def test_a_name_that_does_not_resolve_was_not_asked():
    with pytest.raises(NotReached, match="cannot be resolved") as raised:
        _http.ask(Access("node.invalid"), "GET", "/puppet/status", {})
    assert not raised.value.sent


def test_a_port_without_tls_was_not_asked():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse():
            peer = listening.accept()[0]
            with peer:
                peer.recv(1)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        refusing = threading.Thread(target=refuse, daemon=True)
        refusing.start()
        node = Access("127.0.0.1", port=listening.getsockname()[1], tls=True)
        with pytest.raises(NotReached, match=r"TLS with 127.0.0.1, port \d+ failed: .*ca_path") as raised:
            _http.ask(node, "POST", "/puppet/twitch", {})
        assert not raised.value.sent
        refusing.join(LIMIT_S)


def test_connections_of_others_are_as_before(serve):
    before = socket.create_connection
    server = serve(b"")
    with pytest.raises(NotReached):
        _http.ask(access(server), "GET", "/puppet/status", {})
    assert socket.create_connection is before
