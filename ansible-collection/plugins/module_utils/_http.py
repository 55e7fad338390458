# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""One request to puppet-twitch on a node, and its answer.

This file is private to the collection.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Optional
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

from ansible.module_utils.urls import ConnectionError as UrlsConnectionError
from ansible.module_utils.urls import open_url

from ._answers import MAX_BODY_BYTES, Answer, NotReached, Send, read

CONNECT_TIMEOUT_S = 10
# Beyond the time that the request itself waits. The listener answers, or closes, within ten seconds.
ANSWER_TIMEOUT_S = 30

# A node that is gone is noticed after 60 + 4 x 15 s, however long the request waits.
KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


class Access(NamedTuple):
    """How to reach a node, and as whom."""

    host: str  # the name that TLS verifies
    address: Optional[str] = None  # where to connect; None: what DNS has for the host
    port: int = 2023
    tls: bool = False
    token: Optional[str] = None
    client_cert: Optional[str] = None
    client_key: Optional[str] = None
    ca_path: Optional[str] = None
    use_proxy: bool = False

    @property
    def url(self) -> str:
        """Return the start of every URL of the node."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def sender(access: Access) -> Send:
    """Return what sends requests to this node."""
    return functools.partial(ask, access)


def ask(access: Access, method: str, path: str, parameters: Mapping[str, str], wait_s: int = 0) -> Answer:
    """Send one request, and return the answer; raises NotReached.

    `wait_s` is how long the request itself waits on the node. No request is sent twice.
    """
    url = f"{access.url}{path}"
    headers = {"Accept": "application/json"}
    body = None
    if method == "POST":
        body = urlencode(parameters)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    elif parameters:
        url = f"{url}?{urlencode(parameters)}"
    if access.token:
        headers["Authorization"] = f"Bearer {access.token}"
    connected: list[str] = []
    try:
        with _connecting(access, connected):
            response = open_url(
                url,
                data=body,
                headers=headers,
                method=method,
                timeout=wait_s + ANSWER_TIMEOUT_S,
                use_proxy=access.use_proxy,
                http_agent="puppet_twitch.node",
                follow_redirects="none",  # no redirect takes the token elsewhere
                client_cert=access.client_cert,
                client_key=access.client_key,
                ca_path=access.ca_path,
                decompress=False,
                use_netrc=False,  # ~/.netrc would replace the token
            )
            return _answer(access, response)
    except HTTPError as error:
        try:
            return _answer(access, error)
        except (OSError, http.client.HTTPException) as cut:
            raise _not_reached(access, cut, connected) from cut
    except (OSError, http.client.HTTPException, UrlsConnectionError, ssl.CertificateError) as error:
        raise _not_reached(access, error, connected) from error


def _answer(access: Access, response: Any) -> Answer:
    body = response.read(MAX_BODY_BYTES + 1)
    return read(access.url, response.getcode(), response.headers, body)


@contextlib.contextmanager
def _connecting(access: Access, connected: list[str]) -> Iterator[None]:
    """Let open_url connect to the address of the node, and note in `connected` that this has succeeded.

    open_url has one timeout for everything, and connects to the name in the URL, which is the name that TLS
    verifies. All of http.client connects with socket.create_connection.
    """
    create_connection = socket.create_connection

    def connect(
        address: tuple[str, int], timeout: Optional[float] = None, *rest: Any, **more: Any
    ) -> socket.socket:
        host, port = address
        if access.address and not access.use_proxy:
            host = access.address
        sock = create_connection((host, port), CONNECT_TIMEOUT_S, *rest, **more)
        connected.append(host)
        sock.settimeout(timeout)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE:
            if hasattr(socket, name):  # macOS has no TCP_KEEPIDLE
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return sock

    socket.create_connection = connect  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.create_connection = create_connection


def _not_reached(access: Access, error: Exception, connected: list[str]) -> NotReached:
    cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
    where = f"{access.host} ({access.address})" if access.address else access.host
    where = f"{where}, port {access.port}"
    if isinstance(cause, socket.gaierror):
        return NotReached(
            f"the name {access.address or access.host} cannot be resolved: {cause.strerror}", sent=False
        )
    if isinstance(cause, (ssl.SSLError, ssl.CertificateError)):
        # An alert of the node comes before it has read the request, also in TLS 1.3.
        hint = "" if access.ca_path else "; ca_path names the certificate of Puppet's CA"
        return NotReached(f"TLS with {where} failed: {_tls_text(cause)}{hint}", sent=False)
    if not connected:
        text = "no answer within 10 s" if isinstance(cause, TimeoutError) else _os_text(cause)
        return NotReached(f"no connection to {where}: {text}", sent=False)
    hint = "" if access.tls else "; if its port has TLS, set tls to true"
    return NotReached(
        f"{where} has closed the connection without an answer: {_os_text(cause)}{hint}", sent=True
    )


def _os_text(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _tls_text(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error)
