"""Callers with credentials: tokens made as an operator makes them, and curl from another address."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.e2e import stub
from tests.lab import curl
from tests.lab.curl import Reply
from tests.lab.machine import Machine
from tests.lab.network import Netns

TOKENS = "/etc/puppet-twitch/tokens"

JSON = ("-H", "Accept: application/json")


def new_token(node: Machine, name: str, *options: str) -> tuple[str, str]:
    """Return a new token and its line, as `puppet-twitch token` shows them."""
    shown = node.run("puppet-twitch", "token", name, *options).stdout
    token, line = (text.strip() for text in shown.splitlines() if text.startswith("  "))
    return token, line


def write_tokens(node: Machine, *lines: str) -> None:
    """Write the file as README says: for root and the listener only, whole or not at all."""
    node.write(f"{TOKENS}.new", "".join(f"{line}\n" for line in lines), 0o640)
    node.sh(f"chown root:twitch {TOKENS}.new && mv {TOKENS}.new {TOKENS}")


def bearer(token: str) -> tuple[str, str]:
    """Return the arguments of curl that show a token."""
    return ("-H", f"Authorization: Bearer {token}")


def remote(client: Netns, url: str, *arguments: str, check: bool = True) -> Reply:
    """Ask with the curl of this host from another address than any machine's."""
    asked = (
        "curl",
        "--silent",
        "--show-error",
        "--include",
        "--globoff",
        "--max-time",
        "60",
        *arguments,
        url,
    )
    done = subprocess.run(client.command(asked), stdin=subprocess.DEVNULL, capture_output=True)
    if check:
        assert done.returncode == 0, done.stderr
    return curl.parse(done.stdout.decode(errors="replace"))


def questions(node: Machine) -> int:
    """Return how many handlers have been started since the socket was."""
    return int(stub.state(node, "puppet-twitch-run.socket", "NAccepted")["NAccepted"])


def now(node: Machine) -> str:
    """Return this place in the journal."""
    return node.sh("journalctl -b -n 0 --show-cursor -q | sed 's/^-- cursor: //'").stdout.strip()


def entries(node: Machine, place: str) -> list[dict[str, Any]]:
    """Return our entries since then."""
    # No match for journalctl: before systemd 254 one with --after-cursor loses the first entry (seen).
    found = node.journal(f"--after-cursor={place}")
    return [entry for entry in found if entry.get("SYSLOG_IDENTIFIER") == "puppet-twitch"]


def since(node: Machine, place: str) -> list[str]:
    """Return what we have said since then."""
    return [str(entry["MESSAGE"]) for entry in entries(node, place)]


def heard(node: Machine, place: str, text: str) -> list[str]:
    """Wait until such a line is in the journal, as journald takes its time; return all since then."""
    return node.wait(lambda: [line for line in since(node, place) if text in line] and since(node, place))


def refused(node: Machine, place: str, text: str) -> list[str]:
    """Let the listener write down what it has refused, with such a text; return those lines."""
    node.run("systemctl", "stop", "puppet-twitch.service", "puppet-twitch@*.service")
    return [line for line in heard(node, place, text) if line.startswith("refused ")]


def heard_refusing(node: Machine, place: str, address: str) -> None:
    """Wait until the listener has written down that it refused somebody there with 403."""
    node.wait(
        lambda: any(line.startswith(f"refused {address}:") and "x 403" in line for line in since(node, place))
    )
