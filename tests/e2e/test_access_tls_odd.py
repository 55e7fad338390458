"""TLS that is weak, plain, slow, crowded or half set up: a clear answer, and nobody else waits."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.e2e import access, pki, stub
from tests.e2e.access import remote
from tests.e2e.pki import ask, own
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns

GRANTS = """\
anonymous =
cert:node1* = trigger tags status
"""


@pytest.fixture
def node(agent: Machine) -> Iterator[Machine]:
    yield from pki.watched(agent)


@pytest.fixture
def tidy12(agent12: Machine) -> Iterator[Machine]:
    yield from pki.watched(agent12)


@pytest.fixture
def other(node: Machine, agent12: Machine, agent13: Machine) -> Machine:
    """Return the node that asks."""
    return agent13 if node is agent12 else agent12


@pytest.fixture(scope="session")
def elsewhere(lab: Lab) -> Netns:
    return lab.client("10.77.0.54", *(f"10.77.0.{number}" for number in range(180, 190)))


@pytest.mark.parametrize("each", [False, True], ids=["one-listener", "a-listener-each"])
def test_plain_http_is_told_so(node: Machine, elsewhere: Netns, each: bool) -> None:
    pki.tls_on(node, GRANTS, each=each)
    reply = remote(elsewhere, f"http://{node.address}:2023/version")
    assert (reply.status, reply.body) == (400, "This port speaks TLS: use https://\n")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("-tls1",), id="tls-1.0"),
        pytest.param(("-tls1_1",), id="tls-1.1"),
        pytest.param(("-tls1_2", "-cipher", "AES256-SHA:@SECLEVEL=0"), id="cbc"),
        pytest.param(("-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"), id="rsa-key-exchange"),
        pytest.param(("-tls1_2", "-cipher", "DHE-RSA-AES256-SHA256:@SECLEVEL=0"), id="dhe-cbc"),
        pytest.param(("-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"), id="ecdhe-cbc"),
        pytest.param(("-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"), id="no-encryption"),
        pytest.param(("-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"), id="no-authentication"),
    ],
)
def test_old_protocols_and_weak_ciphers_are_refused(
    tidy12: Machine, elsewhere: Netns, options: tuple[str, ...]
) -> None:
    pki.tls_on(tidy12, GRANTS)
    if "-cipher" not in options:
        options = (*options, "-cipher", "ALL:@SECLEVEL=0")
    command = ("openssl", "s_client", "-connect", f"{tidy12.address}:2023", "-ign_eof", *options)
    asked = subprocess.run(elsewhere.command(command), input=stub.VERSION, capture_output=True)
    assert asked.returncode != 0
    assert b"HTTP/1.1" not in asked.stdout
    strong = ("openssl", "s_client", "-connect", f"{tidy12.address}:2023", "-ign_eof", "-tls1_2")
    asked = subprocess.run(elsewhere.command(strong), input=stub.VERSION, capture_output=True)
    assert b"HTTP/1.1 200 OK" in asked.stdout


def test_hundreds_who_never_finish_their_handshake(node: Machine, other: Machine, elsewhere: Netns) -> None:
    pki.tls_on(node, GRANTS)
    with ExitStack() as held:
        for number in range(400):
            source = elsewhere.addresses[1 + number % 10]
            one = held.enter_context(elsewhere.connect(node.address, 2023, source=source))
            if number % 2:
                one.sendall(b"\x16\x03\x01\x02\x00\x01")
        for _ in range(3):
            assert ask(other, node, "/puppet/status", *own(other))[0] == 200


def test_one_address_has_so_many_connections(tidy12: Machine, agent13: Machine, elsewhere: Netns) -> None:
    pki.tls_on(tidy12, GRANTS)
    with ExitStack() as held:
        sockets: list[socket.socket] = []
        for _ in range(40):
            connection = elsewhere.connect(tidy12.address, 2023, source=elsewhere.addresses[1])
            sockets.append(held.enter_context(connection))
            connection.sendall(b"\x16")
        refused = sockets[-1]
        refused.settimeout(60)
        assert b"More than 32 connections from one address" in refused.recv(65536)
        assert ask(agent13, tidy12, "/puppet/status", *own(agent13))[0] == 200


@pytest.mark.parametrize("each", [False, True], ids=["one-listener", "a-listener-each"])
def test_who_is_left_out_by_from_gets_no_handshake(
    node: Machine, other: Machine, elsewhere: Netns, each: bool
) -> None:
    pki.tls_on(node, f"from = {other.address}/32 {other.address6}/128\n{GRANTS}", each=each)
    place = access.now(node)
    source = elsewhere.addresses[0]
    for first in (b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost: node\r\n\r\n"):
        with elsewhere.connect(node.address, 2023, source=source) as left_out:
            left_out.settimeout(60)
            left_out.sendall(first)
            with suppress(ConnectionResetError):
                assert left_out.recv(100) == b""
    access.refused(node, place, f"refused {source}: ")
    assert any(f"refused {source}: " in line and "x 403" in line for line in access.since(node, place))
    assert ask(other, node, "/puppet/status", *own(other))[0] == 200


def test_a_missing_file_is_found_by_check_and_heals(tidy12: Machine, agent13: Machine) -> None:
    pki.tls_on(tidy12, GRANTS)
    key = f"{pki.SSL}/private_keys/{tidy12.name}.pem"
    tidy12.run("mv", key, f"{key}.away")
    try:
        with agent13.netns.connect(tidy12.address, 2023) as waiting:
            waiting.sendall(b"\x16")  # somebody asks, and the start fails
            tidy12.wait("systemctl show -P Result puppet-twitch.service | grep -v success")
            found = tidy12.run("puppet-twitch", "check", check=False)
        assert found.returncode == 1
        assert f"FAULT TLS: missing key ({key}), so puppet-twitch.service cannot start" in found.stdout
        set_up = "set up certificate, key, CA and CRL as /usr/share/doc/puppet-twitch/tls.conf describes"
        assert f"fix: {set_up}" in found.stdout
    finally:
        tidy12.run("mv", f"{key}.away", key)
    # RestartSec= heals by itself; the port was never given up.
    assert ask(agent13, tidy12, "/puppet/status", *own(agent13))[0] == 200


def test_without_the_drop_in_the_port_says_so(tidy12: Machine) -> None:
    stub.stub_puppet(tidy12, access=f"{GRANTS}\n[tls]\nenabled = yes")
    place = access.now(tidy12)
    reply = tidy12.curl("/version")
    assert (reply.status, "see its journal" in reply.body) == (503, True)
    text = "[tls] enabled = yes, but systemd passes no credential 'cert'; see tls.conf"
    assert access.heard(tidy12, place, text).count(text) == 1
