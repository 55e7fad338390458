"""The recipe of the manual: systemd-socket-activate, which hands over sockets as systemd does."""

from __future__ import annotations

import signal
import socket
import subprocess

import twitch
from tests.unit.fake_node import FakeNode
from tests.unit.listening import GET, answer, command

ACTIVATE = "/usr/bin/systemd-socket-activate"
GOOD = (200, f"{twitch.__version__}\n".encode())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def activate(node: FakeNode, number: int, *options: str) -> subprocess.Popen[bytes]:
    """Start it, and return when it listens."""
    process = node.start(
        ACTIVATE, f"--listen=127.0.0.1:{number}", *options, *command(node, "--idle-exit", "1"),
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    while b"Listening on" not in process.stderr.readline():
        assert process.poll() is None
    return process


def ask(number: int) -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", number)) as client:
        client.sendall(GET)
        return answer(client)


def test_one_listener_for_all(node: FakeNode) -> None:
    number = free_port()
    process = activate(node, number)
    # The socket is a blocking one root_node: a second client must not wait for a third.
    with socket.create_connection(("127.0.0.1", number)):
        assert [ask(number) for _ in range(3)] == [GOOD] * 3
    process.communicate()
    assert process.returncode == 0


def test_one_listener_for_each(node: FakeNode) -> None:
    number = free_port()
    process = activate(node, number, "--accept")
    assert [ask(number) for _ in range(2)] == [GOOD] * 2
    process.send_signal(signal.SIGTERM)
    process.communicate()
