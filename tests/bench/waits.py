"""The cost of a run that a caller waits for, beside that run by hand; triggers over TLS; newer systems."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.bench import client, triggers
from tests.bench import node as nodes
from tests.bench.table import Goal, Row, percentile
from tests.lab.errors import NotBuiltError
from tests.lab.install import install
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.unit.pki import PKI

WAITED, TLS, OTHER = 30, 20, 20
WAIT = f"{nodes.TRIGGER}?async=false"

# Machine -> image, and how its rows are called.
SYSTEMS = {"node13": ("debian13", "Debian 13"), "nodetesting": ("debiantesting", "Debian testing")}

Before = Callable[[Machine], None]


def measure(node: Machine, scale: float) -> Iterator[Row]:
    """Yield the rows about runs that a caller waits for."""
    yield from _waited(node, max(3, int(scale * WAITED)))


def measure_tls(node: Machine, scale: float) -> Iterator[Row]:
    """Yield the rows about triggers over TLS by a caller with a certificate."""
    count = max(3, int(scale * TLS))
    with tempfile.TemporaryDirectory() as directory:
        pki = PKI(Path(directory))
        files = pki.hand_over(Path(directory, "files"), *pki.certificate("node"))
        texts = {path.name: path.read_text() for path in files.iterdir()}
        context = ssl._create_unverified_context()
        context.load_cert_chain(*pki.certificate("bench"))
        nodes.use_tls(node, texts, "required", "cert:bench = trigger status")
        client.ask(node.address, nodes.PORT, "/version", context)
        for what, before in (("warm", None), ("cold", nodes.stop_listener)):
            answers = [_ask(node, nodes.TRIGGER, 202, before, context).took_ms for _ in range(count)]
            yield Row(f"{what} trigger with a client certificate: 202", "ms", answers)
        nodes.use_plain(node)


def measure_systems(lab: Lab, scale: float) -> Iterator[Row]:
    """Yield the rows about triggers and waited runs on systems that have no peer in their image."""
    count = max(3, int(scale * OTHER))
    for name, (image, system) in SYSTEMS.items():
        try:
            node = lab.boot(name, image=image)
        except NotBuiltError:
            continue  # Debian testing has days without an image
        install(node)
        nodes.prepare(node, peer=False)
        for row in (*_triggers(node, count), *_waited(node, count)):
            yield replace(row, what=f"{system}: {row.what}", goal=None)
        lab.discard(node)


def _triggers(node: Machine, count: int) -> Iterator[Row]:
    client.ask(node.address, nodes.PORT, "/version")
    for what, before in (("warm", None), ("cold", nodes.stop_listener)):
        answers = [_ask(node, nodes.TRIGGER, 202, before).took_ms for _ in range(count)]
        yield Row(f"{what} trigger: 202", "ms", answers)


def _waited(node: Machine, count: int) -> Iterator[Row]:
    by_hand = percentile([triggers.direct(node).verdict for _ in range(count)], 50)
    note = f"the whole time of a request that waits, less the {by_hand:.1f} of the stub by hand"
    late: list[float] = []
    for what, before in (("warm", None), ("cold", nodes.stop_listener)):
        took = []
        for _ in range(count):
            asked = _ask(node, WAIT, 200, before)
            took.append(asked.took_ms - by_hand)
            late.append(1000 * (asked.began - nodes.await_record(node, asked.run)["ended"]) + asked.took_ms)
        yield Row(f"waited run beyond the same run by hand, {what}", "ms", took, Goal(80), note=note)
    note = "from the moment at which conclude looks at what Puppet has left"
    yield Row("verdict to caller", "ms", late, Goal(20), note=note)


def _ask(
    node: Machine, target: str, status: int, before: Before | None, context: ssl.SSLContext | None = None
) -> client.Timed:
    """Return the answer to a request, when its run has ended."""
    if before:
        before(node)
    asked = client.ask(node.address, nodes.PORT, target, context)
    if asked.status != status:
        raise AssertionError(f"{target} was answered {asked}")
    nodes.await_end(node, asked.run)
    return asked
