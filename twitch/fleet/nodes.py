"""A node, as the commands know it before they ask it."""

from __future__ import annotations

from typing import NamedTuple, Optional


class Before(NamedTuple):
    """What PuppetDB knows of the last run of a node."""

    status: Optional[str] = None  # unchanged, changed or failed; None: no report
    reported: Optional[float] = None  # epoch seconds
    environment: Optional[str] = None
    cached_catalog: bool = False

    @property
    def failed(self) -> bool:
        """Whether the last run failed."""
        return self.status == "failed"


class Node(NamedTuple):
    """A node: its certname is its name, and the name that TLS verifies."""

    name: str
    address: Optional[str] = None  # where to connect; None: what DNS has for the name
    before: Optional[Before] = None  # None: PuppetDB was not asked, or does not know the node
    group: Optional[str] = None  # the value of the fact of --one-per
