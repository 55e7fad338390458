"""How long a good request takes while a hostile crowd holds connections, and how much memory that takes."""

from __future__ import annotations

import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from tests.bench import client
from tests.bench import node as nodes
from tests.bench.table import Goal, Row
from tests.lab.machine import Machine
from tests.lab.network import Netns
from tests.unit.pki import PKI

CROWD, GOOD = 1000, 40
GAP_S = 0.1
FLOOD = 200

# As many as the listener has places (twitch/listener/room.py), and over which protocol they come.
MOST = 256
SHAPES = {"plain": "", "TLS": "optional", "TLS and certificates": "required"}
PIPELINE = b"GET /version HTTP/1.1\r\nHost: node\r\n\r\n" * 100

# A head without its end, and the first byte of a body.
HEAD = b"GET /version HTTP/1.1\r\nHost: node\r\nX-Slow: "
BODY = b"POST /puppet/twitch HTTP/1.1\r\nHost: node\r\nContent-Length: 10000\r\n\r\na"


class Answers(NamedTuple):
    """The answers to good requests during an attack."""

    ms: list[float]
    lost: float


def measure(node: Machine, crowd: Netns, scale: float) -> Iterator[Row]:
    """Yield a row or two for each kind of crowd; the peer is attacked in the same way."""
    count = max(100, int(CROWD * scale))
    for what, attack in _attacks(crowd, count).items():
        both: list[Answers] = []
        for port in (nodes.PORT, nodes.PEER_PORT):
            nodes.stop_listener(node)
            with attack(node.address, port):
                both.append(_good(node, port, max(5, int(GOOD * scale))))
                if port == nodes.PORT:
                    peak = nodes.memory_mib(node, "VmHWM")
        ours, theirs = both
        yield Row(f"{what}: a good request", "ms", ours.ms, Goal(200, "p95"), theirs.ms)
        yield Row(f"{what}: lost", "", [ours.lost], Goal(0), [theirs.lost])
        yield Row(f"{what}: peak resident", "MiB", [peak], Goal(40))
    yield from _pipelining(node, crowd, max(5, int(GOOD * scale)))


def _pipelining(node: Machine, crowd: Netns, count: int) -> Iterator[Row]:
    """Yield rows for as many clients as there are places, that pipeline and do not read; not for the peer."""
    with tempfile.TemporaryDirectory() as directory:
        pki = PKI(Path(directory))
        files = pki.hand_over(Path(directory, "files"), *pki.certificate("node"))
        certificate = pki.certificate("client")
        for what, client_option in SHAPES.items():
            context = None
            if client_option:
                texts = {path.name: path.read_text() for path in files.iterdir()}
                nodes.use_tls(node, texts, client_option)
                context = ssl._create_unverified_context()
                if client_option == "required":
                    context.load_cert_chain(*certificate)
            else:
                nodes.stop_listener(node)
            with _pushing(crowd, node.address, context):
                answers = _good(node, nodes.PORT, count, context)
                peak = nodes.memory_mib(node, "VmHWM")
            name = f"{MOST} pipelining, {what}"
            yield Row(f"{name}: a good request", "ms", answers.ms, Goal(200, "p95"))
            yield Row(f"{name}: lost", "", [answers.lost], Goal(0))
            yield Row(f"{name}: peak resident", "MiB", [peak], Goal(64 if context else 40))
        nodes.use_plain(node)


def _pushing(crowd: Netns, address: str, context: ssl.SSLContext | None) -> ExitStack:
    """Connections from all the crowd's addresses, that send requests until nothing more is taken."""
    held = ExitStack()
    clients: list[socket.socket] = []
    for number in range(MOST):
        one = held.enter_context(crowd.open_socket())
        one.settimeout(client.TIMEOUT_S)
        one.bind((crowd.addresses[number % len(crowd.addresses)], 0))
        one.connect((address, nodes.PORT))
        clients.append(held.enter_context(context.wrap_socket(one)) if context else one)
    for one in clients:
        one.settimeout(0)
        with suppress(OSError):  # ssl's SSLWantWriteError is one
            while True:
                one.send(PIPELINE)
    return held


def _good(node: Machine, port: int, count: int, context: ssl.SSLContext | None = None) -> Answers:
    """Send good requests from the lab's own address, which is not in the crowd."""
    target = "/version" if port == nodes.PORT else "/hooks/nothing"
    answers = []
    for _ in range(count):
        answers.append(client.ask(node.address, port, target, context))
        time.sleep(GAP_S)
    good = [one.took_ms for one in answers if one.status in (200, 404)]
    return Answers(good, float(len(answers) - len(good)))


def _attacks(crowd: Netns, count: int) -> dict[str, Callable[[str, int], ExitStack]]:
    slow = f"{count:,} connections"
    tool = f"slowhttptest, {count:,}"
    rate = str(max(100, count // 4))
    common = ("-c", str(count), "-r", rate, "-l", "30", "-i", "5", "-p", "3")
    return {
        f"{slow}, silent": lambda a, p: _held(crowd, a, p, count, b""),
        f"{slow}, half a head": lambda a, p: _held(crowd, a, p, count, HEAD),
        f"{slow}, half a body": lambda a, p: _held(crowd, a, p, count, BODY),
        f"{tool} slow heads": lambda a, p: _tool(crowd, a, p, "-H", *common),
        f"{tool} slow bodies": lambda a, p: _tool(crowd, a, p, "-B", "-s", "10000", *common),
        f"{tool} slow readers": lambda a, p: _tool(
            crowd, a, p, "-X", "-w", "1", "-y", "2", "-n", "5", "-z", "1", "-k", "3", *common
        ),
        "hey, 200 at once without end": lambda a, p: _flood(crowd, a, p),
    }


def _held(crowd: Netns, address: str, port: int, count: int, sent: bytes) -> ExitStack:
    """Open connections from all the crowd's addresses, and send these bytes and no more."""
    held = ExitStack()
    for number in range(count):
        one = held.enter_context(crowd.open_socket())
        one.bind((crowd.addresses[number % len(crowd.addresses)], 0))
        one.setblocking(False)
        one.connect_ex((address, port))
        if sent:
            one.settimeout(5)
            with suppress(OSError):  # refused already
                one.sendall(sent)
    return held


def _tool(crowd: Netns, address: str, port: int, *options: str) -> ExitStack:
    target = "/puppet/twitch" if port == nodes.PORT else nodes.PEER_TRIGGER
    return _started(
        crowd,
        "slowhttptest",
        *options,
        "-t",
        "POST" if "-B" in options else "GET",
        "-u",
        f"http://{address}:{port}{target}",
    )


def _flood(crowd: Netns, address: str, port: int) -> ExitStack:
    target = "/version" if port == nodes.PORT else "/hooks/nothing"
    url = f"http://{address}:{port}{target}"
    return _started(crowd, "hey", "-z", "30s", "-c", str(FLOOD), "-disable-keepalive", url)


def _started(crowd: Netns, *command: str) -> ExitStack:
    """Run a tool until the stack is closed, for half a minute at most."""
    running = ExitStack()
    process = subprocess.Popen(crowd.command(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    running.callback(process.wait)
    running.callback(process.kill)
    time.sleep(2)
    return running
