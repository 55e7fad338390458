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
from collections.abc import Iterator, Mapping
from typing import Any, Optional
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

from ansible.module_utils.urls import ConnectionError as UrlsConnectionError
from ansible.module_utils.urls import open_url

from ._access import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, Access, keep_alive, not_reached
from ._answers import MAX_BODY_BYTES, Answer, Send, read


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
            raise not_reached(access, cut, connected=True, sent=True) from cut
    except URLError as error:  # from connecting and sending; errors of reading are passed on as they are
        cause = error.reason if isinstance(error.reason, Exception) else error
        raise not_reached(access, cause, connected=bool(connected), sent=False) from error
    except (OSError, http.client.HTTPException, UrlsConnectionError) as error:
        raise not_reached(access, error, connected=bool(connected), sent=True) from error


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
        keep_alive(sock)
        return sock

    socket.create_connection = connect  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.create_connection = create_connection
