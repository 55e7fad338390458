"""TLS with Puppet's own certificates: node to node, and nobody else, in both shapes of the listener."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from tests.e2e import access, pki, stub
from tests.e2e.access import bearer, remote
from tests.e2e.pki import own, shown
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns
from tests.lab.server import PuppetServer

GRANTS = """\
anonymous =
cert:node1* = trigger tags status
cert:node9* = trigger status
cert:gone-*.example.com = status
"""

# What asyncio or we would say if something went wrong that we had not thought of.
COMPLAINTS = ("Traceback", "eof_received", "never retrieved", "was destroyed", "Fatal error", "failed (")


@pytest.fixture
def node(agent: Machine) -> Iterator[Machine]:
    yield from _watched(agent)


@pytest.fixture
def tidy12(agent12: Machine) -> Iterator[Machine]:
    yield from _watched(agent12)


def _watched(machine: Machine) -> Iterator[Machine]:
    stub.clear(machine)
    place = access.now(machine)
    yield machine
    stub.clear(machine)
    lines = access.since(machine, place)
    assert [line for line in lines if any(complaint in line for complaint in COMPLAINTS)] == []


@pytest.fixture
def other(node: Machine, agent12: Machine, agent13: Machine) -> Machine:
    """Return the node that asks."""
    return agent13 if node is agent12 else agent12


@pytest.fixture(scope="module")
def elsewhere(lab: Lab) -> Netns:
    return lab.client("10.77.0.51", *(f"10.77.0.{number}" for number in range(160, 170)))


def ask(client: Machine, node: Machine, path: str, *arguments: str) -> tuple[int, str]:
    """Ask from one node to the other; return status and body, or 0 and what curl says."""
    try:
        reply = client.curl(f"https://{node.name}:2023{path}", *arguments)
    except LabError as error:
        return 0, str(error)
    return reply.status, reply.body


@pytest.mark.parametrize("each", [False, True], ids=["one-listener", "a-listener-each"])
def test_a_node_triggers_another_by_its_certificate(node: Machine, other: Machine, each: bool) -> None:
    pki.tls_on(node, GRANTS, each=each)
    reply = other.curl(f"https://{node.name}:2023/puppet/twitch?tags=a", *own(other))
    assert (reply.status, reply.body) == (202, "Triggered puppet run"), reply
    run = str(reply.headers["Puppet-Run"])
    ended = other.curl(f"https://{node.name}:2023/puppet/runs/{run}?wait=60", *own(other))
    assert ended.headers["Puppet-Verdict"]
    record = stub.record(node, run)
    assert record["caller"] == f"cert:{other.name}"
    assert record["client"] in (other.address, other.address6)
    # Without a certificate there is TLS, but nobody.
    assert ask(other, node, "/puppet/status", *pki.trusting())[0] == 401
    assert ask(other, node, "/version", *pki.trusting())[0] == 200


def test_a_token_is_taken_over_tls(node: Machine, other: Machine) -> None:
    token, line = access.new_token(node, "deploy")
    access.write_tokens(node, line)
    pki.tls_on(node, "anonymous =\ntoken:deploy = trigger")
    assert ask(other, node, "/puppet/twitch", *pki.trusting(), *bearer(token))[0] == 202
    assert ask(other, node, "/puppet/twitch", *pki.trusting(), *bearer(token[:-1]))[0] == 401
    # Both credentials unite; neither alone may this.
    pki.tls_on(node, f"anonymous =\ntoken:deploy = trigger\ncert:{other.name} = tags")
    assert ask(other, node, "/puppet/twitch?tags=a", *pki.trusting(), *bearer(token))[0] == 403
    assert ask(other, node, "/puppet/twitch?tags=a", *own(other))[0] == 403
    reply = other.curl(f"https://{node.name}:2023/puppet/twitch?tags=a", *own(other), *bearer(token))
    assert reply.status == 202
    run = str(reply.headers["Puppet-Run"])
    assert stub.record(node, run)["caller"] == f"token:deploy cert:{other.name}"
    node.run("rm", access.TOKENS)


@pytest.mark.parametrize("client", ["optional", "required"])
@pytest.mark.parametrize("kind", ["expired", "foreign", "self-signed"])
def test_a_certificate_that_is_not_good_gets_no_answer(
    tidy12: Machine, agent13: Machine, server: PuppetServer, kind: str, client: str
) -> None:
    subject = "/CN=node99"
    if kind == "expired":
        pki.issue(server, agent13, kind, subject, expired=True)
    elif kind == "foreign":
        pki.foreign(server, agent13, kind, subject)
    else:
        pki.self_signed(agent13, kind, subject)
    pki.tls_on(tidy12, GRANTS, client=client)
    place, before = access.now(tidy12), access.questions(tidy12)
    assert ask(agent13, tidy12, "/puppet/twitch", *shown(kind))[0] == 0
    assert access.questions(tidy12) == before
    reason = {
        "expired": "certificate has expired",
        # It has the issuer's name; the key identifier is another one.
        "foreign": "unable to get local issuer certificate",
        "self-signed": "self-signed certificate",
    }[kind]
    access.refused(tidy12, place, f"TLS {reason}")


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        pytest.param("/CN=node99/CN=node12", "exactly one CN, this one has 2", id="two-names"),
        pytest.param("/CN=node12/CN=node99", "exactly one CN, this one has 2", id="two-names-reversed"),
        pytest.param("/O=node99", "exactly one CN, this one has 0", id="no-name"),
        pytest.param("/CN=Node99", "not a certname", id="upper-case"),
    ],
)
def test_a_certificate_must_have_one_name(
    tidy12: Machine, agent13: Machine, server: PuppetServer, subject: str, why: str
) -> None:
    pki.issue(server, agent13, "odd", subject)
    pki.tls_on(tidy12, GRANTS)
    status, body = ask(agent13, tidy12, "/puppet/twitch", *shown("odd"))
    assert status == 403
    assert why in body
    pki.issue(server, agent13, "plain", "/CN=node99")
    assert ask(agent13, tidy12, "/puppet/twitch", *shown("plain"))[0] == 202


def test_a_revoked_certificate_is_good_until_the_crl_is_fetched(
    tidy12: Machine, agent13: Machine, server: PuppetServer
) -> None:
    ca, gone = server.machine, f"gone-{uuid4().hex}.example.com"
    ca.run("puppetserver", "ca", "generate", "--certname", gone, timeout_s=180)
    ca_ssl = ca.sh("puppet config print ssldir").stdout.strip()
    for kind in ("certs", "private_keys"):
        ending = {"certs": "pem", "private_keys": "key"}[kind]
        text = ca.read(f"{ca_ssl}/{kind}/{gone}.pem")
        agent13.write(f"{pki.CERTS}/gone.{ending}", text, 0o600)
    pki.tls_on(tidy12, GRANTS)
    tidy12.write(stub.CONFIG, f"[access]\n{GRANTS}[tls]\nenabled = yes\n")  # with the real Puppet
    assert ask(agent13, tidy12, "/puppet/status", *shown("gone"))[0] == 200
    ca.run("puppetserver", "ca", "revoke", "--certname", gone, timeout_s=180)
    tidy12.run("systemctl", "stop", "puppet-twitch.service")
    assert ask(agent13, tidy12, "/puppet/status", *shown("gone"))[0] == 200
    tidy12.run("touch", "--date=40 days ago", f"{pki.SSL}/crl.pem")
    found = tidy12.run("puppet-twitch", "check").stdout
    assert "was fetched 40 days ago" in found
    assert f"Puppet never refreshes {pki.SSL}/crl.pem: who is revoked from now on is still let in" in found
    assert "mend: crl_refresh_interval = 1d" in found
    # What the mend says; Puppet 7 then fetches it with its next run.
    kept = tidy12.read("/etc/puppet/puppet.conf")
    tidy12.write("/etc/puppet/puppet.conf", f"{kept}[agent]\ncrl_refresh_interval = 1d\n")
    tidy12.run("puppet", "agent", "--onetime", "--no-daemonize", "--verbose", timeout_s=180)
    tidy12.run("systemctl", "stop", "puppet-twitch.service")
    place = access.now(tidy12)
    assert ask(agent13, tidy12, "/puppet/status", *shown("gone"))[0] == 0
    access.refused(tidy12, place, "TLS certificate revoked")
    assert ask(agent13, tidy12, "/puppet/status", *own(agent13))[0] == 200
    found = tidy12.run("puppet-twitch", "check").stdout
    assert "was fetched 0 days ago" in found
    assert "never refreshes" not in found
    tidy12.write("/etc/puppet/puppet.conf", kept)


def test_required_means_no_anonymous_callers(node: Machine, other: Machine) -> None:
    pki.tls_on(node, GRANTS, client="required")
    place = access.now(node)
    assert ask(other, node, "/version", *pki.trusting())[0] == 0
    access.refused(node, place, "TLS peer did not return a certificate")
    assert ask(other, node, "/version", *own(other))[0] == 200


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
        assert f"FAULT TLS: missing key ({key}); puppet-twitch.service cannot start" in found.stdout
        assert "mend: see /usr/share/doc/puppet-twitch/tls.conf" in found.stdout
    finally:
        tidy12.run("mv", f"{key}.away", key)
    # RestartSec= heals by itself; the port was never given up.
    assert ask(agent13, tidy12, "/puppet/status", *own(agent13))[0] == 200


def test_without_the_drop_in_the_port_says_so(tidy12: Machine) -> None:
    stub.stub_puppet(tidy12, access=f"{GRANTS}\n[tls]\nenabled = yes")
    place = access.now(tidy12)
    reply = tidy12.curl("/version")
    assert (reply.status, "TLS is not set up on this node" in reply.body) == (503, True)
    text = "[tls] enabled = yes, but systemd hands over no credential 'cert'; see tls.conf"
    assert access.heard(tidy12, place, text).count(text) == 1
