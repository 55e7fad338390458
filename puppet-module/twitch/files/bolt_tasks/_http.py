# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""One request to puppet-twitch on a node, and its answer, with Python's standard library alone."""

from __future__ import annotations

import functools
import http.client
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlencode

from ._access import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, Access, keep_alive, not_reached
from ._answers import MAX_BODY_BYTES, Answer, Send, read


class Connection(http.client.HTTPConnection):
    """A connection to the address of a node. `connected` is whether TCP has succeeded."""

    def __init__(self, access: Access, timeout_s: float) -> None:
        super().__init__(access.host, access.port, timeout=timeout_s)
        self.connected = False
        self._access = access

    def connect(self) -> None:
        """Connect, and verify the name of the node if its port has TLS."""
        access = self._access
        sock = socket.create_connection((access.address or access.host, access.port), CONNECT_TIMEOUT_S)
        self.sock = sock
        self.connected = True
        sock.settimeout(self.timeout)
        keep_alive(sock)
        if access.tls:
            context = ssl.create_default_context(cafile=access.ca_path)
            if access.client_cert:
                context.load_cert_chain(access.client_cert, access.client_key)
            self.sock = context.wrap_socket(sock, server_hostname=access.host)


def sender(access: Access) -> Send:
    """Return what sends requests to this node."""
    return functools.partial(ask, access)


def ask(access: Access, method: str, path: str, parameters: Mapping[str, str], wait_s: int = 0) -> Answer:
    """Send one request, and return the answer; raises NotReached.

    `wait_s` is how long the request itself waits on the node. No request is sent twice.
    """
    headers = {"Accept": "application/json", "User-Agent": "twitch-bolt", "Connection": "close"}
    body = None
    if method == "POST":
        body = urlencode(parameters)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    elif parameters:
        path = f"{path}?{urlencode(parameters)}"
    if access.token:
        headers["Authorization"] = f"Bearer {access.token}"
    connection = Connection(access, wait_s + ANSWER_TIMEOUT_S)
    sent = False
    try:
        connection.request(method, path, body, headers)
        sent = True
        response = connection.getresponse()
        raw = response.read(MAX_BODY_BYTES + 1)
        return read(access.url, response.status, dict(response.getheaders()), raw)
    except (OSError, http.client.HTTPException) as error:
        raise not_reached(access, error, connected=connection.connected, sent=sent) from error
    finally:
        connection.close()
