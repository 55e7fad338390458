"""The way between a caller and the node: a router that forgets idle connections, slow links, full buffers."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.e2e import stub
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns

ROUTER = "10.77.0.240"
FORGETS_AFTER_S = 20


@pytest.fixture
def tidy12(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    yield node12
    stub.clear(node12)


@pytest.fixture(scope="module")
def behind_router(lab: Lab) -> Iterator[Netns]:
    """Return a client behind a router that translates addresses, and forgets connections that are idle."""
    router = lab.client(ROUTER)
    behind = Netns("behind", ("10.78.0.2",))

    for line in (
        f"netns add {behind.name}",
        f"link add inside0 netns {router.name} type veth peer name host0 netns {behind.name}",
        f"-n {router.name} address add 10.78.0.1/24 dev inside0",
        f"-n {router.name} link set inside0 up",
        f"-n {behind.name} address add 10.78.0.2/24 dev host0",
        f"-n {behind.name} link set host0 up",
        f"-n {behind.name} route add default via 10.78.0.1",
    ):
        subprocess.run(["ip", *line.split()], check=True)
    router.run("nft", "add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; }")
    router.run("nft", 'add rule ip nat out oifname "host0" masquerade')
    router.run(
        "sysctl", "--quiet", "--write", "net.ipv4.ip_forward=1", "net.netfilter.nf_conntrack_tcp_loose=0",
        f"net.netfilter.nf_conntrack_tcp_timeout_established={FORGETS_AFTER_S}",
    )  # fmt: skip
    yield behind
    subprocess.run(["ip", "netns", "delete", behind.name], check=True)


def test_a_caller_behind_a_router_that_forgets_hears_the_end(tidy12: Machine, behind_router: Netns) -> None:
    stub.stub_puppet(tidy12)
    stub.hold_runs(tidy12)
    request = b"GET /puppet/twitch?async=false HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"
    with behind_router.connect(tidy12.address, 2023) as client:
        client.sendall(request)
        tidy12.wait(f"test -e {stub.HELD}")
        timers = tidy12.sh(f"ss --no-header --options --tcp --numeric dst {ROUTER}").stdout
        assert "timer:(keepalive," in timers
        # The time of the router, not of a condition.
        time.sleep(FORGETS_AFTER_S + 5)
        stub.release(tidy12)
        client.settimeout(60)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 500 ")  # the stub leaves no report
    assert b"Puppet-Verdict: not attempted" in answer


def test_a_listener_in_the_foreground_keeps_connections_alive(tidy12: Machine) -> None:
    tidy12.run("systemctl", "stop", "puppet-twitch.socket", "puppet-twitch.service")
    command = "echo $$ >/root/pid; exec puppet-twitch listen --bind 0.0.0.0 --port 2024"
    listener = tidy12.popen("/bin/sh", "-c", command)
    try:
        tidy12.wait("ss --no-header --listening --tcp --numeric sport = :2024 | grep -q .")
        with socket.create_connection((tidy12.address, 2024)):
            tidy12.wait("ss --no-header --options --tcp --numeric sport = :2024 | grep -q timer:.keepalive")
    finally:
        tidy12.sh("kill $(cat /root/pid)")
        listener.communicate(timeout=60)


# ---- buffers in the kernel

CONNECTIONS, ADDRESSES = 256, 16
PIPELINE = b"GET /version HTTP/1.1\r\nHost: node\r\n\r\n" * 1000
# Receive and send queues, as the kernel accounts for them: ss(8), skmem.
QUEUES = re.compile(r"skmem:\(r(\d+),rb\d+,t(\d+),tb\d+,f\d+,w(\d+)")


def queued_bytes(node: Machine) -> int:
    shown = node.sh("ss --no-header --memory --tcp --numeric state established sport = :2023").stdout
    return sum(int(number) for queues in QUEUES.findall(shown) for number in queues)


def test_clients_that_send_and_do_not_read_fill_no_buffers(tidy12: Machine, lab: Lab) -> None:
    crowd = lab.client(*(f"10.77.0.{150 + number}" for number in range(ADDRESSES)))
    connections = [
        crowd.connect(tidy12.address, 2023, source=crowd.addresses[number % ADDRESSES])
        for number in range(CONNECTIONS - 1)
    ]
    try:
        for connection in connections:
            connection.setblocking(False)
        sent, rounds = 1, 0
        while sent and rounds < 50:
            sent, rounds = 0, rounds + 1
            for connection in connections:
                try:
                    sent += connection.send(PIPELINE)
                except (BlockingIOError, ConnectionError):
                    continue
            time.sleep(0.1)
        total = queued_bytes(tidy12)
        assert total < 40 * 2**20, total
        assert tidy12.curl("/version").status == 200
    finally:
        for connection in connections:
            connection.close()


def test_a_large_request_passes_a_slow_link(tidy12: Machine) -> None:
    stub.stub_puppet(tidy12)
    head = b"POST /puppet/twitch HTTP/1.1\r\nHost: node\r\nConnection: close\r\nX-Long: %s\r\n" % (
        b"x" * 15000
    )
    body = b"queue=false"
    form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(body)
    request = head + form + body
    with socket.create_connection((tidy12.address, 2023)) as client:
        for start in range(0, len(request), 1024):
            client.sendall(request[start : start + 1024])
            time.sleep(0.05)
        client.settimeout(60)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 202 "), answer
