"""Refused requests, summed up: noise must not push an event out of the journal.

With LogRateLimitBurst=1000, 30,000 lines of noise did just that (measured on systemd 252), so a
refusal is not a line: all refusals of ten seconds are a few lines.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from typing import Optional

from twitch.listener import access

log = logging.getLogger(__name__)

INTERVAL_S = 10
# Addresses that get a line of their own in one interval; a flood from thousands gets one together.
MAX_LINES = 10
MAX_ADDRESSES = 1000
OTHERS = "other addresses"


class Refusals:
    """Counts by address (of IPv6 by /64, as the listener does) and kind; writes them down at most every
    INTERVAL_S."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._timer: Optional[asyncio.TimerHandle] = None

    def add(self, address: str, kind: str) -> None:
        """Count one refusal; `kind` is its status, or a few words."""
        group = access.group(address)
        if group not in self._counts and len(self._counts) >= MAX_ADDRESSES:
            self._make_room()
        self._counts[group][kind] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self.flush)

    def flush(self) -> None:
        """Write down what was counted, most first."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        counts = self._loudest_first()
        for address, statuses in counts[:MAX_LINES]:
            log.warning("refused %s: %s", address, _listed(statuses))
        rest = sum((statuses for _, statuses in counts[MAX_LINES:]), Counter())
        if rest:
            log.warning("refused %d more addresses: %s", len(counts) - MAX_LINES, _listed(rest))
        self._counts.clear()

    def _make_room(self) -> None:
        """Put the quieter half together: many quiet ones must not hide a loud one that comes late."""
        for group, _ in self._loudest_first()[MAX_ADDRESSES // 2 :]:
            if group != OTHERS:
                self._counts[OTHERS] += self._counts.pop(group)

    def _loudest_first(self) -> list[tuple[str, Counter[str]]]:
        return sorted(self._counts.items(), key=lambda item: -sum(item[1].values()))


def _listed(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))
