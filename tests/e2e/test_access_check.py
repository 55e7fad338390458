"""`puppet-twitch check` on a real node: no faults on a healthy one, and every fault with its fix."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import access, pki, stub
from tests.e2e.configured_node import DROP_IN, check, config, configured_node, drop_in
from tests.lab.machine import Machine


@pytest.fixture
def node(agent12: Machine) -> Iterator[Machine]:
    yield from configured_node(agent12)


def test_a_healthy_node_is_reported_without_faults(node: Machine) -> None:
    node.sh("printf '[agent]\\ncrl_refresh_interval = 1d\\n' >>/etc/puppet/puppet.conf")
    try:
        done = check(node)
    finally:
        node.sh("sed -i '/^.agent/,$d' /etc/puppet/puppet.conf")
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    for line in (
        "ok    user twitch exists",
        "ok    the configuration is valid: /etc/puppet-twitch/puppet-twitch.conf",
        "ok    /etc/puppet-twitch/tokens has 1 token: deploy",
        "ok    puppet-twitch.socket is listening: [::]:2023 (Stream)",
        "ok    puppet-twitch-run.socket is listening: /run/puppet-twitch/run.sock (SequentialPacket)",
        "ok    Puppet is /usr/bin/puppet; its lock is /var/cache/puppet/state/agent_catalog_run.lock",
        f"ok    TLS is on with {pki.SSL}/certs/node12.pem; client certificates are optional",
        f"ok    the certificate {pki.SSL}/certs/node12.pem is valid until ",
        "ok    the CA 'Puppet CA: puppet' is valid until ",
        f"ok    the CRL {pki.SSL}/crl.pem was fetched ",
        "ok    requests are accepted from 0.0.0.0/0 ::/0 ([access] from)",
        "ok    anonymous may read status and runs",
        "ok    token:deploy may trigger runs, choose tags, read status and runs, read Puppet's error texts,"
        " choose the environments feature_*",
        "ok    cert:node13 may trigger noop runs",
        "No faults found.",
    ):
        assert line in done.stdout, done.stdout
    # These hold on a node without faults, too.
    notes = [line for line in done.stdout.splitlines() if line.startswith("note ")]
    assert notes == [
        f"note  the listener holds {pki.SSL}/private_keys/node12.pem: an attacker who takes over the listener"
        " can impersonate this node and fetch its catalog",
        "note  token:deploy may choose feature_*: anyone who can write to such an environment can run code as"
        " root on this node, even with noop",
    ]


CERT, KEY = f"{pki.SSL}/certs/node12.pem", f"{pki.SSL}/private_keys/node12.pem"
# Let the drop-in name files of the test instead of the node's own.
ELSEWHERE = (
    f"mkdir -p {pki.CERTS}; sed -i 's,{pki.SSL}/[a-z_]*/node12,{pki.CERTS}/own,' {DROP_IN};"
    " systemctl daemon-reload"
)
OWN_KEY = (
    f"sed -i 's,^LoadCredential=key:.*,LoadCredential=key:{pki.CERTS}/own.key,' {DROP_IN};"
    " systemctl daemon-reload"
)
SELF = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=node12 -keyout {key} -out {cert} 2>/dev/null"

FAULTS: dict[str, tuple[str, str, str]] = {
    "configuration": (
        config("[access]\nanonimous = trigger"),
        "[access] anonimous: unknown key; allowed: from,",
        "until then the port answers 503",
    ),
    "configuration-writable": (f"chmod 666 {stub.CONFIG}", "mode 666", "chmod 644"),
    "configuration-unreadable": (
        f"chmod 600 {stub.CONFIG}",
        "puppet-twitch.conf cannot be read by user twitch",
        "chmod 644",
    ),
    "directory-open": (
        "chmod 777 /etc/puppet-twitch",
        "/etc/puppet-twitch has owner root, mode 777, so users other than root can replace its files",
        "chmod go-w /etc/puppet-twitch",
    ),
    "directory-closed": (
        "chmod 700 /etc/puppet-twitch",
        "puppet-twitch.conf cannot be read by user twitch",
        "chmod 755",
    ),
    "tokens-mode": (f"chmod 644 {access.TOKENS}", "group twitch, mode 644", "chmod 640"),
    "tokens-owner": (f"chown twitch {access.TOKENS}", "owner twitch", "chown root:twitch"),
    "tokens-group": (f"chgrp root {access.TOKENS}", "group root", "chown root:twitch"),
    "tokens-content": (f"echo half >{access.TOKENS}", "line 1: must be NAME SHA256", "correct the file"),
    "no-user": ("sed -i /^twitch:/d /etc/passwd", "user twitch does not exist", "systemd-sysusers"),
    "socket-stopped": (
        "systemctl stop puppet-twitch.socket",
        "puppet-twitch.socket does not listen (ActiveState=inactive",
        "systemctl restart puppet-twitch.socket",
    ),
    "run-socket-stopped": (
        "systemctl stop puppet-twitch-run.socket",
        "puppet-twitch-run.socket does not listen (ActiveState=inactive",
        "systemctl restart puppet-twitch-run.socket",
    ),
    "run-socket-open": (
        f"chmod 666 {stub.RUNTIME}/run.sock",
        "run.sock has owner root, mode 666",
        "systemctl restart",
    ),
    "run-socket-closed": (
        f"chmod 600 {stub.RUNTIME}/run.sock",
        "run.sock has owner root, mode 600",
        "systemctl restart",
    ),
    "run-socket-gone": (
        f"rm {stub.RUNTIME}/run.sock",
        "run.sock does not exist, so the listener cannot reach root",
        "systemctl restart puppet-twitch-run.socket",
    ),
    "run-socket-of-another-group": (
        f"chgrp daemon {stub.RUNTIME}/run.sock",
        "has group daemon, not twitch, so the listener cannot reach root",
        "systemctl edit puppet-twitch-run.socket: add SocketGroup=twitch in [Socket]",
    ),
    "root-expects-another-listener": (
        drop_in("puppet-twitch-run@.service", "[Service]", "Environment=PUPPET_TWITCH_USER=other"),
        "expects the listener's user to be other, but it is twitch",
        "systemctl edit puppet-twitch-run@.service: add Environment=PUPPET_TWITCH_USER=twitch in [Service]",
    ),
    "run-lock-unreadable": (
        "mkdir -p /var/cache/puppet/state/agent_catalog_run.lock",
        "agent_catalog_run.lock cannot be read (Is a directory)",
        "ls -ld",
    ),
    "disabled-lock-unreadable": (
        "mkdir -p /var/cache/puppet/state/agent_disabled.lock",
        "agent_disabled.lock cannot be read (Is a directory), so puppet-twitch treats Puppet as disabled",
        "ls -ld",
    ),
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
        "the manifest /root/none.pp does not exist",
        "[puppet] manifest",
    ),
    "manifest-writable": (
        "touch /root/open.pp; chmod 666 /root/open.pp; "
        + config("[puppet]\ncommand = apply\nmanifest = /root/open.pp"),
        "/root/open.pp has owner root, mode 666, so users other than root can change what root applies",
        "chmod go-w /root/open.pp",
    ),
    "options-without-runs": (
        config("[access]\nanonymous = status\ntoken:deploy = tags environment=*"),
        "token:deploy: tags environment=* can have no effect without trigger or noop",
        "add trigger or noop to the line token:deploy in [access], or remove tags environment=* from it",
    ),
    "logs-alone": (
        config("[access]\nanonymous =\ntoken:deploy = logs"),
        "logs can have no effect without trigger, noop or status",
        "add trigger, noop or status to the line token:deploy in [access], or remove logs from it",
    ),
    "no-such-token": (
        config("[access]\ntoken:deplyo = trigger"),
        "token:deplyo never applies: /etc/puppet-twitch/tokens has no such token",
        "puppet-twitch token deplyo",
    ),
    "pattern-never-applies": (
        config("[access]\ntoken:dep* = trigger\ntoken:deploy = status"),
        "token:dep* never applies: every token it matches has a more specific line",
        "remove the line token:dep*",
    ),
    "certificates-without-tls": (
        config("[access]\ncert:*.example.com = trigger"),
        "cert:*.example.com never applies: client certificates need TLS, which is off",
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
        f" {OWN_KEY}",
        "'cert' and 'key' do not fit",
        "tls.conf",
    ),
    "foreign-certificate": (
        f"{ELSEWHERE}; {SELF.format(key=f'{pki.CERTS}/own.key', cert=f'{pki.CERTS}/own.pem')}; {OWN_KEY}",
        "fails verification with this CA and CRL: self-signed certificate",
        "tls.conf",
    ),
}


@pytest.mark.parametrize(("spoil", "fault", "fix"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_reported_with_its_fix(node: Machine, spoil: str, fault: str, fix: str) -> None:
    node.sh(spoil)
    try:
        done = check(node)
    finally:
        node.sh(
            "systemctl unmask -q --runtime puppet-twitch@.service;"
            " chmod 755 /etc/puppet-twitch; rmdir /var/cache/puppet/state/agent_*.lock;"
            " systemctl start puppet-twitch.socket; systemctl restart puppet-twitch-run.socket"
        )
    assert done.returncode == 1, done.stdout
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    (place,) = (number for number, line in enumerate(lines) if line.startswith("FAULT") and fault in line)
    assert lines[place + 1].startswith("      fix: ")
    assert fix in lines[place + 1]


def test_a_site_may_use_other_names_for_user_and_group(node: Machine) -> None:
    # As the Puppet module's parameters `user` and `group` write it.
    node.sh("useradd --system --user-group --shell /usr/sbin/nologin other")
    identity = ("[Service]", "User=other", "Group=other")
    expected = ("[Service]", "Environment=PUPPET_TWITCH_USER=other PUPPET_TWITCH_GROUP=other")
    commands = (
        drop_in("puppet-twitch.service", *identity),
        drop_in("puppet-twitch@.service", *identity),
        drop_in("puppet-twitch-run.socket", "[Socket]", "SocketGroup=other"),
        drop_in("puppet-twitch-run@.service", *expected),
        f"chgrp other {access.TOKENS}",
        "systemctl restart puppet-twitch-run.socket",
    )
    try:
        node.sh("; ".join(commands))
        done = check(node)
        assert "ok    user other exists" in done.stdout
        assert done.returncode == 0, done.stdout
        node.run("chgrp", "twitch", access.TOKENS)
        assert f"fix: chown root:other {access.TOKENS}" in check(node).stdout
    finally:
        node.sh(
            "rm -f /etc/systemd/system/puppet-twitch*.d/check.conf; systemctl daemon-reload;"
            " systemctl restart puppet-twitch-run.socket; userdel other"
        )
