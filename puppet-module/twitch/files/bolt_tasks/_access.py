# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""How to reach a node and as whom, and what went wrong.

This file is private. The Ansible collection and the Bolt tasks of the Puppet module have the same copy.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

from ._answers import NotReached

LOOPBACK = ("localhost", "127.0.0.1", "::1")

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


class InvalidOption(Exception):
    """An option is invalid; the text names it."""


def access(options: Mapping[str, Any]) -> Access:
    """Return how to reach the node; raises InvalidOption."""
    if not options["host"]:
        raise InvalidOption("host is missing: without the inventory, the task has to name it.")
    token = options["token"] or _token_of_file(options["token_file"])
    tls = options["tls"]
    if tls is None:
        tls = bool(options["ca_path"] or options["client_cert"])
        if token and not tls and options["host"] not in LOOPBACK:
            raise InvalidOption(
                "A token is not sent over plain HTTP: set ca_path to the certificate of Puppet's CA."
                " If the port has no TLS and nobody can eavesdrop on the network, set tls to false."
            )
    for name in ("client_cert", "client_key", "ca_path"):
        if options[name] and not os.access(options[name], os.R_OK):
            raise InvalidOption(f"{name}: {options[name]} cannot be read.")
    if options["client_key"] and not options["client_cert"]:
        raise InvalidOption("client_key needs client_cert, which is the certificate of this key.")
    return Access(
        host=options["host"],
        address=options["address"],
        port=options["port"],
        tls=tls,
        token=token,
        client_cert=options["client_cert"],
        client_key=options["client_key"],
        ca_path=options["ca_path"],
        use_proxy=options["use_proxy"],
    )


def _token_of_file(path: Optional[str]) -> Optional[str]:
    """Return the first line of a file, without the `Authorization: Bearer` that curl's -H @FILE needs."""
    if not path:
        return None
    try:
        with open(path, encoding="ascii") as file:
            token = file.readline().strip()
    except (OSError, UnicodeDecodeError) as error:
        text = getattr(error, "strerror", None) or "not a text in ASCII"
        raise InvalidOption(f"token_file: {path} cannot be read: {text}.") from error
    token = token.rpartition(" ")[2]
    if not token:
        raise InvalidOption(f"token_file: the first line of {path} is empty; it has to be the token.")
    return token


def keep_alive(sock: socket.socket) -> None:
    """Let the kernel notice that the node or a router is gone."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        if hasattr(socket, name):  # macOS has no TCP_KEEPIDLE
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def not_reached(access: Access, cause: Exception, *, connected: bool, sent: bool) -> NotReached:
    """Return what an error of a connection means: why there is no answer, and whether the node was asked.

    `sent` is whether all of the request was sent: the node does nothing for a part of one.
    """
    where = f"{access.host} ({access.address})" if access.address else access.host
    where = f"{where}, port {access.port}"
    if isinstance(cause, socket.gaierror):
        text = f"the name {access.address or access.host} cannot be resolved: {cause.strerror}"
        return NotReached(text, sent=False)
    if not connected:
        silent = isinstance(cause, socket.timeout)
        text = f"no answer within {CONNECT_TIMEOUT_S} s" if silent else _os_text(cause)
        return NotReached(f"no connection to {where}: {text}", sent=False)
    if isinstance(cause, (ssl.SSLError, ssl.CertificateError)):
        # In TLS 1.3, a certificate is refused when the request is on its way. The node has not read it.
        refused = "ALERT" in str(getattr(cause, "reason", ""))
        hint = "" if access.ca_path else "; ca_path names the certificate of Puppet's CA"
        return NotReached(f"TLS with {where} failed: {_tls_text(cause)}{hint}", sent=sent and not refused)
    hint = "" if access.tls else "; if its port has TLS, set tls to true"
    if isinstance(cause, socket.timeout):
        return NotReached(f"{where} accepts connections, but does not answer{hint}", sent=sent)
    text = f"{where} has closed the connection without an answer: {_os_text(cause)}{hint}"
    return NotReached(text, sent=sent)


def _os_text(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _tls_text(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error)
