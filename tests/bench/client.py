"""One request on one fresh connection, with a clock."""

from __future__ import annotations

import socket
import ssl
import time
from typing import NamedTuple

TIMEOUT_S = 20.0


class Timed(NamedTuple):
    """An answer: its status (0 for none), the id of its run, and its times."""

    status: int
    run: str
    began: float  # epoch seconds, when the first byte of the connection was sent
    took_ms: float  # from there to the first bytes of the answer


def ask(address: str, port: int, target: str, context: ssl.SSLContext | None = None) -> Timed:
    """Ask once, with a context over TLS; no answer within TIMEOUT_S is a status of 0, not an error."""
    request = f"GET {target} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n".encode()
    began, start = time.time(), time.perf_counter()
    answer = b""
    try:
        with (
            socket.create_connection((address, port), timeout=TIMEOUT_S) as plain,
            context.wrap_socket(plain) if context else plain as connection,
        ):
            connection.sendall(request)
            answer = connection.recv(65536)
            took_ms = 1000 * (time.perf_counter() - start)
            while answer and (more := connection.recv(65536)):
                answer += more
    except OSError:
        took_ms = 1000 * (time.perf_counter() - start)
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    fields = dict(line.partition(": ")[::2] for line in head[1:])
    status = int(head[0].split()[1]) if head[0].startswith("HTTP/1.") else 0
    return Timed(status, fields.get("Puppet-Run", ""), began, took_ms)
