"""The line of newcomers: accepted sockets of which no request is read before there is a place (room.py).

A newcomer costs a descriptor and a few hundred bytes. Each address has a line of its own, and the lines take
turns, so that a long one delays no other address. Within an address, newcomers with a credential go first.
Then those that have sent something and those that are silent take turns, so that neither can keep the others
out. Of each kind, the oldest goes first.
"""

from __future__ import annotations

import functools
import re
import socket
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, Optional

from twitch.listener import access

# The ranks within an address. CLAIMS is a hint: such a newcomer has sent the header of a token, which nobody
# has compared. A stranger that sends one as well gets ahead of other strangers, and then a 401.
CLAIMS, READY, SILENT = range(3)
CREDENTIAL = re.compile(rb"\r\nauthorization:", re.IGNORECASE)
# So many of the bytes that have arrived are searched for the header; a usual head is smaller.
LOOK_BYTES = 4096


# The name of the group that every connection belongs to.
ALL = ""


class Newcomer(NamedTuple):
    """An accepted socket, its address, when it came (by the loop's clock), and its rank."""

    accepted: socket.socket
    address: str
    since: float
    rank: int


class Line:
    """Newcomers by address, the next ones first."""

    def __init__(self) -> None:
        self._by_address: dict[str, tuple[deque[Newcomer], ...]] = {}  # a queue for each rank
        self._counts = {ALL: 0}  # by address, by /64, and all together
        self._silent_next: set[str] = set()  # addresses

    def __len__(self) -> int:  # noqa: D105
        return self._counts[ALL]

    def __iter__(self) -> Iterator[Newcomer]:  # noqa: D105
        return (one for queues in list(self._by_address.values()) for queue in queues for one in list(queue))

    def add(self, newcomer: Newcomer) -> None:
        """Let a newcomer stand in the line of its address."""
        address = newcomer.address
        self._by_address.setdefault(address, (deque(), deque(), deque()))[newcomer.rank].append(newcomer)
        for of in groups(address):
            self._counts[of] = self._counts.get(of, 0) + 1

    def count(self, of: str) -> int:
        """Return how many come from this address or /64; or (ALL) how many there are."""
        return self._counts.get(of, 0)

    def addresses(self) -> list[str]:
        """Return the addresses whose newcomers wait, the one whose turn it is first."""
        return list(self._by_address)

    def take(self, address: str) -> Newcomer:
        """Remove and return the first newcomer of this address; the next turn is another address's."""
        claims, ready, silent = self._by_address[address]
        queue = claims or (silent if address in self._silent_next else ready) or ready or silent
        if queue is not claims:
            self._silent_next ^= {address}
        newcomer = self.remove(queue[0])
        if address in self._by_address:
            self._by_address[address] = self._by_address.pop(address)
        return newcomer

    def drop(self, address: str, least: int = READY) -> Optional[Newcomer]:
        """Remove and return the newcomer of this address that is worth the least, the oldest first; None if
        all have a better rank than `least`."""
        for queue in reversed(self._by_address.get(address, ())[least:]):
            if queue:
                return self.remove(queue[0])
        return None

    def expired(self, before: float) -> Optional[Newcomer]:
        """Remove and return a newcomer that has waited since a moment before this one, if there is one."""
        for queues in self._by_address.values():
            for queue in queues:
                if queue and queue[0].since < before:
                    return self.remove(queue[0])
        return None

    def remove(self, newcomer: Newcomer) -> Newcomer:
        """Remove a newcomer, and return it."""
        address = newcomer.address
        self._by_address[address][newcomer.rank].remove(newcomer)
        if not any(self._by_address[address]):
            del self._by_address[address]
            self._silent_next.discard(address)
        for of in groups(address):
            self._counts[of] -= 1
            if of != ALL and not self._counts[of]:
                del self._counts[of]
        return newcomer


@functools.lru_cache(maxsize=1024)
def groups(address: str) -> tuple[str, ...]:
    """Return the groups of an address, the smallest first: itself, its /64 (IPv6), and all."""
    network = access.group(address)
    return (address, ALL) if network == address else (address, network, ALL)


def rank(accepted: socket.socket) -> int:
    """Return the rank of a newcomer, by the bytes that have arrived; they stay in the kernel."""
    try:
        arrived = accepted.recv(LOOK_BYTES, socket.MSG_PEEK)
    except OSError:  # BlockingIOError: nothing has come; else the client is gone
        return SILENT
    return CLAIMS if CREDENTIAL.search(arrived) else READY
