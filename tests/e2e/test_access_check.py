"""`puppet-twitch check` on a real node: no faults on a healthy one, and every fix cures its fault."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import access, pki
from tests.e2e.configured_node import check, configured_node, drop_in
from tests.e2e.curing import cure
from tests.e2e.faults import OF_TLS, Fault
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer


@pytest.fixture
def node(agent12: Machine, enabled12: None) -> Iterator[Machine]:
    yield from configured_node(agent12)


def test_a_healthy_node_is_reported_without_faults(node: Machine) -> None:
    # A Puppet 7 without this setting never fetches the CRL again, which is noted.
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
        "ok    token:deploy may trigger runs, choose tags, read status and runs,"
        " read the logs of runs and Puppet's error texts, choose the environments feature_*"
        " (anyone who can write to one can run code as root on this node, even with noop)",
        f"ok    the listener holds {pki.SSL}/private_keys/node12.pem: an attacker who takes over the listener"
        " can impersonate this node and fetch its catalog",
        "ok    cert:node13 may trigger noop runs",
        "No faults found.",
    ):
        assert line in done.stdout, done.stdout
    # Notes are for what may be changed: a node that is set up as README says has none.
    assert "\nnote " not in done.stdout, done.stdout
    quiet = check(node, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


@pytest.fixture(scope="module")
def expired_crl(agent12: Machine, server: PuppetServer) -> None:
    """Leave an expired CRL of the node's CA in pki.CERTS."""
    pki.revocations(server, agent12, expired=True)


@pytest.mark.usefixtures("expired_crl")
@pytest.mark.parametrize("fault", OF_TLS.values(), ids=OF_TLS)
def test_the_fix_of_a_fault_cures_it(node: Machine, fault: Fault) -> None:
    cure(node, fault)


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
        drop_in("puppet-twitch-log.socket", "[Socket]", "SocketGroup=other"),
        drop_in("puppet-twitch-log@.service", *expected),
        f"chgrp other {access.TOKENS}",
        "systemctl restart puppet-twitch-run.socket puppet-twitch-log.socket",
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
            " systemctl restart puppet-twitch-run.socket puppet-twitch-log.socket; userdel other"
        )
