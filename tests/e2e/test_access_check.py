"""`puppet-twitch check` on a real node: nothing to mend on a healthy one, and every fault with its mend."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e import access, pki, stub
from tests.lab.machine import Completed, Machine

OPERATOR = """\
anonymous = status
token:deploy = trigger tags environment=feature_* status logs
cert:node13 = noop
"""


@pytest.fixture(scope="module")
def healthy(agent12: Machine) -> Machine:
    _, line = access.new_token(agent12, "deploy", "--expires", "2099-01-01")
    agent12.write("/root/tokens", f"{line}\n")
    return agent12


@pytest.fixture
def node(healthy: Machine) -> Iterator[Machine]:
    """A node with everything set up: real Puppet, a token, TLS, enabled at boot."""
    stub.clear(healthy)
    pki.tls_on(healthy, OPERATOR)
    healthy.write(stub.CONFIG, f"[access]\n{OPERATOR}[tls]\nenabled = yes\n")
    access.write_tokens(healthy, healthy.read("/root/tokens").strip())
    healthy.sh("systemctl enable -q puppet-twitch.socket; cp -a /etc/passwd /root/passwd")
    yield healthy
    healthy.sh(
        f"cat /root/passwd >/etc/passwd; rm -rf {access.TOKENS}; systemctl disable -q puppet-twitch.socket"
    )
    stub.clear(healthy)


def check(node: Machine, *options: str) -> Completed:
    return node.run("puppet-twitch", "check", *options, check=False)


def test_a_healthy_node_is_told_about_and_has_no_faults(node: Machine) -> None:
    node.sh("printf '[agent]\\ncrl_refresh_interval = 1d\\n' >>/etc/puppet/puppet.conf")
    try:
        done = check(node)
    finally:
        node.sh("sed -i '/^.agent/,$d' /etc/puppet/puppet.conf")
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    for said in (
        "ok    user twitch exists",
        "ok    /etc/puppet-twitch/puppet-twitch.conf: understood",
        "ok    /etc/puppet-twitch/tokens: 1 tokens of deploy",
        "ok    puppet-twitch.socket is listening: [::]:2023 (Stream)",
        "ok    puppet-twitch-run.socket is listening: /run/puppet-twitch/run.sock (SequentialPacket)",
        "ok    Puppet is /usr/bin/puppet; its lock is /var/cache/puppet/state/agent_catalog_run.lock",
        f"ok    TLS with {pki.SSL}/certs/node12.pem; client certificates are optional",
        f"ok    the certificate {pki.SSL}/certs/node12.pem is good until ",
        "ok    the CA 'Puppet CA: puppet' is good until ",
        f"ok    the CRL {pki.SSL}/crl.pem was fetched 0 days ago",
        "ok    requests are heard from 0.0.0.0/0 ::/0 ([access] from)",
        "ok    anonymous may read status and runs",
        "ok    token:deploy may trigger runs, choose tags, read status and runs, read what Puppet said,"
        " choose the environments feature_*",
        "ok    cert:node13 may do noop runs",
        "No faults found.",
    ):
        assert said.replace("do noop", "trigger noop") in done.stdout, done.stdout
    # The one thing that somebody should know about a node in order.
    notes = [line for line in done.stdout.splitlines() if line.startswith("note ")]
    assert notes == [
        f"note  the listener holds {pki.SSL}/private_keys/node12.pem: who breaks into it can be that name,"
        " and fetch its catalog"
    ]


def config(text: str) -> str:
    return f"cat >{stub.CONFIG} <<'END'\n{text}\nEND"


CERT, KEY = f"{pki.SSL}/certs/node12.pem", f"{pki.SSL}/private_keys/node12.pem"
DROP_IN = "/etc/systemd/system/puppet-twitch.service.d/tls.conf"
# What stands in place of the node's own files; the drop-in says where to look.
ELSEWHERE = f"mkdir -p {pki.CERTS}; sed -i 's,{pki.SSL}/[a-z_]*/node12,{pki.CERTS}/own,' {DROP_IN}; systemctl daemon-reload"
SELF = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=node12 -keyout {key} -out {cert} 2>/dev/null"

FAULTS: dict[str, tuple[str, str, str]] = {
    "configuration": (
        config("[access]\nanonimous = trigger"),
        "[access] anonimous: unknown key; allowed: from,",
        "until then the port answers 503",
    ),
    "configuration-writable": (f"chmod 666 {stub.CONFIG}", "mode 666", "chmod 644"),
    "configuration-unreadable": (f"chmod 600 {stub.CONFIG}", "user twitch cannot read it", "ls -ld"),
    "directory-closed": ("chmod 700 /etc/puppet-twitch", "user twitch cannot read it", "chmod 755"),
    "tokens-mode": (f"chmod 644 {access.TOKENS}", "group twitch, mode 644", "chmod 640"),
    "tokens-owner": (f"chown twitch {access.TOKENS}", "owner twitch", "chown root:twitch"),
    "tokens-group": (f"chgrp root {access.TOKENS}", "group root", "chown root:twitch"),
    "tokens-content": (f"echo half >{access.TOKENS}", "line 1: must be NAME SHA256", "mend that line"),
    "no-user": ("sed -i /^twitch:/d /etc/passwd", "there is no user twitch", "systemd-sysusers"),
    "socket-stopped": (
        "systemctl stop puppet-twitch.socket",
        "puppet-twitch.socket is inactive",
        "systemctl restart puppet-twitch.socket",
    ),
    "run-socket-stopped": (
        "systemctl stop puppet-twitch-run.socket",
        "puppet-twitch-run.socket is inactive",
        "systemctl restart puppet-twitch-run.socket",
    ),
    "run-socket-open": (f"chmod 666 {stub.RUNTIME}/run.sock", "run.sock: mode 666", "systemctl restart"),
    "unit-masked": (
        "systemctl mask -q --runtime puppet-twitch@.service",
        "puppet-twitch@.service is masked",
        "systemctl unmask",
    ),
    "no-puppet": (
        config("[puppet]\npath = /opt/none/puppet"),
        "no puppet at /opt/none/puppet",
        "[puppet] path",
    ),
    "no-manifest": (
        config("[puppet]\ncommand = apply\nmanifest = /root/none.pp"),
        "manifest: /root/none.pp does not exist",
        "[puppet] manifest",
    ),
    "options-without-runs": (
        config("[access]\nanonymous = status\ntoken:deploy = tags environment=*"),
        "token:deploy: tags environment=* can never apply without trigger or noop",
        "grant one of them",
    ),
    "logs-alone": (
        config("[access]\nanonymous =\ntoken:deploy = logs"),
        "logs can never apply without trigger, noop or status",
        "grant one of them",
    ),
    "no-such-token": (
        config("[access]\ntoken:deplyo = trigger"),
        "token:deplyo can never ask: /etc/puppet-twitch/tokens has no such token",
        "puppet-twitch token deplyo",
    ),
    "pattern-in-vain": (
        config("[access]\ntoken:dep* = trigger\ntoken:deploy = status"),
        "token:dep* can never apply: each of its tokens has a line that says more",
        "remove the line",
    ),
    "certificates-without-tls": (
        config("[access]\ncert:*.example.com = trigger"),
        "cert:*.example.com can never ask: there is no TLS",
        "[tls] enabled = yes",
    ),
    "no-drop-in": (
        f"rm {DROP_IN}; systemctl daemon-reload",
        "TLS: missing cert (no LoadCredential=)",
        "tls.conf",
    ),
    "no-key": (
        f"sed -i s,private_keys/,none/, {DROP_IN}; systemctl daemon-reload",
        "missing key (",
        "tls.conf",
    ),
    "another-key": (
        f"{ELSEWHERE}; cp {CERT} {pki.CERTS}/own.pem; openssl genrsa -out {pki.CERTS}/own.key 2>/dev/null;"
        f" sed -i 's,^\\(LoadCredential=key:\\).*,\\1{pki.CERTS}/own.key,' {DROP_IN}; systemctl daemon-reload",
        "'cert' and 'key' do not fit",
        "tls.conf",
    ),
    "foreign-certificate": (
        f"{ELSEWHERE}; {SELF.format(key=f'{pki.CERTS}/own.key', cert=f'{pki.CERTS}/own.pem')};"
        f" sed -i 's,^\\(LoadCredential=key:\\).*,\\1{pki.CERTS}/own.key,' {DROP_IN}; systemctl daemon-reload",
        "does not pass with this CA and CRL: self-signed certificate",
        "tls.conf",
    ),
}


@pytest.mark.parametrize(("spoil", "fault", "mend"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found_with_its_mend(node: Machine, spoil: str, fault: str, mend: str) -> None:
    node.sh(spoil)
    try:
        done = check(node)
    finally:
        node.sh(
            "systemctl unmask -q --runtime puppet-twitch@.service;"
            " chmod 755 /etc/puppet-twitch; systemctl start puppet-twitch.socket puppet-twitch-run.socket"
        )
    assert done.returncode == 1, done.stdout
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    (found,) = (number for number, line in enumerate(lines) if line.startswith("FAULT") and fault in line)
    assert lines[found + 1].startswith("      mend: ")
    assert mend in lines[found + 1]


NOTES: dict[str, tuple[str, str]] = {
    "token-expired": (f"sed -i s/2099/2020/ {access.TOKENS}", "a token of deploy has expired"),
    "token-soon": (
        f'sed -i "s/2099.*/$(date -d +3days +%F)/" {access.TOKENS}',
        "a token of deploy expires within two weeks",
    ),
    "token-without-grants": (
        config("[access]\nanonymous = status"),
        "the token deploy may no more than anybody",
    ),
    "plaintext": (
        config("[access]\nplaintext_tokens = yes\ntoken:deploy = trigger"),
        "plaintext_tokens = yes: whoever is on the way can read the tokens",
    ),
    "plaintext-in-vain": (
        config("[access]\nplaintext_tokens = yes\n[tls]\nenabled = yes"),
        "plaintext_tokens = yes does nothing",
    ),
    "tokens-from-here-only": (config("[access]\ntoken:deploy = trigger"), "can ask from this machine only"),
    "tls-off": (config(""), "credentials are handed over, but TLS is off"),
    "not-at-boot": ("systemctl disable -q puppet-twitch.socket", "does not start at boot"),
    "filter-in-a-container": (
        "mkdir -p /etc/systemd/system/puppet-twitch.socket.d;"
        " printf '[Socket]\\nIPAddressDeny=any\\n' >/etc/systemd/system/puppet-twitch.socket.d/a.conf;"
        " systemctl daemon-reload",
        "may filter nothing in this container",
    ),
    "filter-that-is-none": (
        "printf '[Service]\\nIPAddressAllow=10.0.0.0/8\\n'"
        " >/etc/systemd/system/puppet-twitch.service.d/a.conf; systemctl daemon-reload",
        "IPAddressAllow= of puppet-twitch.service filters nothing",
    ),
    "disabled": ("puppet agent --disable 'on holiday'", "Puppet is disabled: on holiday"),
    "crl-never-refreshed": ("true", "Puppet never refreshes"),
}


@pytest.mark.parametrize(("change", "note"), NOTES.values(), ids=NOTES)
def test_what_somebody_should_know_is_no_fault(node: Machine, change: str, note: str) -> None:
    node.sh(change)
    done = check(node)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    (found,) = (number for number, line in enumerate(lines) if line.startswith("note ") and note in line)
    assert lines[found + 1].startswith("      mend: ")


def test_as_json_for_a_program(node: Machine) -> None:
    node.run("systemctl", "stop", "puppet-twitch-run.socket")
    done = check(node, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["faults"]) == (1, 1)
    (fault,) = (finding for finding in told["findings"] if finding["level"] == "fault")
    assert fault["text"].startswith("puppet-twitch-run.socket is inactive")
    assert fault["mend"].startswith("systemctl restart puppet-twitch-run.socket")
    assert {finding["level"] for finding in told["findings"]} == {"good", "note", "fault"}


def test_with_a_listener_each_the_credentials_are_those_of_the_instances(node: Machine) -> None:
    stub.per_connection(node)
    done = check(node)
    assert done.returncode == 1
    assert "TLS: missing cert (no LoadCredential=)" in done.stdout
    node.sh(
        f"mkdir -p /etc/systemd/system/puppet-twitch@.service.d; cp {DROP_IN} $_; systemctl daemon-reload"
    )
    done = check(node)
    assert done.returncode == 0, done.stdout


def test_without_root_it_says_what_it_cannot_see(node: Machine) -> None:
    done = node.run("setpriv", "--reuid=nobody", "--clear-groups", "puppet-twitch", "check", check=False)
    assert "note  not run as root" in done.stdout
    assert "mend: sudo puppet-twitch check" in done.stdout
    assert done.returncode == 0, done.stdout


def test_it_changes_nothing(node: Machine) -> None:
    look = "find /etc/puppet-twitch /run/puppet-twitch /etc/systemd /var/lib/puppet -printf '%p %m %u %g %s %C@\\n'"
    check(node)  # Puppet's settings are remembered
    before = node.sh(look).stdout
    check(node)
    assert node.sh(look).stdout == before
