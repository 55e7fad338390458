"""Fairness: no crowd of strangers keeps a caller out that has a token, or root busy; on real nodes."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e import access, stub
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns

PLACES = 32  # of one address
HALF = b"GET /version HTTP/1.1\r\nHost: node\r\n"
ACCESS = "plaintext_tokens = yes\ntoken:deploy = trigger status"


@pytest.fixture(scope="session")
def neighbours(lab: Lab) -> Netns:
    """Return a host with two addresses in each family: a stranger's, and that of a caller with a token.

    The lab is one /64, so the two share that as well.
    """
    return lab.client("10.77.0.70", "10.77.0.71", "fd77::70", "fd77::71")


@pytest.fixture
def tidy(node: Machine) -> Iterator[Machine]:
    stub.clear(node)
    stub.stub_puppet(node, access=ACCESS)
    yield node
    stub.clear(node)


@pytest.fixture
def token(tidy: Machine) -> str:
    """Return the header of a caller that [access] names."""
    token, line = access.new_token(tidy, "deploy")
    access.write_tokens(tidy, line)
    return f"Authorization: Bearer {token}"


def trigger(query: str, *headers: str) -> bytes:
    lines = (f"GET /puppet/twitch?{query} HTTP/1.1", "Host: node", *headers, "", "")
    return "\r\n".join(lines).encode()


def connect(held: ExitStack, client: Netns, node: Machine, source: str, said: bytes) -> socket.socket:
    address = node.address6 if ":" in source else node.address
    connection = held.enter_context(client.connect(address, 2023, source=source))
    connection.settimeout(60)
    connection.sendall(said)
    return connection


def answer(connection: socket.socket) -> bytes:
    """Return the head of the next answer."""
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(4096)
        assert more, head
        head += more
    return head


SHARED = {"nat": ("10.77.0.70", "10.77.0.70"), "network-of-64": ("fd77::70", "fd77::71")}


@pytest.mark.parametrize(("strangers", "holder"), SHARED.values(), ids=SHARED)
def test_slow_strangers_keep_no_neighbour_out(
    tidy: Machine, neighbours: Netns, token: str, strangers: str, holder: str
) -> None:
    with ExitStack() as held:
        for _ in range(3 * PLACES):
            connect(held, neighbours, tidy, strangers, HALF)
        assert tidy.curl("/version").status == 200  # so all of the crowd has been accepted
        time.sleep(0.2)  # longer than FAIR_S, in which no connection makes room: nothing happens in this time
        for _ in range(5):
            connection = connect(held, neighbours, tidy, holder, trigger("queue=true", token))
            assert answer(connection).startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize(("strangers", "holder"), SHARED.values(), ids=SHARED)
def test_waiting_strangers_keep_no_neighbour_out(
    tidy: Machine, neighbours: Netns, token: str, strangers: str, holder: str
) -> None:
    run = stub.hold(tidy)
    waits = f"GET /puppet/runs/{run}?wait=600 HTTP/1.1\r\nHost: node\r\n\r\n".encode()
    with ExitStack() as held:
        crowd = [connect(held, neighbours, tidy, strangers, waits) for _ in range(PLACES)]
        # Until the listener has read each request. Before that, a connection is idle and makes room first.
        tidy.wait(f"test $(ss -Htn state established 'sport = :2023' | awk '$1 == 0' | wc -l) -ge {PLACES}")
        connection = connect(held, neighbours, tidy, holder, trigger("async=false&queue=true", token))
        if strangers == holder:
            # The oldest stranger is told that the run goes on, and asks again if it likes.
            assert f"Puppet-Run: {run}".encode() in answer(crowd[0])
        crowd += [connect(held, neighbours, tidy, strangers, waits) for _ in range(2 * PLACES)]
        stub.release(tidy)
        assert b"\r\nPuppet-Verdict: " in answer(connection)  # it has waited for the end


# Strangers that ask again as soon as they are answered, until a file exists.
ENDLESS = """
import asyncio, json, os, sys

counts = {}

async def ask(node, source, over):
    while not os.path.exists(over):
        try:
            reader, writer = await asyncio.open_connection(node, 2023, local_addr=(source, 0))
            writer.write(b"GET /version HTTP/1.1\\r\\nHost: node\\r\\nConnection: close\\r\\n\\r\\n")
            status = (await reader.readuntil(b"\\r\\n")).split()[1].decode()
            writer.close()
        except (OSError, asyncio.IncompleteReadError) as error:
            status = type(error).__name__
        counts[status] = counts.get(status, 0) + 1

