"""Who stays and who goes: every limit on connections, and the one rule for the case that one is reached.

The limits, each of which a new connection must fit into:

    limit                          places  that may be leaving
    of one address                     32                    8
    of one IPv6 /64                    64                   16
    of all                            256                   64
    that wait for a run               192

A client behind a NAT shares its address with strangers, and one in a /64 with its neighbours. Therefore a
limit that is reached does not refuse the new connection, which may be that of a caller with a token, but the
first connection within that limit to which one of these lines applies makes room, the oldest first:

    1  idle       no request is being answered, and it had a     closed
                  fair chance to send one (FAIR_S)
    2  waiting    an anonymous caller waits for a run to end     answered now: 202 and where to look
    3  in line    an anonymous caller waits for its turn at      answered now: 503
                  root, which has not been asked yet
    4  going on   an anonymous caller was answered before on     the next answer is the last one
                  this connection
    -  nobody                                                    the new connection is answered 503

Named callers (those with a line in [access]) are in no line but the first. Only they take a place among the
callers that wait for a run from an anonymous one; an anonymous caller that finds those places taken does not
wait.

A connection that is told to make room, or refused, is leaving: it needs its place until the client has the
answer. Leaving connections do not count against the places, but are limited as well. Beyond that a new
connection is closed without an answer, because a refusal holds its descriptor for up to LINGER_S: with 250
connections a second from one address (measured), those would be more descriptors than there are.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Callable, NamedTuple, Optional

from twitch.listener import access
from twitch.listener.connection import ANSWERING, FRESH, KEPT, LINGERING, NEW, ROOT, RUN, Connection

# LimitNOFILE= of the unit is 512. With those that are leaving, a crowd of a thousand that does not read its
# answers holds 327 descriptors; the rest is for questions to root and for files.
MAX_CONNECTIONS = 256
# With 24, such a crowd kept out a good request (seen).
MAX_LEAVING = 64
# Honest callers behind a proxy fit.
MAX_PER_ADDRESS = 32
MAX_LEAVING_PER_ADDRESS = 8
# More than of an address, so that a single neighbour cannot take all places of a /64.
MAX_PER_64 = 64
MAX_LEAVING_PER_64 = 16
# Of the connections; so the other 64 are for callers that do not wait.
MAX_WAITING = 192

# The time from accept() in which an idle connection is not closed; the bytes of a request that have arrived
# keep it open as well. A request comes right after the connection, and with TLS 1.3 one round trip later.
# Within an address the time must be long enough: with 2 ms, of 200 clients at once that ask again and again
# three in a hundred were answered, and the others pushed each other out. It must not be longer either,
# because without a connection that may be closed the new one is refused, and that may be the caller with the
# token: 32 places and 50 ms are enough for 640 connections a second, and 250 (measured, from one address)
# leave each one 128 ms.
FAIR_S = 0.05
# The same at the limit of all: a crowd at many addresses must not keep another address out.
FAIR_TO_ALL_S = 0.002
# The time in which a client takes the answer with which it is refused.
TAKE_S = 0.1

DROPPED = "too many connections"
DISPLACED = "idle when its place was needed"

# What becomes of a new connection.
SERVE, REFUSE, DROP = "serve", "refuse", "drop"


class Limit(NamedTuple):
    """A limit on connections, by what they have in common."""

    of: str
    places: int
    leaving: int
    fair_s: float
    refusal: str


class Verdict(NamedTuple):
    """What becomes of a new connection; `text` says why it is refused."""

    kind: str
    text: str = ""


class Room:
    """The connections of a listener, oldest first."""

    def __init__(self, close: Callable[[Connection], bool]) -> None:
        """`close` ends a connection at once, and returns whether it could."""
        self._clock = time.monotonic  # which is the loop's clock
        self._close = close
        self._accepted: dict[Connection, tuple[socket.socket, float]] = {}  # and when
        self._members: dict[str, dict[Connection, None]] = {}  # what they have in common -> connections

    def __len__(self) -> int:  # noqa: D105
        return len(self._accepted)

    def __iter__(self) -> Iterator[Connection]:  # noqa: D105
        return iter(list(self._accepted))

    def decide(self, address: str) -> Verdict:
        """Return what becomes of a new connection from this address; make room for it if that is needed."""
        for limit in limits(address):
            members = self._members.get(limit.of, {})
            if len(members) < limit.places:
                continue
            leaving = sum(one.leaving for one in members)
            full = len(members) - leaving >= limit.places
            if full and self._close_idle(members, limit.fair_s):
                continue
            if not full and len(members) < limit.places + limit.leaving:
                continue
            if leaving >= limit.leaving and not self._close_leaving(members):
                return Verdict(DROP, DROPPED)
            if full and not self._displace(members):
                return Verdict(REFUSE, limit.refusal)
        return Verdict(SERVE)

    def enter(self, connection: Connection, accepted: socket.socket) -> None:
        """Count a connection, from its first moment on, so that no exit can overlook it."""
        self._accepted[connection] = (accepted, self._clock())
        for limit in limits(connection.address):
            self._members.setdefault(limit.of, {})[connection] = None

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is gone, if it is known."""
        if self._accepted.pop(connection, None) is None:
            return
        for limit in limits(connection.address):
            members = self._members[limit.of]
            del members[connection]
            if not members:
                del self._members[limit.of]

    def make(self) -> None:
        """Make room for one connection, if possible: there is no descriptor or memory for another one."""
        if not self._close_idle(self._accepted, FAIR_TO_ALL_S) and not self._close_leaving(self._accepted):
            self._displace(self._accepted)

    def may_wait(self, connection: Connection) -> bool:
        """Return whether this connection may wait for a run, and so take one of those places."""
        if connection.waiting:
            return True
        waiting = [one for one in self._accepted if one.waiting and not one.leaving]
        if len(waiting) < MAX_WAITING:
            return True
        anonymous = next((one for one in waiting if not one.named), None)
        if anonymous is None or not connection.named:
            return False
        anonymous.stop_waiting()
        return True

    # ---- who makes room

    def _close_idle(self, connections: Iterable[Connection], fair_s: float) -> bool:
        for connection in connections:
            if self._is_idle(connection, fair_s) and self._close(connection):
                self.remove(connection)
                return True
        return False

    def _is_idle(self, connection: Connection, fair_s: float) -> bool:
        if connection.leaving or not connection.idle:
            return False
        accepted, since = self._accepted[connection]
        had_its_chance = connection.state == KEPT or self._clock() - since >= fair_s
        if not had_its_chance or connection.state not in (NEW, FRESH, KEPT):
            return had_its_chance
        # Up to 64 connections are accepted at one wake-up of the loop, before any of them is read.
        try:
            return not accepted.recv(1, socket.MSG_PEEK)
        except OSError:  # BlockingIOError: nothing has come; else the connection is gone
            return True

    def _displace(self, connections: Iterable[Connection]) -> bool:
        """Tell the first connection of the lines 2 to 4 to leave; return False if there is none."""
        ranked = [(_line(one), one) for one in connections if not one.leaving]
        first = min((line for line, _ in ranked if line), default=0)
        for line, connection in ranked:
            if first and line == first:
                connection.leave()
                return True
        return False

    def _close_leaving(self, connections: Iterable[Connection]) -> bool:
        """Close the connection that is leaving and most likely has its answer; return False if none has."""
        leaving = [one for one in connections if one.leaving]
        if not leaving:
            return False
        oldest = min(leaving, key=lambda one: (not _is_answered(one), one.leaving_since))
        had_time = _is_answered(oldest) or self._clock() - oldest.leaving_since >= TAKE_S
        if not had_time or not self._close(oldest):
            return False
        self.remove(oldest)
        return True


