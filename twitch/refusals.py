"""Refused requests, summed up: noise must not push an event out of the journal.

With LogRateLimitBurst=1000, 30,000 lines of noise did just that (measured on systemd 252), so a
refusal is not a line: all refusals of ten seconds are a few lines.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from typing import Optional

log = logging.getLogger(__name__)

INTERVAL_S = 10
# Addresses that get a line of their own in one interval; a flood from thousands gets one together.
MAX_LINES = 10
MAX_ADDRESSES = 1000


class Refusals:
    """Counts by address and kind; writes them down at most every INTERVAL_S."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._timer: Optional[asyncio.TimerHandle] = None

    def add(self, address: str, kind: str) -> None:
        """Count one refusal; `kind` is its status, or a few words."""
        if address not in self._counts and len(self._counts) >= MAX_ADDRESSES:
            address = "other addresses"
        self._counts[address][kind] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self.flush)

    def flush(self) -> None:
        """Write down what was counted, most first."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        counts = sorted(self._counts.items(), key=lambda item: -sum(item[1].values()))
        for address, statuses in counts[:MAX_LINES]:
            log.warning("refused %s: %s", address, _listed(statuses))
        rest = sum((statuses for _, statuses in counts[MAX_LINES:]), Counter())
        if rest:
            log.warning("refused %d more addresses: %s", len(counts) - MAX_LINES, _listed(rest))
        self._counts.clear()


def _listed(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))