async def main(node, source, over):
    await asyncio.gather(*(ask(node, source, over) for _ in range(200)))

asyncio.run(main(*sys.argv[1:]))
print(json.dumps(counts))
"""


def test_endless_strangers_keep_no_neighbour_out(
    tidy: Machine, neighbours: Netns, token: str, tmp_path: Path
) -> None:
    source, over = "10.77.0.70", tmp_path / "over"
    run = stub.hold(tidy)
    strangers = neighbours.popen("python3", "-c", ENDLESS, tidy.address, source, os.fspath(over))
    tidy.wait("test $(ss -Htn state established 'sport = :2023' | wc -l) -ge 100")
    with ExitStack() as held:
        for _ in range(20):
            connection = connect(held, neighbours, tidy, source, trigger("queue=true", token))
            assert answer(connection).startswith(b"HTTP/1.1 202 ")
    over.touch()
    output, _ = strangers.communicate(timeout=60)
    counts = json.loads(output)
    # Each of them is answered as well, in its turn.
    assert set(counts) == {"200"}, counts
    stub.release(tidy)
    stub.end_of(tidy, run)


# A local user has all of 127/8: four connections of each of 64 sources ask for the same, until a file exists
# and MANY of them are answered that they have joined the run in the queue.
MANY, OVER = 400, "/root/over"
CROWD = """
import asyncio, json, os, sys

ASKED = b"GET /puppet/twitch?queue=true HTTP/1.1\\r\\nHost: node\\r\\n\\r\\n"
counts = {}

async def ask(source, over, many):
    while counts.get("202", 0) < many or not os.path.exists(over):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", 2023, local_addr=(source, 0))
            writer.write(ASKED)
            status = (await reader.readuntil(b"\\r\\n")).split()[1].decode()
            writer.close()
        except (OSError, asyncio.IncompleteReadError) as error:
            status = type(error).__name__
        counts[status] = counts.get(status, 0) + 1

async def main(over, many):
    await asyncio.gather(*(ask(f"127.0.1.{n % 64 + 1}", over, int(many)) for n in range(256)))

asyncio.run(main(*sys.argv[1:]))
print(json.dumps(counts))
"""


def test_queue_requests_from_64_sources_keep_nobody_out(tidy: Machine, neighbours: Netns, token: str) -> None:
    run = stub.hold(tidy)
    place, before = access.journal_cursor(tidy), access.handlers_started(tidy)
    began = time.monotonic()
    tidy.run("rm", "-f", OVER)
    crowd = tidy.popen("python3", "-c", CROWD, OVER, str(MANY))
    with ExitStack() as held:
        tidy.wait(lambda: access.handlers_started(tidy) > before + 1)
        for _ in range(40):
            connection = connect(held, neighbours, tidy, "10.77.0.70", stub.VERSION)
            assert answer(connection).startswith(b"HTTP/1.1 200 ")
        named = connect(held, neighbours, tidy, "10.77.0.71", trigger("queue=true", token))
        assert answer(named).startswith(b"HTTP/1.1 202 ")
    tidy.run("touch", OVER)
    output, _ = crowd.communicate(timeout=120)
    took_s = time.monotonic() - began
    counts = json.loads(output)
    assert counts["202"] >= MANY, counts
    # Twenty times a second before; now about once, and for the named caller that joins.
    assert access.handlers_started(tidy) - before <= 2 * took_s + 5
    # The waiting run is of the first stranger, or of the named caller that took its place.
    tidy.run("systemctl", "stop", "puppet-twitch.service")
    lines = access.await_message(tidy, place, "anonymous requests joined run ")
    pattern = r"^(\d+) more anonymous requests? joined run \w+, from (\d+) addresses"
    joined = re.findall(pattern, "\n".join(lines), re.MULTILINE)
    # All others have asked root.
    assert MANY / 2 < sum(int(count) for count, _ in joined) <= counts["202"]
    assert any("token:deploy at 10.77.0.71 asked for a run (queue)" in line for line in lines)
    stub.release(tidy)
    stub.end_of(tidy, run)
