"""Certificates of the lab's real CA, and others: what `puppetserver ca` would not issue, openssl does."""

from __future__ import annotations

from collections.abc import Iterator

from tests.e2e import access, stub
from tests.lab.errors import LabError
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

SSL = "/var/lib/puppet/ssl"
CERTS = "/root/certs"

# openssl 3.5 on the server. The CA's own serial file is left alone: these numbers are far beyond it.
ISSUE = """\
set -e
mkdir -p {certs}
cd {certs}
printf 'basicConstraints=critical,CA:FALSE\\nextendedKeyUsage=serverAuth,clientAuth\\n' >ext
openssl req -new -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj '{subject}'
openssl x509 -req -in {name}.csr -CA {ca} -CAkey {ca_key} -extfile ext -out {name}.pem \\
    -set_serial 0x7ffffff$(od -An -N4 -tx4 /dev/urandom | tr -d ' ') {dates}
"""
FOREIGN = """\
mkdir -p {certs}
cd {certs}
openssl req -x509 -newkey rsa:2048 -nodes -keyout foreign_ca.key -out foreign_ca.pem \\
    -subj "/CN=Puppet CA: puppet" -days 30
"""
# A CRL that revokes one certificate or none. `puppetserver ca` would take ten seconds, and cannot make
# an expired one.
LIST = """\
set -e
mkdir -p {certs}
cd {certs}
: >index
for cert in {revoked}; do
    printf 'R\\t400101000000Z\\t200101000000Z\\t%s\\tunknown\\t/CN=x\\n' \\
        "$(openssl x509 -in "$cert.pem" -noout -serial | cut -d= -f2)" >index
done
printf '[ca]\\ndefault_ca=own\\n[own]\\ndatabase=index\\ndefault_md=sha256\\n' >ca.conf
openssl ca -config ca.conf -gencrl -cert {ca} -keyfile {ca_key} -out crl.pem {dates}
"""


def issuer(server: PuppetServer) -> tuple[str, str]:
    """Return the files of the certificate of the CA, which also has the root, and of its key."""
    return f"{server.ca}/ca_crt.pem", f"{server.ca}/ca_key.pem"


def issue(server: PuppetServer, to: Machine, name: str, subject: str, *, expired: bool = False) -> None:
    """Issue a certificate with the CA's key, into CERTS of a machine."""
    ca, ca_key = issuer(server)
    dates = "-not_before 20200101000000Z -not_after 20200102000000Z" if expired else "-days 30"
    script = ISSUE.format(certs=CERTS, name=name, subject=subject, ca=ca, ca_key=ca_key, dates=dates)
    server.machine.sh(script)
    _hand_over(server, to, name)


def foreign(server: PuppetServer, to: Machine, name: str, subject: str) -> None:
    """Issue a certificate by a CA that only has the same name."""
    ca, key = f"{CERTS}/foreign_ca.pem", f"{CERTS}/foreign_ca.key"
    server.machine.sh(FOREIGN.format(certs=CERTS))
    server.machine.sh(
        ISSUE.format(certs=CERTS, name=name, subject=subject, ca=ca, ca_key=key, dates="-days 30")
    )
    _hand_over(server, to, name)


def self_signed(to: Machine, name: str, subject: str) -> None:
    """Make a self-signed certificate."""
    to.sh(
        f"mkdir -p {CERTS}; openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '{subject}'"
        f" -keyout {CERTS}/{name}.key -out {CERTS}/{name}.pem"
    )


def revocations(server: PuppetServer, to: Machine, *, revoked: str = "", expired: bool = False) -> str:
    """Make a CRL with the CA's key, followed by those of the CAs above; return its path on a machine."""
    ca, ca_key = issuer(server)
    dates = "-crl_lastupdate 20200101000000Z -crl_nextupdate 20200102000000Z" if expired else "-crldays 30"
    server.machine.sh(LIST.format(certs=CERTS, revoked=revoked, ca=ca, ca_key=ca_key, dates=dates))
    begin = "-----BEGIN X509 CRL-----"
    above = to.read(f"{SSL}/crl.pem").split(begin)[2:]  # the first is the CA's own
    to.write(f"{CERTS}/crl.pem", begin.join([server.machine.read(f"{CERTS}/crl.pem"), *above]))
    return f"{CERTS}/crl.pem"


def _hand_over(server: PuppetServer, to: Machine, name: str) -> None:
    for path in (f"{CERTS}/{name}.pem", f"{CERTS}/{name}.key"):
        to.write(path, server.machine.read(path), 0o600)


def certificate(name: str) -> tuple[str, ...]:
    """Return curl's arguments for a certificate in CERTS."""
    ca = f"{SSL}/certs/ca.pem"
    return ("--cert", f"{CERTS}/{name}.pem", "--key", f"{CERTS}/{name}.key", "--cacert", ca)


def own(machine: Machine) -> tuple[str, ...]:
    """Return curl's arguments for a machine's own certificate, and for the CA and CRL that it knows."""
    cert, key = f"{SSL}/certs/{machine.name}.pem", f"{SSL}/private_keys/{machine.name}.pem"
    return ("--cert", cert, "--key", key, *verifying())


def verifying() -> tuple[str, ...]:
    """Return curl's arguments for verifying a node, without a client certificate."""
    return ("--cacert", f"{SSL}/certs/ca.pem", "--crlfile", f"{SSL}/crl.pem")


def tls_on(
    node: Machine,
    grants: str,
    *,
    client: str = "",
    per_connection: bool = False,
    crl: str = f"{SSL}/crl.pem",
) -> None:
    """Follow the comments of tls.conf, and those of per-connection.conf if asked to."""
    unit = "puppet-twitch@.service" if per_connection else "puppet-twitch.service"
    option = f"client = {client}" if client else ""
    stub.stub_puppet(node, access=f"{grants}\n[tls]\nenabled = yes\n{option}")
    # A file that is not where Puppet has it is a credential, as all were in 1.0.0.
    credential = "" if crl == f"{SSL}/crl.pem" else f"LoadCredential=crl:{crl}"
    node.sh(
        f"mkdir -p /etc/systemd/system/{unit}.d &&"
        f" {{ sed 's/NODE/{node.name}/' {stub.SHARE}/tls.conf; echo '{credential}'; }}"
        f" >/etc/systemd/system/{unit}.d/tls.conf &&"
        " systemctl daemon-reload; systemctl stop puppet-twitch.service"
    )
    if per_connection:
        stub.per_connection(node)


# What asyncio or the listener would log after an error that no test foresees.
COMPLAINTS = ("Traceback", "eof_received", "never retrieved", "was destroyed", "Fatal error", "failed (")


def without_complaints(machine: Machine) -> Iterator[Machine]:
    """Give a clean node to a test, and fail the test if the listener has complained."""
    stub.clear(machine)
    cursor = access.journal_cursor(machine)
    yield machine
    stub.clear(machine)
    messages = access.messages_since(machine, cursor)
    assert [text for text in messages if any(complaint in text for complaint in COMPLAINTS)] == []


def ask(client: Machine, node: Machine, path: str, *arguments: str) -> tuple[int, str]:
    """Ask from one node to the other; return status and body, or 0 and curl's error."""
    try:
        reply = client.curl(f"https://{node.name}:2023{path}", *arguments)
    except LabError as error:
        return 0, str(error)
    return reply.status, reply.body
