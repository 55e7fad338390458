"""Refused requests, summed up for the journal: a flood of lines must not push an event out of it.

With LogRateLimitBurst=1000, 30,000 lines did that (measured on systemd 252). So a refusal is not a line:
all refusals of ten seconds are a few lines. The same holds for anonymous requests that join a run in the
queue and are answered from memory (root_client.py), of which root knows nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from typing import Optional

from twitch.listener import access

log = logging.getLogger(__name__)

INTERVAL_S = 10
# The addresses that have a line of their own in one interval; all others share one line.
MAX_LINES = 10
MAX_ADDRESSES = 1000
OTHERS = "other addresses"


class Refusals:
    """Counts refusals by address (IPv6: by /64) and kind, and joined requests; logs them every INTERVAL_S."""

    def __init__(self) -> None:
        self._joined: Counter[str] = Counter()  # by the run
        self._joined_from: set[str] = set()
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._timer: Optional[asyncio.TimerHandle] = None

    def add(self, address: str, kind: str) -> None:
        """Count one refusal; `kind` is the status of the answer, or a few words."""
        group = access.group(address)
        if group not in self._counts and len(self._counts) >= MAX_ADDRESSES:
            self._make_room()
        self._counts[group][kind] += 1
        self._start_timer()

    def joined(self, address: str, run: str) -> None:
        """Count one anonymous request that joined a run in the queue and was answered from memory."""
        self._joined[run] += 1
        if len(self._joined_from) < MAX_ADDRESSES:
            self._joined_from.add(access.group(address))
        self._start_timer()

    def flush(self) -> None:
        """Log the counts, the address with the most refusals first."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        counts = self._most_first()
        for address, statuses in counts[:MAX_LINES]:
            log.warning("refused %s: %s", address, _listed(statuses))
        rest = sum((statuses for _, statuses in counts[MAX_LINES:]), Counter())
        if rest:
            log.warning("refused %d more addresses: %s", len(counts) - MAX_LINES, _listed(rest))
        self._counts.clear()
        for run, count in self._joined.items():
            requests = "request" if count == 1 else "requests"
            log.info("%d more anonymous %s joined run %s, from %s", count, requests, run, self._addresses())
        self._joined.clear()
        self._joined_from.clear()

    def _addresses(self) -> str:
        number = len(self._joined_from)
        if number == 1:
            return next(iter(self._joined_from))
        return f"{number}{' or more' if number == MAX_ADDRESSES else ''} addresses"

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self.flush)

    def _make_room(self) -> None:
        """Merge the addresses with the fewest refusals, so that a busy one that comes late is not hidden."""
        for group, _ in self._most_first()[MAX_ADDRESSES // 2 :]:
            if group != OTHERS:
                self._counts[OTHERS] += self._counts.pop(group)

    def _most_first(self) -> list[tuple[str, Counter[str]]]:
        return sorted(self._counts.items(), key=lambda item: -sum(item[1].values()))


def _listed(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))
