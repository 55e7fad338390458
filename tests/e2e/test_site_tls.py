"""TLS at sites that are not like the lab: large CRLs, Puppet's revocation, LXC, other paths and modes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e import access, pki, stub
from tests.e2e.pki import SSL, ask, certificate, own
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

GRANTS = """\
anonymous =
cert:node* = trigger tags status
"""
CRL = f"{SSL}/crl.pem"
UNIT = "puppet-twitch.service"

# The file that LXC and Incus images bring, of a privileged container with systemd 257 (distrobuilder's
# lxc.generator): every line that it can have.
LXC = "/run/systemd/system/service.d/zzz-lxc-service.conf"
LXC_SETTINGS = """\
[Service]
ProcSubset=all
ProtectProc=default
ProtectControlGroups=no
ProtectKernelTunables=no
NoNewPrivileges=no
LoadCredential=
PrivateNetwork=no
ImportCredential=
ProtectHome=no
ProtectSystem=no
PrivateDevices=no
PrivateTmp=no
ProtectKernelLogs=no
ProtectKernelModules=no
ReadWritePaths=
"""

# Revoke so many certificates that nobody has, with a reason each as Puppet gives one.
MANY = """\
cd {certs}
awk 'BEGIN {{ for (i = 0; i < {count}; i++)
    printf "R\\t400101000000Z\\t200101000000Z,keyCompromise\\t%06X\\tunknown\\t/CN=x\\n",
    i + 1048576 }}' >>index
openssl ca -config ca.conf -gencrl -cert {ca} -keyfile {ca_key} -crldays 30
"""


@pytest.fixture
def node(agent: Machine) -> Iterator[Machine]:
    agent.run("cp", "-a", CRL, "/root/crl.pem")
    yield from pki.without_complaints(agent)
    agent.run("cp", "-a", "/root/crl.pem", CRL)
    agent.sh(f"rm -rf {LXC}; systemctl daemon-reload")


@pytest.fixture
def other(node: Machine, agent12: Machine, agent13: Machine) -> Machine:
    """Return the node that asks."""
    return agent13 if node is agent12 else agent12


def replace_crl(node: Machine, text: str) -> None:
    """Replace the CRL as Puppet does: another file, of user puppet, in one step."""
    node.write(f"{CRL}.new", text)
    node.sh(f"chown puppet:puppet {CRL}.new && mv {CRL}.new {CRL}")


def with_above(node: Machine, text: str) -> str:
    """Return a CRL of Puppet's CA, and those of the CAs above it."""
    begin = "-----BEGIN X509 CRL-----"
    return begin.join([text, *node.read("/root/crl.pem").split(begin)[2:]])


def check(node: Machine) -> str:
    return node.run("puppet-twitch", "check", check=False).stdout


def test_a_revocation_takes_effect_within_seconds_whoever_waits(
    node: Machine, other: Machine, server: PuppetServer
) -> None:
    pki.issue(server, other, "gone", "/CN=node99")
    pki.tls_on(node, GRANTS)
    assert ask(other, node, "/puppet/status", *certificate("gone"))[0] == 200
    stub.hold_runs(node)
    waiting = other.popen(
        "curl",
        "-s",
        "-w",
        "%{http_code}",
        *certificate("gone"),
        f"https://{node.name}:2023/puppet/twitch?async=false",
    )
    node.wait(f"test -e {stub.HELD}")
    listener = stub.state(node, UNIT, "MainPID")
    crl = node.read(pki.revocations(server, node, revoked="gone"))
    place = access.journal_cursor(node)
    replace_crl(node, crl)
    assert ask(other, node, "/puppet/status", *certificate("gone"))[0] == 0
    assert ask(other, node, "/puppet/status", *own(other))[0] == 200
    assert stub.state(node, UNIT, "MainPID") == listener
    stub.release(node)
    answer, _ = waiting.communicate(timeout=60)
    assert answer[-3:] in ("200", "500"), answer  # the answer it has waited for
    access.logged_refusals(node, place, "TLS certificate revoked")


