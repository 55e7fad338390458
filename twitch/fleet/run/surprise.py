"""A run that does something no canary has shown.

The resources that the canaries have changed, or would change, are the expectation. What another node changes
beyond that is a surprise: it is said once for each resource, and stops the command with --stop-on-surprise.
The name of the node itself is blanked in titles, so that File[/etc/nginx/web01.conf] on web01 is expected
where File[/etc/nginx/web02.conf] on web02 was.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Callable, NamedTuple, Optional

from twitch.fleet.events import Change
from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import GOOD
from twitch.fleet.run.verdicts import End
from twitch.fleet.show.digest import number_of
from twitch.fleet.stopping import Stop

CHANGES = frozenset({"changed", "would change"})
NOTES = 5  # surprises that are said as they come; all are counted


class Kind(NamedTuple):
    """A change, on whichever node."""

    resource: str  # with the name of the node blanked
    properties: tuple[str, ...]


class Surprise:
    """Compares what nodes change with what the canaries have changed."""

    def __init__(self, note: Callable[[str], None], stop: Optional[Stop] = None, *, canaries: int) -> None:
        """Say each surprise with `note`. Stop at the first one if `stop` is there (--stop-on-surprise).

        Without canaries, nothing is looked at.
        """
        self._note = note
        self._stop = stop
        self._expected: set[Kind] = set()
        self._active = canaries > 0
        self._canaries = 0
        self._compares = False
        self.seen: Counter[Kind] = Counter()  # kind of change -> number of nodes
        self.nodes = 0  # that were compared
        self.surprising = 0  # of these, nodes with a surprise

    def expect(self, node: Node, changes: tuple[Change, ...]) -> None:
        """Take what a canary has changed for expected."""
        self._canaries += 1
        self._expected |= kinds(node, changes)

    def compare(self) -> None:
        """Compare from now on: all canaries have ended."""
        self._compares = self._canaries > 0

    def look(self, node: Node, end: End) -> None:
        """Take the end of a node: of a canary it is expected, of any other node it is compared."""
        if not self._active:
            return
        if not self._compares:
            self.expect(node, end.changes)
            return
        self.nodes += 1 if end.outcome in GOOD else 0
        new = kinds(node, end.changes) - self._expected
        self.surprising += 1 if new else 0
        for kind in sorted(new - self.seen.keys()):
            if len(self.seen) < NOTES:
                self._note(f"{node.name} changes {said(kind)}, which no canary has changed")
        self.seen.update(new)
        if new and self._stop is not None:
            what = said(min(new))
            self._stop.stop(f"--stop-on-surprise: {node.name} changes {what}, which no canary has changed")

    def summary(self) -> Optional[str]:
        """Return one line about the canaries and the rest; None if there was nothing to compare."""
        if not self._compares or not self.nodes:
            return None
        canaries = "canary" if self._canaries == 1 else f"{self._canaries} canaries"
        expected = f"The {canaries} changed {number_of(len(self._expected), 'thing')}"
        if not self.surprising:
            return f"{expected}, and of {number_of(self.nodes, 'other node')} none changed anything else"
        most, number = self.seen.most_common(1)[0]
        more = f" and {len(self.seen) - 1} more" if len(self.seen) > 1 else ""
        what = f"{said(most)} ({number_of(number, 'node')}){more}"
        return (
            f"{expected}; {self.surprising} of {self.nodes} other nodes also changed something else: {what}"
        )


def kinds(node: Node, changes: tuple[Change, ...]) -> set[Kind]:
    """Return what a node has changed, or would change, without its name in it."""
    return {
        Kind(_without(node.name, change.resource), tuple(sorted(change.properties)))
        for change in changes
        if change.outcome in CHANGES
    }


def _without(name: str, resource: str) -> str:
    short = name.partition(".")[0]
    if short not in resource.lower():  # a regular expression for each node would cost more than all else
        return resource
    either = f"{re.escape(name)}|{re.escape(short)}"
    return re.sub(rf"(?<![A-Za-z0-9])(?:{either})(?![A-Za-z0-9])", "NODE", resource, flags=re.IGNORECASE)


def said(kind: Kind) -> str:
    """Return a change for people."""
    return f"{kind.resource} ({', '.join(kind.properties)})" if kind.properties else kind.resource
