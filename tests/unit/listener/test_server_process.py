"""The listener, for real: what it takes over, what it says, and when it leaves."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

import twitch
from tests.unit.api_under_test import RUN, FakeRoot
from tests.unit.fake_node import TWITCH_GID, TWITCH_UID, FakeNode
from tests.unit.listening import (
    GET,
    answer,
    answered,
    ask,
    command,
    connect,
    port,
    said,
    start,
    stopped,
)
from tests.unit.processes import wait_until
from twitch.errors import EX_USAGE
from twitch.records import RUNNING, Record

VERSION = f"{twitch.__version__}\n".encode()
TOKEN = GET.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer secret\r\n\r\n")
KEPT = b"GET /version HTTP/1.1\r\nHost: node\r\n\r\n"


# ---- shapes


@pytest.mark.parametrize(("address", "idle_exit_s"), [("127.0.0.1", "1"), ("::1", "0")])
def test_a_listening_socket(node: FakeNode, address: str, idle_exit_s: str) -> None:
    with port(address) as listening:
        with socket.create_connection(listening.getsockname()[:2]) as client:
            client.sendall(GET)
            process = start(node, listening, "--idle-exit", idle_exit_s)
            assert answer(client) == (200, VERSION)
        assert said(process) == (0, "")


def test_openssl_is_mapped_for_tokens_only(node: FakeNode) -> None:
    def maps() -> str:
        return Path(f"/proc/{process.pid}/maps").read_text()

    with port() as listening:
        process = start(node, listening, "--idle-exit", "60")
        assert ask(listening) == (200, VERSION)
        tokens = node.etc / "puppet-twitch" / "tokens"
        for write in (lambda: None, lambda: tokens.write_text("# none yet\n")):
            write()
            assert ask(listening, TOKEN)[0] == 401
            assert "libcrypto" not in maps()
            assert "libssl" not in maps()
        tokens.write_text(f"deploy {hashlib.sha256(b'secret').hexdigest()}\n")
        os.chown(tokens, 0, TWITCH_GID)
        assert ask(listening, TOKEN) == (200, VERSION)
        assert "libcrypto" in maps()
        assert stopped(process) == (0, "<4>refused 127.0.0.1: 2 x 401 wrong or expired token\n")


@pytest.mark.parametrize("shape", ["one-listener", "one-connection", "foreground"])
def test_root_becomes_the_listeners_user_before_it_serves(node: FakeNode, shape: str) -> None:
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(port())
        client = stack.enter_context(connect(listening))
        if shape == "foreground":
            process = node.start(*command(node, "--port", "0"), stderr=subprocess.PIPE)
            assert process.stderr is not None
            number = int(process.stderr.readline().split()[4].rstrip(b";"))
            client = stack.enter_context(socket.create_connection(("127.0.0.1", number)))
        elif shape == "one-connection":
            process = start(node, stack.enter_context(listening.accept()[0]))
        else:
            process = start(node, listening)
        client.sendall(KEPT)
        assert answer(client) == (200, VERSION)
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.terminate()
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(found["Uid"].split()) == {str(TWITCH_UID)}
    assert set(found["Gid"].split()) == {str(TWITCH_GID)}
    assert found["Groups"].split() == []
    process.communicate()


def test_one_connection(node: FakeNode) -> None:
    with port() as listening:
        client = connect(listening)
        accepted, _ = listening.accept()
    process = start(node, accepted)
    accepted.close()
    with client:
        for _ in range(3):
            client.sendall(KEPT)
            assert answer(client) == (200, VERSION)
        assert process.poll() is None
    assert said(process) == (0, "")


def test_one_connection_whose_client_has_gone(node: FakeNode) -> None:
    with port() as listening:
        client = connect(listening)
        accepted, _ = listening.accept()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    with accepted:
        process = start(node, accepted)
    assert said(process) == (0, "")


def test_no_sockets_at_all(node: FakeNode) -> None:
    process = node.start(*command(node), stderr=subprocess.PIPE)
    assert said(process) == (
        EX_USAGE,
        "puppet-twitch: no sockets from systemd; systemctl start puppet-twitch.socket, "
        "or try: puppet-twitch listen --bind 127.0.0.1 --port 2023\n",
    )


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        pytest.param(socket.AF_UNIX, socket.SOCK_STREAM, id="unix"),
        pytest.param(socket.AF_INET, socket.SOCK_DGRAM, id="udp"),
        pytest.param(socket.AF_UNIX, socket.SOCK_SEQPACKET, id="seqpacket"),
    ],
)
def test_a_socket_of_another_kind(
    node: FakeNode, family: socket.AddressFamily, kind: socket.SocketKind
) -> None:
    with socket.socket(family, kind) as sock:
        process = start(node, sock)
    text = f"puppet-twitch: {family.name} {kind.name} from systemd is not a TCP socket\n"
    assert said(process) == (EX_USAGE, text)


def test_no_socket_but_a_pipe(node: FakeNode, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with open(os.open(tmp_path / "fifo", os.O_RDWR)) as fifo:
        process = node.start(
            "/bin/sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 </dev/null', "sh", *command(node),
            stdin=fifo, stderr=subprocess.PIPE,
        )  # fmt: skip
    code, text = said(process)
    assert (code, text.count("\n")) == (EX_USAGE, 1)


def test_a_connection_and_a_listening_socket_at_once(node: FakeNode) -> None:
    with port() as listening, connect(listening):
        accepted, _ = listening.accept()
        with accepted:
            # The second one arrives as the shell's stderr and is moved on from there.
            process = node.start(
                "/bin/sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=2 exec "$@" 3<&0 4<&2 2>&1 </dev/null', "sh",
                *command(node), stdin=listening.fileno(), stderr=accepted.fileno(),
            )  # fmt: skip
        assert process.wait() == EX_USAGE


# ---- leaving


def test_requests_are_not_lost_across_its_exits(node: FakeNode) -> None:
    """Somebody starts it when the socket is readable, as systemd would; it leaves when idle for a moment.

    Of the bursts of requests some come when it has left, and some whenever they happen to come.
    """
    results: list[tuple[int, bytes]] = []
    exits: list[tuple[int, str]] = []

    def ask_in_bursts() -> None:
        for number in range(10):
            before = len(exits)
            with contextlib.ExitStack() as burst:
                clients = [burst.enter_context(connect(listening)) for _ in range(10)]
                for client in clients:
                    client.sendall(GET)
                results.extend(answer(client) for client in clients)
            if number % 2:
                wait_until(lambda: len(exits) > before, "the listener has ended")  # noqa: B023 (called at once)

    with port() as listening:
        asking = threading.Thread(target=ask_in_bursts)
        asking.start()
        while asking.is_alive():
            if readable(listening):
                exits.append(said(start(node, listening, "--idle-exit", "0")))
    assert results == [(200, VERSION)] * 100
    assert set(exits) == {(0, "")}
    assert len(exits) >= 5


def readable(listening: socket.socket) -> bool:
    """Whether somebody is in the backlog, without taking anybody out of it."""
    return bool(select.select([listening], [], [], 0.05)[0])


def notifications(node: FakeNode) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(os.fspath(node.run / "notify"))
    os.chmod(node.run / "notify", 0o777)  # as PID 1's: the listener is not root
    return sock


def test_systemd_hears_when_it_is_ready_and_when_it_leaves(node: FakeNode) -> None:
    with port() as listening, notifications(node) as systemd:
        process = start(node, listening, "--idle-exit", "0", notify="/run/notify")
        assert [systemd.recv(100), systemd.recv(100)] == [b"READY=1", b"STOPPING=1"]
        assert said(process) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_says_where_to_look_and_answers_what_has_come(node: FakeNode, number: int) -> None:
    root = FakeRoot(os.fspath(node.run / "puppet-twitch/run.sock"))
    os.chown(node.run / "puppet-twitch/run.sock", TWITCH_UID, -1)
    node.store.prepare(TWITCH_GID)
    node.store.write(Record(RUN, RUNNING, asked=1769072700.0, started=1769072701.0))
    with port() as listening, notifications(node) as systemd:
        process = start(node, listening, notify="/run/notify")
        assert systemd.recv(100) == b"READY=1"
        with connect(listening) as waiting, connect(listening) as kept, connect(listening) as half:
            kept.sendall(KEPT)
            assert answer(kept) == (200, VERSION)
            half.sendall(KEPT[:20])
            waiting.sendall(b"GET /puppet/twitch?async=false HTTP/1.1\r\nHost: node\r\n\r\n")
            wait_until(lambda: root.asked, "root is asked")
            # Both have come when it goes on: it gives half a request a second only (STOP_GRACE_S).
            process.send_signal(signal.SIGSTOP)
            process.send_signal(number)
            half.sendall(KEPT[20:])
            process.send_signal(signal.SIGCONT)
            status, headers, body = answered(waiting)
            assert (status, body) == (202, b"Triggered puppet run")
            assert (headers["location"], headers["connection"]) == (f"/puppet/runs/{RUN}", "close")
            assert answer(half) == (200, VERSION)
            assert [client.recv(1) for client in (waiting, kept, half)] == [b""] * 3
        assert systemd.recv(100) == b"STOPPING=1"
        assert said(process) == (0, "")
        assert ask_is_pending(listening)
    root.close()


def ask_is_pending(listening: socket.socket) -> bool:
    """Whoever comes now waits for the next listener."""
    with connect(listening) as late:
        late.sendall(GET)
        late.setblocking(False)
        return readable(listening)


# ---- in the foreground


@pytest.fixture
def foreground(node: FakeNode) -> subprocess.Popen[bytes]:
    return node.start(*command(node, "--port", "0"), stderr=subprocess.PIPE)


def test_in_the_foreground_it_says_where_and_stays_until_ctrl_c(foreground: subprocess.Popen[bytes]) -> None:
    assert foreground.stderr is not None
    line = foreground.stderr.readline().decode()
    assert line.startswith("listening on 127.0.0.1 port ")
    assert line.endswith("; Ctrl-C ends\n")
    number = int(line.split()[4].rstrip(";"))
    with socket.create_connection(("127.0.0.1", number)) as client:
        client.sendall(GET)
        assert answer(client) == (200, VERSION)
    foreground.send_signal(signal.SIGINT)
    assert said(foreground) == (0, "")


def test_in_the_foreground_it_may_be_told_when_to_leave(node: FakeNode) -> None:
    process = node.start(*command(node, "--port", "0", "--idle-exit", "0"), stderr=subprocess.PIPE)
    code, text = said(process)
    assert (code, text.count("\n")) == (0, 1)


def test_a_busy_port_is_named_with_a_mend(node: FakeNode) -> None:
    with port() as listening:
        number = str(listening.getsockname()[1])
        process = node.start(*command(node, "--bind", "127.0.0.1", "--port", number), stderr=subprocess.PIPE)
        text = f"puppet-twitch: cannot listen on 127.0.0.1 port {number}: Address already in use"
        assert said(process) == (EX_USAGE, f"{text}; systemctl stop puppet-twitch.socket\n")


@pytest.mark.parametrize("address", ["192.0.2.1", "::2", "name.invalid"])
def test_an_address_that_is_not_ours_is_named(node: FakeNode, address: str) -> None:
    process = node.start(*command(node, "--bind", address, "--port", "0"), stderr=subprocess.PIPE)
    code, text = said(process)
    assert (code, text.count("\n")) == (EX_USAGE, 1)
    assert text.startswith(f"puppet-twitch: cannot listen on {address} port 0: ")
