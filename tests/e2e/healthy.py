"""A node with everything set up: real Puppet, a token, TLS, enabled at boot; and `check` on it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.e2e import access, pki, stub
from tests.lab.machine import Completed, Machine

OPERATOR = """\
anonymous = status
token:deploy = trigger tags environment=feature_* status logs
cert:node13 = noop
"""


INSTANCES = "/etc/systemd/system/puppet-twitch@.service.d"
DROP_IN = "/etc/systemd/system/puppet-twitch.service.d/tls.conf"


def healthy(machine: Machine) -> Iterator[Machine]:
    """Set an enrolled node up for a test, and put it back."""
    stub.clear(machine)
    pki.tls_on(machine, OPERATOR)
    machine.write(stub.CONFIG, f"[access]\n{OPERATOR}[tls]\nenabled = yes\n")
    _, line = access.new_token(machine, "deploy", "--expires", "2099-01-01")
    access.write_tokens(machine, line)
    machine.sh("systemctl enable -q puppet-twitch.socket; cp -a /etc/passwd /root/passwd")
    yield machine
    machine.sh(
        f"cat /root/passwd >/etc/passwd; rm -rf {access.TOKENS}; systemctl disable -q puppet-twitch.socket"
    )
    stub.clear(machine)


def check(node: Machine, *options: str) -> Completed:
    """Run it."""
    return node.run("puppet-twitch", "check", *options, check=False)


def config(text: str) -> str:
    """Return the shell command that makes this the configuration."""
    return f"cat >{stub.CONFIG} <<'END'\n{text}\nEND"


def drop_in(unit: str, *lines: str) -> str:
    """Return the shell command that gives a unit these lines, below the first, which is the section."""
    directory = f"/etc/systemd/system/{unit}.d"
    text = " ".join(f"'{line}'" for line in lines)
    return f"mkdir -p {directory}; printf '%s\\n' {text} >{directory}/check.conf; systemctl daemon-reload"