def limits(address: str) -> tuple[Limit, ...]:
    """Return the limits that apply to a connection from this address, the narrowest first."""
    network = access.group(address)
    per_address = Limit(
        address,
        MAX_PER_ADDRESS,
        MAX_LEAVING_PER_ADDRESS,
        FAIR_S,
        f"More than {MAX_PER_ADDRESS} connections from one address",
    )
    per_64 = Limit(
        network, MAX_PER_64, MAX_LEAVING_PER_64, FAIR_S, f"More than {MAX_PER_64} connections from one /64"
    )
    everyone = Limit("", MAX_CONNECTIONS, MAX_LEAVING, FAIR_TO_ALL_S, "Too many connections")
    return (per_address, everyone) if network == address else (per_address, per_64, everyone)


def is_local(address: str, own_address: str) -> bool:
    """Return whether a client is on this machine."""
    return address == own_address or ipaddress.ip_address(address).is_loopback


def _line(connection: Connection) -> int:
    """Return the line of the table above, from the second on, that applies to a connection; else 0."""
    if connection.named or connection.state != ANSWERING:
        return 0
    waiting: dict[Optional[str], int] = {RUN: 2, ROOT: 3}
    return waiting.get(connection.waits_for, 4 if connection.answers else 0)


def _is_answered(connection: Connection) -> bool:
    """Return whether the client has its answer, or the kernel has. A connection of which no request was read
    is not meant: closing it would send a reset over the request, which can destroy the answer."""
    return connection.state == LINGERING and connection.answers > 0
