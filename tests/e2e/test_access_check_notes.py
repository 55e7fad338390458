"""What `check` notes without calling it a fault, and how it tells: JSON, both shapes, without root."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e import access, stub
from tests.e2e.healthy import DROP_IN, INSTANCES, check, config, drop_in, healthy
from tests.lab.machine import Machine


@pytest.fixture
def node(agent12: Machine) -> Iterator[Machine]:
    yield from healthy(agent12)


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
    "empty": (f"truncate -s 0 {stub.CONFIG}", "is empty, 0 bytes: the defaults hold"),
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
    node.sh(f"mkdir -p {INSTANCES}; cp {DROP_IN} {INSTANCES}; systemctl daemon-reload")
    done = check(node)
    assert done.returncode == 0, done.stdout
    node.sh(drop_in("puppet-twitch@.service", "[Service]", "IPAddressAllow=10.0.0.0/8"))
    assert "note  IPAddressAllow= of puppet-twitch@.service filters nothing" in check(node).stdout


def test_without_root_it_says_what_it_cannot_see(node: Machine) -> None:
    done = node.run("setpriv", "--reuid=nobody", "--clear-groups", "puppet-twitch", "check", check=False)
    assert "note  not run as root" in done.stdout
    assert "mend: sudo puppet-twitch check" in done.stdout
    assert done.returncode == 0, done.stdout


def test_it_changes_nothing(node: Machine) -> None:
    places = "/etc/puppet-twitch /run/puppet-twitch /etc/systemd /var/lib/puppet"
    look = f"find {places} -printf '%p %m %u %g %s %C@\\n'"
    check(node)  # Puppet's settings are remembered
    before = node.sh(look).stdout
    check(node)
    assert node.sh(look).stdout == before
