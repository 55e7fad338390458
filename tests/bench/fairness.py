"""A caller with a token or a certificate, at an address of the crowd: does it get through, and when?"""

from __future__ import annotations

import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench import crowds
from tests.bench import node as nodes
from tests.bench.table import Goal, Row
from tests.e2e import access
from tests.lab.machine import Machine
from tests.lab.network import Netns
from tests.unit.pki import PKI

CALLS, GAP_S = 40, 0.1
WAITING = 256
TIMEOUT_S = 20
ACCESS = "[access]\ncooldown = 0\nplaintext_tokens = yes\ntoken:bench = trigger status\n[puppet]\npath = {}\n"


def measure(node: Machine, crowd: Netns, scale: float) -> Iterator[Row]:
    """Yield two rows for each kind of crowd; the peer knows no callers, so it is not asked."""
    token, line = access.new_token(node, "bench")
    access.write_tokens(node, line)
    open_to_all = node.read(nodes.CONFIG)
    node.write(nodes.CONFIG, ACCESS.format(f"{nodes.STUB}/puppet"))
    nodes.inside(node, f"{nodes.STUB}/hold").touch()
    try:
        for what, attack in _attacks(node, crowd, scale).items():
            nodes.stop_listener(node)
            with attack(node.address, nodes.PORT):
                yield from _named(what, lambda: _ask(node, crowd, f"Authorization: Bearer {token}"), scale)
        yield from _over_tls(node, crowd, scale)
    finally:
        node.write(nodes.CONFIG, open_to_all)
        nodes.inside(node, f"{nodes.STUB}/hold").unlink()
        nodes.stop_listener(node)
        nodes.await_quiet(node)


def _named(what: str, ask: Callable[[], tuple[int, float]], scale: float) -> Iterator[Row]:
    answers = [ask() for _ in range(max(5, int(CALLS * scale)))]
    good = [took_ms for status, took_ms in answers if status in (202, 409)]
    yield Row(f"{what}: a named caller at its address", "ms", good, Goal(200, "p95"))
    yield Row(f"{what}: named callers lost", "", [float(len(answers) - len(good))], Goal(0))


def _over_tls(node: Machine, crowd: Netns, scale: float) -> Iterator[Row]:
    """Yield rows for crowds that speak TLS, and a caller with a certificate."""
    with tempfile.TemporaryDirectory() as directory:
        pki = PKI(Path(directory))
        files = pki.hand_over(Path(directory, "files"), *pki.certificate("node"))
        texts = {path.name: path.read_text() for path in files.iterdir()}
        context = ssl._create_unverified_context()
        context.load_cert_chain(*pki.certificate("bench"))
        for what, client_option in crowds.SHAPES.items():
            if not client_option:
                continue
            nodes.use_tls(node, texts, client_option, "cert:bench = trigger status")
            with crowds._pushing(crowd, node.address, context):
                yield from _named(
                    f"{crowds.MOST} pipelining, {what}", lambda: _ask(node, crowd, context=context), scale
                )
            if client_option == "optional":  # hey has no certificate
                url = f"https://{node.address}:{nodes.PORT}/version"
                flood = ("hey", "-z", "60s", "-c", str(crowds.FLOOD), "-disable-keepalive", url)
                with crowds._started(crowd, *flood):
                    named = f"hey, {crowds.FLOOD} at once without end, {what}"
                    yield from _named(named, lambda: _ask(node, crowd, context=context), scale)
        nodes.use_plain(node)


def _attacks(node: Machine, crowd: Netns, scale: float) -> dict[str, Callable[[str, int], ExitStack]]:
    return {
        **crowds._attacks(crowd, max(100, int(crowds.CROWD * scale))),
        f"{WAITING} strangers that wait for a run": lambda a, p: _waiting(crowd, a, p),
        "wrk, 256 with queue=true without end": lambda a, p: _queueing(crowd, a, p),
    }


def _waiting(crowd: Netns, address: str, port: int) -> ExitStack:
    asked = b"GET /puppet/twitch?async=false&queue=true HTTP/1.1\r\nHost: node\r\n\r\n"
    return crowds._held(crowd, address, port, WAITING, asked)


def _queueing(crowd: Netns, address: str, port: int) -> ExitStack:
    url = f"http://{address}:{port}/puppet/twitch?queue=true"
    return crowds._started(crowd, "wrk", "-t", "2", "-c", "256", "-d", "30s", "-H", "Connection: close", url)


def _ask(
    node: Machine, crowd: Netns, *headers: str, context: ssl.SSLContext | None = None
) -> tuple[int, float]:
    """Ask for a run from the first address of the crowd; return the status, 0 for none, and the time."""
    lines = ("GET /puppet/twitch HTTP/1.1", "Host: node", *headers, "", "")
    time.sleep(GAP_S)
    start = time.perf_counter()
    answer = b""
    try:
        with crowd.open_socket() as connection:
            connection.settimeout(TIMEOUT_S)
            connection.bind((crowd.addresses[0], 0))
            connection.connect((node.address, nodes.PORT))
            with context.wrap_socket(connection) if context else connection as either:
                either.sendall("\r\n".join(lines).encode())
                answer = either.recv(4096)
    except (OSError, socket.timeout):
        pass
    took_ms = 1000 * (time.perf_counter() - start)
    return (int(answer.split()[1]) if answer.startswith(b"HTTP/1.") else 0), took_ms
