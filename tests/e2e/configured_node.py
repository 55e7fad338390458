"""A node that an operator has configured in full, without a fault, and `puppet-twitch check` on it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.e2e import access, pki, stub
from tests.lab.machine import Completed, Machine

GRANTS = """\
anonymous = status
token:deploy = trigger tags environment=feature_* status logs
cert:node13 = noop
"""
WITHOUT_TLS = "anonymous = status\ntoken:deploy = trigger tags\n"
INSTANCES = "/etc/systemd/system/puppet-twitch@.service.d"
DROP_IN = "/etc/systemd/system/puppet-twitch.service.d/tls.conf"


def configured_node(machine: Machine) -> Iterator[Machine]:
    """Give an enrolled node real Puppet, TLS, and all that `configured` does; put it back at the end."""
    stub.clear(machine)
    pki.tls_on(machine, GRANTS)
    yield from configured(machine, f"[access]\n{GRANTS}[tls]\nenabled = yes\n")
    stub.clear(machine)


def configured(machine: Machine, text: str) -> Iterator[Machine]:
    """Give a node this configuration and a token, and take them away at the end; enable its sockets at boot.

    The sockets stay enabled, because `enable` and `disable` reload systemd: see the fixture `enabled12`.
    """
    machine.write(stub.CONFIG, text)
    _, line = access.new_token(machine, "deploy", "--expires", "2099-01-01")
    access.write_tokens(machine, line)
    enable = "systemctl is-enabled -q puppet-twitch.socket || systemctl enable -q puppet-twitch.socket"
    machine.sh(f"{enable}; cp -a /etc/passwd /root/passwd")
    yield machine
    machine.sh(f"cat /root/passwd >/etc/passwd; rm -rf {access.TOKENS}")


def check(node: Machine, *options: str) -> Completed:
    """Run `puppet-twitch check`."""
    return node.run("puppet-twitch", "check", *options, check=False)


def config(text: str) -> str:
    """Return the shell command that writes this configuration."""
    return f"cat >{stub.CONFIG} <<'END'\n{text}\nEND"


def drop_in(unit: str, *lines: str) -> str:
    """Return the shell command that writes a drop-in of these lines; the first one is the section."""
    directory = f"/etc/systemd/system/{unit}.d"
    text = " ".join(f"'{line}'" for line in lines)
    return f"mkdir -p {directory}; printf '%s\\n' {text} >{directory}/check.conf; systemctl daemon-reload"
