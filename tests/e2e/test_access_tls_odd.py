"""TLS that is weak, missing, slow, crowded or half configured: a clear answer, and others are not delayed."""

from __future__ import annotations

import socket
import subprocess
from contextlib import ExitStack, suppress

import pytest

from tests.e2e import access, pki, stub
from tests.e2e.access import remote
from tests.e2e.pki import ask, own
from tests.lab.machine import Machine
from tests.lab.network import Netns

GRANTS = """\
anonymous =
cert:node1* = trigger tags status
"""


@pytest.mark.parametrize("per_connection", [False, True], ids=["one-listener", "per-connection"])
def test_plain_http_on_the_tls_port_gets_400(
    tls_node: Machine, elsewhere: Netns, per_connection: bool
) -> None:
    pki.tls_on(tls_node, GRANTS, per_connection=per_connection)
    reply = remote(elsewhere, f"http://{tls_node.address}:2023/version")
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
    tls_node12: Machine, elsewhere: Netns, options: tuple[str, ...]
) -> None:
    pki.tls_on(tls_node12, GRANTS)
    if "-cipher" not in options:
        options = (*options, "-cipher", "ALL:@SECLEVEL=0")
    command = ("openssl", "s_client", "-connect", f"{tls_node12.address}:2023", "-ign_eof", *options)
    asked = subprocess.run(elsewhere.command(command), input=stub.VERSION, capture_output=True, timeout=60)
    assert asked.returncode != 0
    assert b"HTTP/1.1" not in asked.stdout
    strong = ("openssl", "s_client", "-connect", f"{tls_node12.address}:2023", "-ign_eof", "-tls1_3")
    asked = subprocess.run(elsewhere.command(strong), input=stub.VERSION, capture_output=True, timeout=60)
    assert b"HTTP/1.1 200 OK" in asked.stdout


def test_unfinished_handshakes_do_not_delay_others(
    tls_node: Machine, other_node: Machine, crowd: Netns
) -> None:
    pki.tls_on(tls_node, GRANTS)
    with ExitStack() as held:
        for number in range(400):
            source = crowd.addresses[number % len(crowd.addresses)]
            one = held.enter_context(crowd.connect(tls_node.address, 2023, source=source))
            if number % 2:
                one.sendall(b"\x16\x03\x01\x02\x00\x01")
        for _ in range(3):
            assert ask(other_node, tls_node, "/puppet/status", *own(other_node))[0] == 200


def test_unfinished_handshakes_of_an_address_make_room(
    tls_node12: Machine, agent13: Machine, elsewhere: Netns
) -> None:
    pki.tls_on(tls_node12, GRANTS)
    with ExitStack() as held:
        sockets: list[socket.socket] = []
        for _ in range(40):
            connection = elsewhere.connect(tls_node12.address, 2023, source=elsewhere.addresses[0])
            sockets.append(held.enter_context(connection))
            connection.sendall(b"\x16" if len(sockets) < 40 else stub.VERSION)
        last = sockets[-1]
        last.settimeout(60)
        assert b"This port speaks TLS" in last.recv(65536)
        tls_node12.wait("test $(ss -Htn state established 'sport = :2023' | wc -l) -lt 40")
        assert ask(agent13, tls_node12, "/puppet/status", *own(agent13))[0] == 200


@pytest.mark.parametrize("per_connection", [False, True], ids=["one-listener", "per-connection"])
def test_address_outside_from_gets_no_handshake(
    tls_node: Machine, other_node: Machine, elsewhere: Netns, per_connection: bool
) -> None:
    pki.tls_on(
        tls_node,
        f"from = {other_node.address}/32 {other_node.address6}/128\n{GRANTS}",
        per_connection=per_connection,
    )
    cursor = access.journal_cursor(tls_node)
    source = elsewhere.addresses[0]
    for first in (b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost: node\r\n\r\n"):
        with elsewhere.connect(tls_node.address, 2023, source=source) as left_out:
            left_out.settimeout(60)
            left_out.sendall(first)
            with suppress(ConnectionResetError):
                assert left_out.recv(100) == b""
    access.logged_refusals(tls_node, cursor, f"refused {source}: ")
    assert any(
        f"refused {source}: " in line and "x 403 address outside [access] from" in line
        for line in access.messages_since(tls_node, cursor)
    )
    assert ask(other_node, tls_node, "/puppet/status", *own(other_node))[0] == 200


def test_missing_key_is_reported_by_check_and_recovers(tls_node12: Machine, agent13: Machine) -> None:
    pki.tls_on(tls_node12, GRANTS)
    key = f"{pki.SSL}/private_keys/{tls_node12.name}.pem"
    tls_node12.run("mv", key, f"{key}.away")
    try:
        with agent13.netns.connect(tls_node12.address, 2023) as waiting:
            waiting.sendall(b"\x16")  # a client connects, and the start fails
            tls_node12.wait("systemctl show -P Result puppet-twitch.service | grep -v success")
            check = tls_node12.run("puppet-twitch", "check", check=False)
        assert check.returncode == 1
        assert f"FAULT TLS: missing key ({key}), so puppet-twitch.service cannot start" in check.stdout
        fix = "set up certificate, key, CA and CRL as /usr/share/puppet-twitch/tls.conf describes"
        assert f"fix: {fix}" in check.stdout
    finally:
        tls_node12.run("mv", f"{key}.away", key)
    # systemd retries after RestartSec=; the port stayed open.
    assert ask(agent13, tls_node12, "/puppet/status", *own(agent13))[0] == 200


def test_tls_enabled_without_credentials_gets_503(tls_node12: Machine) -> None:
    stub.stub_puppet(tls_node12, access=f"{GRANTS}\n[tls]\nenabled = yes")
    cursor = access.journal_cursor(tls_node12)
    reply = tls_node12.curl("/version")
    assert (reply.status, "see its journal" in reply.body) == (503, True)
    text = "[tls] enabled = yes, but systemd passes no credential 'cert'; see tls.conf"
    assert access.await_message(tls_node12, cursor, text).count(text) == 1
