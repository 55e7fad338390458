"""TLS with Puppet's certificates: nodes trigger each other, with one listener and with one per connection."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.e2e import access, pki, stub
from tests.e2e.access import bearer
from tests.e2e.pki import ask, certificate, own
from tests.e2e.systems import every_agent
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

GRANTS = """\
anonymous =
cert:node1* = trigger tags status
cert:node9* = trigger status
cert:gone-*.example.com = status
"""


@every_agent
@pytest.mark.parametrize("per_connection", [False, True], ids=["one-listener", "per-connection"])
def test_certificate_of_a_node_triggers_a_run_on_another(
    tls_node: Machine, other_node: Machine, per_connection: bool
) -> None:
    pki.tls_on(tls_node, GRANTS, per_connection=per_connection)
    reply = other_node.curl(f"https://{tls_node.name}:2023/puppet/twitch?tags=a", *own(other_node))
    assert (reply.status, reply.body) == (202, "Triggered puppet run"), reply
    run = str(reply.headers["Puppet-Run"])
    ended = other_node.curl(f"https://{tls_node.name}:2023/puppet/runs/{run}?wait=60", *own(other_node))
    assert ended.headers["Puppet-Verdict"]
    record = stub.record(tls_node, run)
    assert record["caller"] == f"cert:{other_node.name}"
    assert record["client"] in (other_node.address, other_node.address6)
    # TLS without a client certificate is an anonymous caller.
    assert ask(other_node, tls_node, "/puppet/status", *pki.verifying())[0] == 401
    assert ask(other_node, tls_node, "/version", *pki.verifying())[0] == 200


def test_listener_with_a_certificate_of_its_own(
    tls_node12: Machine, agent13: Machine, server: PuppetServer
) -> None:
    name = f"twitch.{tls_node12.name}"
    server.machine.run("puppetserver", "ca", "generate", "--certname", name, timeout_s=180)
    ssl = server.machine.run("puppet", "config", "print", "ssldir", "--section", "agent").stdout.strip()
    for kind in ("certs", "private_keys"):
        tls_node12.write(
            f"/etc/twitch-ssl/{kind}/{name}.pem", server.machine.read(f"{ssl}/{kind}/{name}.pem"), 0o600
        )
    pki.tls_on(tls_node12, f"anonymous =\ncert:{agent13.name} = trigger")
    dropin = "/etc/systemd/system/puppet-twitch.service.d/tls.conf"
    for kind in ("certs", "private_keys"):
        tls_node12.run(
            "sed", "-i", f"s|:.*/{kind}/{tls_node12.name}.pem|:/etc/twitch-ssl/{kind}/{name}.pem|", dropin
        )
    tls_node12.run("systemctl", "daemon-reload")
    url = f"https://{name}:2023/puppet/twitch"
    reply = agent13.curl(url, "--resolve", f"{name}:2023:{tls_node12.address}", *own(agent13))
    assert (reply.status, reply.body) == (202, "Triggered puppet run"), reply
    assert ask(agent13, tls_node12, "/version", *own(agent13))[0] == 0  # the node's own name is not in it
    assert "the listener holds" not in tls_node12.run("puppet-twitch", "check").stdout
    tls_node12.run("rm", "-r", "/etc/twitch-ssl")
    server.machine.run("puppetserver", "ca", "clean", "--certname", name, timeout_s=180)


def test_token_is_accepted_over_tls(tls_node: Machine, other_node: Machine) -> None:
    token, line = access.new_token(tls_node, "deploy")
    access.write_tokens(tls_node, line)
    pki.tls_on(tls_node, "anonymous =\ntoken:deploy = trigger")
    assert ask(other_node, tls_node, "/puppet/twitch", *pki.verifying(), *bearer(token))[0] == 202
    assert ask(other_node, tls_node, "/puppet/twitch", *pki.verifying(), *bearer(token[:-1]))[0] == 401
    stub.await_no_run(tls_node)
    # A token and a certificate together have the grants of both; here neither alone is enough.
    pki.tls_on(tls_node, f"anonymous =\ntoken:deploy = trigger\ncert:{other_node.name} = tags")
    assert ask(other_node, tls_node, "/puppet/twitch?tags=a", *pki.verifying(), *bearer(token))[0] == 403
    assert ask(other_node, tls_node, "/puppet/twitch?tags=a", *own(other_node))[0] == 403
    reply = other_node.curl(
        f"https://{tls_node.name}:2023/puppet/twitch?tags=a", *own(other_node), *bearer(token)
    )
    assert reply.status == 202
    run = str(reply.headers["Puppet-Run"])
    assert stub.record(tls_node, run)["caller"] == f"token:deploy cert:{other_node.name}"
    tls_node.run("rm", access.TOKENS)


REASONS = {
    "expired": "certificate has expired",
    # The foreign CA has the issuer's name, but another key identifier.
    "foreign": "unable to get local issuer certificate",
    "self-signed": "self-signed certificate",
    "revoked": "certificate revoked",
}


@pytest.mark.parametrize(
    ("kind", "client", "per_connection"),
    [
        *(pytest.param(kind, "optional", False, id=kind) for kind in REASONS),
        pytest.param("revoked", "required", False, id="required"),
        pytest.param("expired", "optional", True, id="per-connection"),
    ],
)
def test_invalid_certificate_gets_no_answer(
    tls_node12: Machine, agent13: Machine, server: PuppetServer, kind: str, client: str, per_connection: bool
) -> None:
    subject = "/CN=node99"
    if kind == "foreign":
        pki.foreign(server, agent13, kind, subject)
    elif kind == "self-signed":
        pki.self_signed(agent13, kind, subject)
    else:
        pki.issue(server, agent13, kind, subject, expired=kind == "expired")
    crl = pki.revocations(server, tls_node12, revoked="revoked" if kind == "revoked" else "")
    pki.tls_on(tls_node12, GRANTS, client=client, per_connection=per_connection, crl=crl)
    cursor, before = access.journal_cursor(tls_node12), access.handlers_started(tls_node12)
    assert ask(agent13, tls_node12, "/puppet/twitch", *certificate(kind))[0] == 0
    assert access.handlers_started(tls_node12) == before
    access.logged_refusals(tls_node12, cursor, f"TLS {REASONS[kind]}")
    assert ask(agent13, tls_node12, "/version", *own(agent13))[0] == 200


@pytest.mark.parametrize("per_connection", [False, True], ids=["one-listener", "per-connection"])
def test_expired_crl_refuses_every_certificate(
    tls_node12: Machine, agent13: Machine, server: PuppetServer, per_connection: bool
) -> None:
    crl = pki.revocations(server, tls_node12, expired=True)
    pki.tls_on(tls_node12, GRANTS, per_connection=per_connection, crl=crl)
    cursor = access.journal_cursor(tls_node12)
    assert ask(agent13, tls_node12, "/version", *own(agent13))[0] == 503
    access.await_message(tls_node12, cursor, "verifies no certificate: CRL has expired")
    # A client without a certificate is anonymous, as before.
    assert ask(agent13, tls_node12, "/version", *pki.verifying())[0] == 200
    assert ask(agent13, tls_node12, "/puppet/status", *pki.verifying())[0] == 401
    check = tls_node12.run("puppet-twitch", "check", check=False)
    assert check.returncode == 1
    assert "CRL has expired" in check.stdout
    assert f"fix: {crl} is not Puppet's own CRL" in check.stdout


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        pytest.param("/CN=node99/CN=node12", "exactly one CN, this one has 2", id="two-names"),
        pytest.param("/CN=node12/CN=node99", "exactly one CN, this one has 2", id="two-names-reversed"),
        pytest.param("/O=node99", "exactly one CN, this one has 0", id="no-name"),
        pytest.param("/CN=Node99", "not a valid Puppet certname", id="upper-case"),
    ],
)
def test_certificate_must_have_exactly_one_name(
    tls_node12: Machine, agent13: Machine, server: PuppetServer, subject: str, why: str
) -> None:
    pki.issue(server, agent13, "odd", subject)
    pki.tls_on(tls_node12, GRANTS)
    status, body = ask(agent13, tls_node12, "/puppet/twitch", *certificate("odd"))
    assert status == 403
    assert why in body
    pki.issue(server, agent13, "plain", "/CN=node99")
    assert ask(agent13, tls_node12, "/puppet/twitch", *certificate("plain"))[0] == 202


def test_revoked_certificate_is_valid_until_the_crl_is_fetched(
    tls_node12: Machine, agent13: Machine, server: PuppetServer
) -> None:
    # With Puppet 7 only, which never fetches the CRL again unless it is told to.
    ca, gone = server.machine, f"gone-{uuid4().hex}.example.com"
    ca.run("puppetserver", "ca", "generate", "--certname", gone, timeout_s=180)
    ca_ssl = ca.sh("puppet config print ssldir").stdout.strip()
    for kind in ("certs", "private_keys"):
        ending = {"certs": "pem", "private_keys": "key"}[kind]
        text = ca.read(f"{ca_ssl}/{kind}/{gone}.pem")
        agent13.write(f"{pki.CERTS}/gone.{ending}", text, 0o600)
    pki.tls_on(tls_node12, GRANTS)
    tls_node12.write(stub.CONFIG, f"[access]\n{GRANTS}[tls]\nenabled = yes\n")  # with the real Puppet
    assert ask(agent13, tls_node12, "/puppet/status", *certificate("gone"))[0] == 200
    ca.run("puppetserver", "ca", "revoke", "--certname", gone, timeout_s=180)
    tls_node12.run("systemctl", "stop", "puppet-twitch.service")
    assert ask(agent13, tls_node12, "/puppet/status", *certificate("gone"))[0] == 200
    tls_node12.run("touch", "--date=40 days ago", f"{pki.SSL}/crl.pem")
    check = tls_node12.run("puppet-twitch", "check").stdout
    assert "was fetched 40 days ago" in check
    never = f"Puppet never refreshes {pki.SSL}/crl.pem: a certificate that is revoked from now on is still"
    assert f"{never} accepted here" in check
    # The fix as it is printed fetches the CRL at once, without a run, also while the agent is disabled.
    puppet_conf = tls_node12.read("/etc/puppet/puppet.conf")
    tls_node12.run("puppet", "agent", "--disable", "at night")
    tls_node12.sh(check.partition(never)[2].partition("fix: ")[2].splitlines()[0])
    tls_node12.run("puppet", "agent", "--enable")
    cursor = access.journal_cursor(tls_node12)
    assert ask(agent13, tls_node12, "/puppet/status", *certificate("gone"))[0] == 0
    access.logged_refusals(tls_node12, cursor, "TLS certificate revoked")
    assert ask(agent13, tls_node12, "/puppet/status", *own(agent13))[0] == 200
    check = tls_node12.run("puppet-twitch", "check").stdout
    assert "was fetched 40 days ago" not in check
    assert "never refreshes" not in check
    tls_node12.write("/etc/puppet/puppet.conf", puppet_conf)
    tls_node12.run("rm", f"{pki.SSL}/crl.pem.old")


def test_tls_client_required_refuses_clients_without_a_certificate(
    tls_node: Machine, other_node: Machine
) -> None:
    pki.tls_on(tls_node, GRANTS, client="required")
    cursor = access.journal_cursor(tls_node)
    assert ask(other_node, tls_node, "/version", *pki.verifying())[0] == 0
    access.logged_refusals(tls_node, cursor, "TLS peer did not return a certificate")
    assert ask(other_node, tls_node, "/version", *own(other_node))[0] == 200
