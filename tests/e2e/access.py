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
    output = node.run("puppet-twitch", "token", name, *options).stdout
    token, line = (text.strip() for text in output.splitlines() if text.startswith("  "))
    return token, line


def write_tokens(node: Machine, *lines: str) -> None:
    """Write the tokens file as README says: for root and the listener only, whole or not at all."""
    node.write(f"{TOKENS}.new", "".join(f"{line}\n" for line in lines), 0o640)
    node.sh(f"chown root:twitch {TOKENS}.new && mv {TOKENS}.new {TOKENS}")


def bearer(token: str) -> tuple[str, str]:
    """Return the arguments of curl that send a token."""
    return ("-H", f"Authorization: Bearer {token}")


def remote(client: Netns, url: str, *arguments: str, check: bool = True) -> Reply:
    """Ask with the curl of this host, from the address of a client that is no machine."""
    command = ("curl", "--silent", "--show-error", "--include", "--globoff", "--max-time", "60")
    done = subprocess.run(
        client.command((*command, *arguments, url)), stdin=subprocess.DEVNULL, capture_output=True
    )
    if check:
        assert done.returncode == 0, done.stderr
    return curl.parse(done.stdout.decode(errors="replace"))


def handlers_started(node: Machine) -> int:
    """Return how many handlers have been started since the run socket was."""
    return int(stub.state(node, "puppet-twitch-run.socket", "NAccepted")["NAccepted"])


# -- the journal --------------------------------------------------------------------------------


def journal_cursor(node: Machine) -> str:
    """Return the end of the journal, for the functions below; all that was logged before is before it."""
    return node.sh(
        "journalctl --sync; journalctl -b -n 0 --show-cursor -q | sed 's/^-- cursor: //'"
    ).stdout.strip()


def our_entries(node: Machine, cursor: str) -> list[dict[str, Any]]:
    """Return the entries of puppet-twitch after the cursor."""
    # No match for journalctl: before systemd 254 one with --after-cursor loses the first entry (seen).
    entries = node.journal(f"--after-cursor={cursor}")
    return [entry for entry in entries if entry.get("SYSLOG_IDENTIFIER") == "puppet-twitch"]


def messages_since(node: Machine, cursor: str) -> list[str]:
    """Return the messages of puppet-twitch after the cursor."""
    return [str(entry["MESSAGE"]) for entry in our_entries(node, cursor)]


def await_message(node: Machine, cursor: str, text: str) -> list[str]:
    """Wait until a message has this text, because its process may log it after an answer; return all
    messages since."""

    def messages_with_text() -> list[str]:
        messages = messages_since(node, cursor)
        return messages if any(text in message for message in messages) else []

    return node.wait(messages_with_text)


def logged_refusals(node: Machine, cursor: str, text: str) -> list[str]:
    """Make the listener log its refusals, one of them with this text; return those messages."""
    node.run("systemctl", "stop", "puppet-twitch.service", "puppet-twitch@*.service")
    messages = await_message(node, cursor, text)
    return [message for message in messages if message.startswith("refused ")]


def await_refusal(node: Machine, cursor: str, address: str) -> None:
    """Wait until the listener has logged that it answered this address with 403."""
    node.wait(
        lambda: any(
            message.startswith(f"refused {address}:") and "x 403" in message
            for message in messages_since(node, cursor)
        )
    )