def test_a_crl_of_25000_revocations_is_served(node: Machine, other: Machine, server: PuppetServer) -> None:
    pki.issue(server, other, "gone", "/CN=node99")
    pki.revocations(server, node, revoked="gone")
    ca, ca_key = pki.issuer(server)
    script = MANY.format(certs=pki.CERTS, count=25_000, ca=ca, ca_key=ca_key)
    large = server.machine.sh(script, timeout_s=120).stdout
    pki.tls_on(node, GRANTS)
    replace_crl(node, with_above(node, large))
    assert int(node.run("stat", "-c", "%s", CRL).stdout) > 1 << 20
    assert ask(other, node, "/puppet/status", *own(other))[0] == 200
    assert ask(other, node, "/puppet/status", *certificate("gone"))[0] == 0
    found = check(node)
    assert "FAULT" not in found, found
    assert re.search(rf"ok    the CRL {CRL} was fetched .* ago; 25001 certificates are revoked", found)
    # As in 1.0.0, with all four files as credentials.
    dropin = f"/etc/systemd/system/{UNIT}.d/tls.conf"
    node.sh(
        f"printf 'LoadCredential=ca:{SSL}/certs/ca.pem\\nLoadCredential=crl:{CRL}\\n' >>{dropin};"
        f" systemctl daemon-reload; systemctl stop {UNIT}"
    )
    with other.netns.connect(node.address, 2023) as waiting:
        waiting.sendall(b"\x16")
        node.wait(f"systemctl show -P Result {UNIT} | grep -v success")
    found = check(node)
    assert "and systemd allows 1048576, so it cannot start (243/CREDENTIALS)" in found
    assert "fix: remove LoadCredential=ca: and LoadCredential=crl:" in found
    node.sh(f"sed -i '/=ca:/d; /=crl:/d' {dropin}; systemctl daemon-reload; systemctl reset-failed {UNIT}")
    assert ask(other, node, "/puppet/status", *own(other))[0] == 200


def test_the_drop_in_of_1_0_0_still_works(node: Machine, other: Machine) -> None:
    pki.tls_on(node, GRANTS)
    credentials = {
        "cert": f"{SSL}/certs/{node.name}.pem",
        "key": f"{SSL}/private_keys/{node.name}.pem",
        "ca": f"{SSL}/certs/ca.pem",
        "crl": CRL,
    }
    lines = "\n".join(f"LoadCredential={name}:{path}" for name, path in credentials.items())
    node.write(f"/etc/systemd/system/{UNIT}.d/tls.conf", f"[Service]\n{lines}\n")
    node.sh(f"systemctl daemon-reload; systemctl stop {UNIT}")
    assert ask(other, node, "/puppet/status", *own(other))[0] == 200
    found = check(node)
    assert "FAULT" not in found, found
    assert f"note  the CRL is a credential of {UNIT}: a revocation takes effect minutes later" in found


@pytest.mark.parametrize("revocation", ["leaf", "no"])
def test_revocation_as_puppet_has_it(
    node: Machine, other: Machine, server: PuppetServer, revocation: str
) -> None:
    pki.issue(server, other, "gone", "/CN=node99")
    pki.revocations(server, node, revoked="gone")
    pki.tls_on(node, GRANTS)
    if revocation == "leaf":
        replace_crl(node, server.machine.read(f"{pki.CERTS}/crl.pem"))  # of the issuing CA alone
    else:
        node.run("rm", CRL)
    status, body = ask(other, node, "/puppet/status", *own(other))
    assert status == 503, body  # readable, and over TLS
    found = check(node)
    assert "FAULT" in found
    if revocation == "leaf":
        assert "unable to get certificate CRL" in found
        assert "fix: set [tls] revocation = leaf in puppet-twitch.conf" in found
    config = node.read(stub.CONFIG)
    node.write(stub.CONFIG, config.replace("[tls]", f"[tls]\nrevocation = {revocation}"))
    assert ask(other, node, "/puppet/status", *own(other))[0] == 200
    assert ask(other, node, "/puppet/status", *certificate("gone"))[0] == (200 if revocation == "no" else 0)
    found = check(node)
    assert "FAULT" not in found, found
    assert "Puppet checks more (certificate_revocation = chain)" in found, found


