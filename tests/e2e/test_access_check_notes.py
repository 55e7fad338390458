"""Notes of `puppet-twitch check`, which are no faults; JSON; a listener for each connection; without root."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import access, stub
from tests.e2e.configured_node import DROP_IN, INSTANCES, check, config, configured_node, drop_in
from tests.lab.machine import Machine


@pytest.fixture
def node(agent12: Machine, enabled12: None) -> Iterator[Machine]:
    yield from configured_node(agent12)


NOTES: dict[str, tuple[str, str]] = {
    "token-expired": (f"sed -i s/2099/2020/ {access.TOKENS}", "a token named deploy has expired"),
    "token-soon": (
        f'sed -i "s/2099.*/$(date -d +3days +%F)/" {access.TOKENS}',
        "a token named deploy expires within two weeks",
    ),
    "token-without-grants": (
        config("[access]\nanonymous = status"),
        "token deploy may do no more than anonymous",
    ),
    "plaintext": (
        config("[access]\nplaintext_tokens = yes\ntoken:deploy = trigger"),
        "plaintext_tokens = yes: anyone on the network path can read the tokens",
    ),
    "plaintext-without-effect": (
        config("[access]\nplaintext_tokens = yes\n[tls]\nenabled = yes"),
        "plaintext_tokens = yes has no effect",
    ),
    "tokens-from-here-only": (config("[access]\ntoken:deploy = trigger"), "applies on this node only"),
    "tls-off": (config("# The defaults apply."), "gets TLS credentials (LoadCredential=), but TLS is off"),
    "open": (config("# The defaults apply."), "plain HTTP; anyone who reaches the port may trigger runs"),
    "port-closed": (
        "systemctl disable -q --now puppet-twitch.socket",
        "puppet-twitch.socket is disabled: the port is closed",
    ),
    "not-at-boot": ("systemctl disable -q puppet-twitch.socket", "does not start at boot"),
    "filter-in-a-container": (
        "mkdir -p /etc/systemd/system/puppet-twitch.socket.d;"
        " printf '[Socket]\\nIPAddressDeny=any\\n' >/etc/systemd/system/puppet-twitch.socket.d/a.conf;"
        " systemctl daemon-reload",
        "may have no effect in this container",
    ),
    "filter-without-effect": (
        "printf '[Service]\\nIPAddressAllow=10.0.0.0/8\\n'"
        " >/etc/systemd/system/puppet-twitch.service.d/a.conf; systemctl daemon-reload",
        "IPAddressAllow= of puppet-twitch.service has no effect",
    ),
    "disabled": ("puppet agent --disable 'on holiday'", "Puppet is disabled: on holiday"),
    "group-members": ("usermod --append --groups twitch games", "group twitch has other members"),
    "unit-changed": (
        "mkdir -p /etc/systemd/system/puppet-twitch.socket.d;"
        " printf '[Unit]\\n' >/etc/systemd/system/puppet-twitch.socket.d/a.conf",
        "systemd has not read the changed unit files of puppet-twitch.socket",
    ),
    "crl-never-refreshed": ("true", "Puppet never refreshes"),
}


@pytest.mark.parametrize(("change", "note"), NOTES.values(), ids=NOTES)
def test_a_note_has_a_fix_that_cures_and_is_no_fault(node: Machine, change: str, note: str) -> None:
    with stub.kept(node, "/etc/puppet/puppet.conf"):
        node.sh(change)
        (finding,) = notes(node, note)
        assert finding["fix"]
        if not finding["by_hand"]:
            node.sh(finding["fix"])
            assert notes(node, note) == []


def notes(node: Machine, text: str) -> list[dict[str, Any]]:
    """Return the notes with this text, on a node without faults."""
    done = check(node, "--json")
    assert done.returncode == 0, done.stdout
    findings = json.loads(done.stdout)["findings"]
    return [finding for finding in findings if finding["level"] == "note" and text in finding["text"]]


def test_check_says_who_has_a_run_under_way(stub_node12: Machine) -> None:
    run = stub.hold(stub_node12)
    waiting = stub.started(stub_node12, "?queue=true")
    text = check(stub_node12).stdout
    running = f"ok    Puppet is running: run {run}, asked for by anonymous at "
    (line,) = (line for line in text.splitlines() if line.startswith(running))
    pid, unit = stub.pid_of(stub_node12, run), stub.unit_of(stub_node12, run)
    assert line.endswith(f" UTC, pid {pid}, unit {unit}; until it ends, triggers get 409")
    assert f"ok    in the queue: run {waiting}, asked for by anonymous at " in text
    stub.release(stub_node12)
    stub.end_of(stub_node12, waiting)


def test_json_for_programs(node: Machine) -> None:
    node.run("systemctl", "stop", "puppet-twitch-run.socket")
    done = check(node, "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["faults"]) == (1, 1)
    (fault,) = (finding for finding in report["findings"] if finding["level"] == "fault")
    assert fault["text"].startswith("puppet-twitch-run.socket does not listen (ActiveState=inactive")
    assert fault["fix"].startswith("systemctl restart puppet-twitch-run.socket")
    assert {finding["level"] for finding in report["findings"]} == {"good", "note", "fault"}


def test_with_a_listener_per_connection_the_instances_need_credentials(node: Machine) -> None:
    stub.per_connection(node)
    done = check(node)
    assert done.returncode == 1
    assert "TLS: missing cert (no LoadCredential=)" in done.stdout
    node.sh(f"mkdir -p {INSTANCES}; cp {DROP_IN} {INSTANCES}; systemctl daemon-reload")
    done = check(node)
    assert done.returncode == 0, done.stdout
    node.sh(drop_in("puppet-twitch@.service", "[Service]", "IPAddressAllow=10.0.0.0/8"))
    assert "note  IPAddressAllow= of puppet-twitch@.service has no effect" in check(node).stdout


def test_without_root_check_reports_what_it_leaves_out(node: Machine) -> None:
    done = node.run("setpriv", "--reuid=nobody", "--clear-groups", "puppet-twitch", "check", check=False)
    assert "note  check does not run as root" in done.stdout
    assert "fix: sudo puppet-twitch check" in done.stdout
    assert done.returncode == 0, done.stdout


def test_check_changes_nothing(node: Machine) -> None:
    places = "/etc/puppet-twitch /run/puppet-twitch /etc/systemd /var/lib/puppet"
    look = f"find {places} -printf '%p %m %u %g %s %C@\\n'"
    check(node)  # the first one caches Puppet's settings
    before = node.sh(look).stdout
    check(node)
    assert node.sh(look).stdout == before
