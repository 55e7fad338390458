"""A listener as systemd starts it, without systemd: sockets from descriptor 3 on, and a socket to notify."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from typing import Optional

import h11

from tests.unit.fake_node import PYTHON, FakeNode

# $$ is the pid of the shell, which becomes the listener; the first socket arrives as its stdin. stderr is the
# journal's, as JOURNAL_STREAM says.
JOURNAL = "JOURNAL_STREAM=$(stat --dereference --format=%d:%i /proc/self/fd/2)"
AS_SYSTEMD = f'export {JOURNAL}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 </dev/null'

GET = b"GET /version HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"


def start(
    node: FakeNode, sock: socket.socket, *options: str, before: str = "", notify: Optional[str] = None
) -> subprocess.Popen[bytes]:
    """Start a listener with this one socket; `before` is for the shell that starts it."""
    return node.start(
        "/bin/sh", "-c", f"{before} {AS_SYSTEMD}", "sh", *command(node, *options),
        stdin=sock.fileno(),
        stderr=subprocess.PIPE,
        environment={"NOTIFY_SOCKET": notify} if notify else {},
    )  # fmt: skip


def command(node: FakeNode, *options: str) -> Sequence[str]:
    return (PYTHON, "-I", os.fspath(node.tree), "listen", *options)


@contextlib.contextmanager
def port(address: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A listening socket, as puppet-twitch.socket has one."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family, backlog=4096) as listening:
        yield listening


def said(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for the end; return the exit status and what was written to stderr."""
    _, text = process.communicate()
    return process.returncode, text.decode()


def stopped(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Tell it to stop, and return what `said` does."""
    process.terminate()
    return said(process)


def connect(listening: socket.socket, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(listening.getsockname()[:2], source_address=(source, 0))


def ask(listening: socket.socket, request: bytes = GET, source: str = "127.0.0.1") -> tuple[int, bytes]:
    """Ask once, on a connection of its own; return status and body."""
    with connect(listening, source) as client:
        client.sendall(request)
        return answer(client)


def answer(client: socket.socket) -> tuple[int, bytes]:
    """Read one answer and the end of the connection; return status and body."""
    status, _, body = answered(client)
    return status, body


def answered(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "node")]))
    parser.send(h11.EndOfMessage())
    body = b""
    while not isinstance(event := parser.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            parser.receive_data(client.recv(65536))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
    headers = {name.decode(): value.decode() for name, value in head.headers}
    return head.status_code, headers, body
