"""A node that is closed to anonymous callers, with tokens of several kinds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.e2e import access, stub
from tests.lab.machine import Machine

CLOSED = """\
anonymous =
token:deploy = trigger tags environment=feature_* status
token:look = status
token:careful = noop
token:ci* = trigger
token:ci-small = status
"""


class Closed(NamedTuple):
    """A node that nobody may use without a name, and the names that there are."""

    node: Machine
    tokens: dict[str, str]
    lines: list[str]

    def restore(self) -> None:
        self.node.sh(f"rm -rf {access.TOKENS}; chmod 755 /etc/puppet-twitch")
        stub.clear(self.node)
        stub.stub_puppet(self.node, access=CLOSED)
        access.write_tokens(self.node, *self.lines)


@contextmanager
def closed_to_strangers(node12: Machine) -> Iterator[Closed]:
    """Close a node for so long."""
    made = {
        name: access.new_token(node12, name) for name in ("deploy", "look", "careful", "ci-big", "ci-small")
    }
    old, line = access.new_token(node12, "deploy")  # `token` itself makes none that has expired
    lines = ["# a comment", "", *(line for _, line in made.values()), f"{line} 2020-01-01"]
    tokens = {**{name: token for name, (token, _) in made.items()}, "expired": old, "wrong": "A" * 43}
    there = Closed(node12, tokens, lines)
    there.restore()
    yield there
    node12.sh(f"rm {access.TOKENS}")
    stub.clear(node12)
