"""TLS with Puppet's own certificates: node to node, and nobody else, in both shapes of the listener."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.e2e import access, pki, stub
from tests.e2e.access import bearer
from tests.e2e.pki import ask, own, shown
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

GRANTS = """\
anonymous =
cert:node1* = trigger tags status
cert:node9* = trigger status
cert:gone-*.example.com = status
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


def test_the_listener_may_have_a_certificate_of_its_own(
    tidy12: Machine, agent13: Machine, server: PuppetServer
) -> None:
    name = f"twitch.{tidy12.name}"
    server.machine.run("puppetserver", "ca", "generate", "--certname", name)
    ssl = server.machine.run("puppet", "config", "print", "ssldir", "--section", "agent").stdout.strip()
    for kind in ("certs", "private_keys"):
        tidy12.write(
            f"/etc/twitch-ssl/{kind}/{name}.pem", server.machine.read(f"{ssl}/{kind}/{name}.pem"), 0o600
        )
    pki.tls_on(tidy12, f"anonymous =\ncert:{agent13.name} = trigger")
    dropin = "/etc/systemd/system/puppet-twitch.service.d/tls.conf"
    for kind in ("certs", "private_keys"):
        tidy12.run("sed", "-i", f"s|:.*/{kind}/{tidy12.name}.pem|:/etc/twitch-ssl/{kind}/{name}.pem|", dropin)
    tidy12.run("systemctl", "daemon-reload")
    url = f"https://{name}:2023/puppet/twitch"
    reply = agent13.curl(url, "--resolve", f"{name}:2023:{tidy12.address}", *own(agent13))
    assert (reply.status, reply.body) == (202, "Triggered puppet run"), reply
    assert ask(agent13, tidy12, "/version", *own(agent13))[0] == 0  # not by the node's own name
    assert "the listener holds" not in tidy12.run("puppet-twitch", "check").stdout
    tidy12.run("rm", "-r", "/etc/twitch-ssl")
    server.machine.run("puppetserver", "ca", "clean", "--certname", name)


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


REASONS = {
    "expired": "certificate has expired",
    # It has the issuer's name; the key identifier is another one.
    "foreign": "unable to get local issuer certificate",
    "self-signed": "self-signed certificate",
    "revoked": "certificate revoked",
}


@pytest.mark.parametrize(
    ("client", "each"),
    [
        pytest.param("optional", False, id="optional"),
        pytest.param("required", False, id="required"),
        pytest.param("optional", True, id="a-listener-each"),
    ],
)
@pytest.mark.parametrize("kind", REASONS)
def test_a_certificate_that_is_not_good_gets_no_answer(
    tidy12: Machine, agent13: Machine, server: PuppetServer, kind: str, client: str, each: bool
) -> None:
    subject = "/CN=node99"
    if kind == "foreign":
        pki.foreign(server, agent13, kind, subject)
    elif kind == "self-signed":
        pki.self_signed(agent13, kind, subject)
    else:
        pki.issue(server, agent13, kind, subject, expired=kind == "expired")
    crl = pki.revocations(server, tidy12, revoked="revoked" if kind == "revoked" else "")
    pki.tls_on(tidy12, GRANTS, client=client, each=each, crl=crl)
    place, before = access.now(tidy12), access.questions(tidy12)
    assert ask(agent13, tidy12, "/puppet/twitch", *shown(kind))[0] == 0
    assert access.questions(tidy12) == before
    access.refused(tidy12, place, f"TLS {REASONS[kind]}")
    assert ask(agent13, tidy12, "/version", *own(agent13))[0] == 200


@pytest.mark.parametrize("each", [False, True], ids=["one-listener", "a-listener-each"])
def test_an_expired_crl_refuses_every_certificate(
    tidy12: Machine, agent13: Machine, server: PuppetServer, each: bool
) -> None:
    crl = pki.revocations(server, tidy12, expired=True)
    pki.tls_on(tidy12, GRANTS, each=each, crl=crl)
    place = access.now(tidy12)
    assert ask(agent13, tidy12, "/version", *own(agent13))[0] == 0
    access.refused(tidy12, place, "TLS CRL has expired")
    # Who shows none is nobody, as ever.
    assert ask(agent13, tidy12, "/version", *pki.trusting())[0] == 200
    assert ask(agent13, tidy12, "/puppet/status", *pki.trusting())[0] == 401
    found = tidy12.run("puppet-twitch", "check", check=False)
    assert found.returncode == 1
    assert "CRL has expired" in found.stdout
    assert "fix: set crl_refresh_interval = 1d" in found.stdout


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
    never = f"Puppet never refreshes {pki.SSL}/crl.pem: a certificate that is revoked from now on is still"
    assert f"{never} accepted here" in found
    assert "fix: set crl_refresh_interval = 1d" in found
    # Apply that fix; Puppet 7 then fetches the CRL with its next run.
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
