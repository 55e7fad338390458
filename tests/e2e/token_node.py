"""A node that answers nobody without a token, and tokens with all kinds of grants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.e2e import access, stub
from tests.lab.machine import Machine

GRANTS = """\
anonymous =
token:deploy = trigger tags environment=feature_* status
token:look = status
token:careful = noop
token:ci* = trigger
token:ci-small = status
"""
NAMES = ("deploy", "look", "careful", "ci-big", "ci-small")


class TokenNode(NamedTuple):
    """The node, and each token by its name; `expired` and `wrong` are tokens that it refuses."""

    node: Machine
    tokens: dict[str, str]
    lines: list[str]

    def restore(self) -> None:
        """Put grants and tokens back to what they were at first."""
        self.node.sh(f"rm -rf {access.TOKENS}; chmod 755 /etc/puppet-twitch")
        stub.clear(self.node)
        stub.stub_puppet(self.node, access=GRANTS)
        access.write_tokens(self.node, *self.lines)


@contextmanager
def token_node(node12: Machine) -> Iterator[TokenNode]:
    """Set the node up, and put it back at the end."""
    new = {name: access.new_token(node12, name) for name in NAMES}
    expired, line = access.new_token(node12, "deploy")  # `token` itself makes none that has expired
    lines = ["# a comment", "", *(line for _, line in new.values()), f"{line} 2020-01-01"]
    tokens = {name: token for name, (token, _) in new.items()}
    tokens.update(expired=expired, wrong="A" * 43)
    setup = TokenNode(node12, tokens, lines)
    setup.restore()
    yield setup
    node12.sh(f"rm {access.TOKENS}")
    stub.clear(node12)
