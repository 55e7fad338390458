"""Refused requests, summed up for the journal: a flood of lines must not push an event out of it.

With LogRateLimitBurst=1000, 30,000 lines did that (measured on systemd 252). So a refusal is not a line:
all refusals of ten seconds are a few lines. The same holds for anonymous requests that join a run in the
queue and are answered from memory (root_client.py), of which root knows nothing.

A caller that has shown a valid token or certificate is counted by that name, wherever it comes from, so that
a stolen one is found. All others are counted by address (IPv6: by /64).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Optional

from twitch.listener import access
from twitch.listener.exchange import REASONS, HTTPError

log = logging.getLogger(__name__)

INTERVAL_S = 10
# The callers, and the addresses, that have a line of their own in one interval; all others share one line.
MAX_LINES = 10
MAX_ADDRESSES = MAX_CALLERS = 1000

# What a refusal means where the phrase of its status (RFC 9110) does not say it.
MEANINGS = {
    400: "invalid request",
    404: "unknown path or run",
    405: "wrong method",
    409: "Puppet busy or queue full",
    423: "Puppet disabled",
    429: "cooldown",
    500: "Puppet cannot be started",
}
MISCONFIGURED_REASON = "configuration or tokens invalid"


def kind(error: HTTPError) -> str:
    """Return what an error counts as: its status, and the reason in words."""
    return words(error.status, error.reason)


def words(status: int, reason: str = "") -> str:
    """Return what an answer with this status counts as; `reason` says more than the status does."""
    return f"{status} {reason or MEANINGS.get(status) or REASONS.get(status, '').lower()}".rstrip()


class Tally:
    """Counts by name and kind, in bounded memory, with an example of the addresses of each name."""

    def __init__(self, limit: int, others: str) -> None:
        """`others` is the name under which the counts of surplus names are merged."""
        self._limit = limit
        self._others = others
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._examples: dict[str, str] = {}
        self._several: set[str] = set()  # the names that have more than one address

    def __len__(self) -> int:  # noqa: D105
        return len(self._counts)

    def add(self, name: str, address: str, what: str) -> None:
        """Count one refusal of this name."""
        if name not in self._counts and len(self._counts) >= self._limit:
            self._make_room()
        self._counts[name][what] += 1
        if self._examples.setdefault(name, address) != address:
            self._several.add(name)

    def lines(self) -> Iterator[tuple[str, str, bool, str]]:
        """Return a name, an address of its, whether it has others, and its counts; the most counts first.

        The last one is for all surplus names together, without an address.
        """
        counts = self._most_first()
        for name, kinds in counts[:MAX_LINES]:
            yield name, self._examples.get(name, ""), name in self._several, _listed(kinds)
        rest = sum((kinds for _, kinds in counts[MAX_LINES:]), Counter())
        if rest:
            yield f"{len(counts) - MAX_LINES} more {self._others}", "", False, _listed(rest)

    def clear(self) -> None:
        """Forget all counts."""
        for content in (self._counts, self._examples, self._several):
            content.clear()

    def _make_room(self) -> None:
        """Merge the names with the fewest refusals, so that a busy one that comes late is not hidden."""
        others = f"other {self._others}"
        for name, _ in self._most_first()[self._limit // 2 :]:
            if name != others:
                self._counts[others] += self._counts.pop(name)
                self._examples.pop(name, None)
                self._several.discard(name)

    def _most_first(self) -> list[tuple[str, Counter[str]]]:
        return sorted(self._counts.items(), key=lambda item: -sum(item[1].values()))


class Refusals:
    """Counts refusals by caller or address and by kind, and joined requests; logs them every INTERVAL_S."""

    def __init__(self) -> None:
        self._joined: Counter[str] = Counter()  # by the run
        self._joined_from: set[str] = set()
        self._callers = Tally(MAX_CALLERS, "callers")
        self._addresses = Tally(MAX_ADDRESSES, "addresses")
        self._timer: Optional[asyncio.TimerHandle] = None

    def add(self, address: str, what: str, caller: str = "") -> None:
        """Count one refusal; `what` is `kind` of the error, or a few words. `caller` is the name of a caller
        that has shown a valid credential."""
        if caller:
            self._callers.add(caller, address, what)
        else:
            self._addresses.add(access.group(address), address, what)
        self._start_timer()

    def joined(self, address: str, run: str) -> None:
        """Count one anonymous request that joined a run in the queue and was answered from memory."""
        self._joined[run] += 1
        if len(self._joined_from) < MAX_ADDRESSES:
            self._joined_from.add(access.group(address))
        self._start_timer()

    def flush(self) -> None:
        """Log the counts, those of callers with a name first."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for name, address, several, counts in self._callers.lines():
            at = f" at {address}{' and others' if several else ''}" if address else ""
            log.warning("refused %s%s: %s", name, at, counts)
        for name, address, several, counts in self._addresses.lines():
            example = f" ({address}{' and others' if several else ''})" if address not in ("", name) else ""
            log.warning("refused %s%s: %s", name, example, counts)
        self._callers.clear()
        self._addresses.clear()
        for run, count in self._joined.items():
            requests = "request" if count == 1 else "requests"
            log.info("%d more anonymous %s joined run %s, from %s", count, requests, run, self._sources())
        self._joined.clear()
        self._joined_from.clear()

    def _sources(self) -> str:
        number = len(self._joined_from)
        if number == 1:
            return next(iter(self._joined_from))
        return f"{number}{' or more' if number == MAX_ADDRESSES else ''} addresses"

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self.flush)


def _listed(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} x {what}" for what, count in sorted(kinds.items()))