def test_lxc_takes_the_credentials_away_and_the_fix_of_check_brings_them_back(
    node: Machine, other: Machine
) -> None:
    pki.tls_on(node, GRANTS)
    node.write(LXC, LXC_SETTINGS)
    node.sh(f"systemctl daemon-reload; systemctl stop {UNIT}")
    # Without a certificate there is no answer over TLS, but a clean end, and one over plain HTTP.
    assert "alert internal error" in ask(other, node, "/puppet/status", *own(other))[1]
    assert node.curl("/version").status == 503
    found = check(node)
    fault = f"FAULT TLS: {LXC} has an empty LoadCredential="
    assert fault in found
    fix = found.partition(fault)[2].partition("fix: ")[2].splitlines()[0]
    assert fix.endswith("/zzz-tls.conf; systemctl daemon-reload")
    node.sh(f"{fix}; systemctl stop {UNIT}")
    assert "FAULT" not in check(node)
    # And all else works with these settings.
    reply = other.curl(f"https://{node.name}:2023/puppet/twitch?async=false", *own(other))
    assert reply.headers["Puppet-Verdict"], reply
    assert ask(other, node, "/puppet/status", *own(other))[0] == 200


def test_the_paths_and_modes_of_the_vendors_packages(node: Machine, other: Machine) -> None:
    pki.tls_on(node, GRANTS)
    vendor = "/etc/puppetlabs/puppet/ssl"
    node.sh(
        f"mkdir -p /opt/puppetlabs/bin /etc/puppetlabs/puppet; touch /opt/puppetlabs/bin/puppet;"
        f" cp -a {SSL} {vendor}; chmod 771 {vendor}"
    )
    try:
        # The lines for AIO in place of Debian's.
        text = node.read(f"{stub.SHARE}/tls.conf").replace("NODE", node.name)
        text = re.sub(r"(?m)^(LoadCredential|TemporaryFileSystem|BindReadOnlyPaths)=.*\n", "", text)
        text = text.replace("#LoadCredential", "LoadCredential")
        assert text.count("\nLoadCredential=") == 2
        node.write(f"/etc/systemd/system/{UNIT}.d/tls.conf", text)
        node.sh(f"systemctl daemon-reload; systemctl stop {UNIT}")
        assert ask(other, node, "/puppet/status", *own(other))[0] == 200
        assert "FAULT TLS" not in check(node)
        node.run("chmod", "700", vendor)  # hardened by the site
        assert ask(other, node, "/puppet/status", *own(other))[0] == 503
        assert f"FAULT TLS: {vendor}/certs/ca.pem does not exist, or the listener may not read it" in check(
            node
        )
    finally:
        node.run("rm", "-rf", "/opt/puppetlabs", "/etc/puppetlabs")


def test_faults_are_readable_over_tls(node: Machine, other: Machine) -> None:
    pki.tls_on(node, GRANTS)
    assert ask(other, node, "/version", *own(other))[0] == 200
    kept = node.read(stub.CONFIG)
    for config, crl in (("nonsense", ""), (kept, "garbage")):
        node.write(stub.CONFIG, config)
        if crl:
            replace_crl(node, crl)
        assert ask(other, node, "/version", *own(other)) == (
            503,
            "puppet-twitch is misconfigured on this node; see its journal\n",
        )
    replace_crl(node, node.read("/root/crl.pem"))
    assert ask(other, node, "/version", *own(other))[0] == 200


def test_openssl_cannot_resume_a_session(node: Machine, other: Machine) -> None:
    pki.tls_on(node, GRANTS)
    for version in ("-tls1_3", "-tls1_2"):
        command = ["openssl", "s_client", "-connect", f"{node.address}:2023", version, "-reconnect"]
        asked = subprocess.run(other.netns.command(command), input=stub.VERSION, capture_output=True)
        assert b"Reused, " not in asked.stdout
        assert (b"New, TLSv1.3" in asked.stdout) == (version == "-tls1_3")
