"""Who is served and who goes: every limit on connections, and the one rule for the case that one is reached.

A connection passes through these states:

    accept()              a place is free              the answer is given
       |                         |                      and our half is shut
       v                         v                              |
    IN LINE ----------------> SERVED ----> told to make room ---+--> LEAVING ----> gone
       |                         |                                      ^
       +-- no place in 5 s, or   +-- idle: closed --> gone              |
       |   none to be expected --+------ answered 503 ------------------+
       +-- too many descriptors: closed --> gone

The limits on the connections that are served:

    limit                          places
    of one address                     32
    of one IPv6 /64                    64
    of all                            256
    that wait for a run               192

A client behind a NAT shares its address with strangers, and one in a /64 with its neighbours. Therefore a
limit that is reached does not refuse the newcomer, which may be a caller with a token: it waits in line, and
the first connection within that limit to which one of these rows applies makes room, that of the address
with the most connections first, and of these the oldest:

    1  idle       no request is being answered, and it had a     closed
                  fair chance to send one (FAIR_S)
    2  waiting    an anonymous caller waits for a run to end     answered now: 202 and where to look
    3  asking     an anonymous caller waits for its turn at      answered now: 503
                  root, which has not been asked yet
    4  going on   an anonymous caller was answered before on     the next answer is the last one
                  this connection; its request is being
                  answered, or waits for a pass (loop_pace.py)
    -  nobody                                                    the newcomer waits on

Named callers (those with grants in [access]) are in no row but the first. While a request waits for a pass,
its caller is not known yet, and that of the request before decides. Only named callers take a place among the
callers that wait for a run from an anonymous one; an anonymous caller that finds those places taken does not
wait.

All states together are limited to 280 descriptors. Beyond that one is closed at once: one that is leaving
and has its answer, or else, at the address with the most connections, the first of these: the newcomer that
is worth the least (line.py), one that is idle, one that is leaving and does not take its answer, a newcomer
that has sent a credential.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Collection, Iterable, Iterator
from typing import Callable, NamedTuple, Optional

from twitch.listener.connection import ANSWERING, FRESH, KEPT, NEW, Connection
from twitch.listener.line import ALL, CLAIMS, Line, Newcomer, groups, rank
from twitch.listener.pause import ROOT, RUN

# LimitNOFILE= of the unit is 512; the rest is for questions to root, files, and what is accepted or closed in
# one pass of the loop. A crowd of a thousand holds less than 300 (test_fault_connections.py).
MAX_OPEN = 280
# When all of these are taken, 24 are left for those in line or leaving; otherwise more.
MAX_SERVED = 256
# Enough for the honest callers behind a proxy.
MAX_PER_ADDRESS = 32
# More than MAX_PER_ADDRESS, so that a single neighbour cannot take all places of a /64.
MAX_PER_64 = 64
# A part of MAX_SERVED, so the other 64 places are for callers that do not wait.
MAX_WAITING = 192

# The time for which an idle connection is served at least; the bytes of a request that have arrived protect
# it as well. A request comes right after the connection.
# Within an address the time must be long enough: with 2 ms, of 200 clients at once that ask again and again
# three in a hundred were answered, and the others pushed each other out. It must not be longer either,
# because newcomers wait for it: 32 places and 50 ms are enough for 640 connections a second.
FAIR_S = 0.05
# A TLS handshake has so many times the time of the limit, because each answer of the client takes a round
# trip. But only while no more descriptors than CROWDED are taken: with 250 ms, strangers that begin 250
# handshakes a second and end none filled the line (measured). 200 clients that repeat theirs are less.
HANDSHAKE_FACTOR = 5
CROWDED = MAX_OPEN - MAX_PER_ADDRESS
# FAIR_S at the limit of all connections: a crowd at many addresses must not keep another address out.
FAIR_TO_ALL_S = 0.002
# The time in which a client takes its last answer.
TAKE_S = 0.1
# The longest time in line. The largest crowd that MAX_OPEN allows is served in less, also with TLS.
LINE_S = 5

DROPPED = "too many connections"
DISPLACED = "idle when its place was needed"


class Limit(NamedTuple):
    """A limit on the connections of a group that are served."""

    of: str
    places: int
    fair_s: float
    common: str  # what the connections of the group have in common

    @property
    def refusal(self) -> str:
        """The text for a newcomer that found no place."""
        if not self.common:
            return "Too many connections"
        return f"More than {self.places} connections from one {self.common}"


class Pick(NamedTuple):
    """A newcomer that leaves the line: to be served, or, if there is a text, to be refused with that."""

    newcomer: Newcomer
    refusal: str = ""


class Room:
    """The connections of a listener, oldest first, and the newcomers in line."""

    def __init__(self, close: Callable[[Connection], bool], drop: Callable[[Newcomer], None]) -> None:
        """`close` ends a connection at once, and returns whether it could; `drop` closes a newcomer."""
        self._clock = time.monotonic  # which is the loop's clock
        self._close = close
        self._drop = drop
        self.line = Line()
        self._accepted: dict[Connection, tuple[socket.socket, float]] = {}  # and when it was first served
        self._members: dict[str, dict[Connection, None]] = {}  # by group

    def __len__(self) -> int:  # noqa: D105
        return len(self._accepted) + len(self.line)

    def __iter__(self) -> Iterator[Connection]:  # noqa: D105
        return iter(list(self._accepted))

    def arrive(self, accepted: socket.socket, address: str) -> None:
        """Let a newcomer stand in line; if those are too many descriptors, close another one or this one."""
        self.line.add(Newcomer(accepted, address, self._clock(), rank(accepted)))
        if len(self) > MAX_OPEN:
            self.shrink()

    def pick(self) -> Optional[Pick]:
        """Return the newcomer that is served next, making room for it if needed; None if all have to wait."""
        expired = self.line.expired(self._clock() - LINE_S)
        if expired:
            return Pick(expired, self._refusal(expired.address))
        full = set()
        for address in self.line.addresses():
            for limit in limits(address):
                if len(self._members.get(limit.of, ())) < limit.places:
                    continue  # the usual case, without counting
                served = self._served(limit.of)
                if len(served) < limit.places:
                    continue
                if limit.of in full or not self._make_room(served, limit):
                    full.add(limit.of)
                    if all(one.named and one.waiting for one in served):
                        return Pick(self.line.take(address), limit.refusal)
                    break
            else:
                return Pick(self.line.take(address))
        return None

    def enter(self, connection: Connection, accepted: socket.socket) -> None:
        """Count a connection, from its first moment on, so that no exit can overlook it."""
        self._accepted[connection] = (accepted, self._clock())
        for group in groups(connection.address):
            self._members.setdefault(group, {})[connection] = None

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is gone, if it is known."""
        if self._accepted.pop(connection, None) is None:
            return
        for group in groups(connection.address):
            members = self._members[group]
            del members[connection]
            if not members:
                del self._members[group]

    def shrink(self) -> None:
        """Close one connection or newcomer: there are too many, or no descriptor or memory for another."""
        answered = (one for one in self._accepted if one.answered)
        if self._close_leaving(answered):
            return
        # Without the addresses that have nothing to close: a flood makes each newcomer cost this.
        closable = (one.address for one in self._accepted if not one.unanswered)
        addresses = dict.fromkeys([*closable, *self.line.addresses()])
        for address in sorted(addresses, key=self._crowd):
            members = self._members.get(address, {})
            newcomer = self.line.drop(address)
            if newcomer:
                self._drop(newcomer)
                return
            if self._close_idle(members, FAIR_TO_ALL_S) or self._close_leaving(self._overdue(members)):
                return
            newcomer = self.line.drop(address, CLAIMS)
            if newcomer:
                self._drop(newcomer)
                return
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

    def _refusal(self, address: str) -> str:
        """Return the text of the narrowest limit that is reached for this address."""
        *narrower, everyone = limits(address)
        reached = (limit for limit in narrower if len(self._served(limit.of)) >= limit.places)
        return next(reached, everyone).refusal

    def _served(self, group: str) -> list[Connection]:
        return [one for one in self._members.get(group, ()) if not one.leaving]

    def _crowd(self, address: str) -> list[int]:
        """Return the key that sorts the /64 and the address with the most connections first."""
        members, in_line = self._members, self.line.count
        # From the largest group to the smallest, without ALL, which is the same for every address.
        return [-len(members.get(of, ())) - in_line(of) for of in groups(address)[-2::-1]]

    def _make_room(self, served: Collection[Connection], limit: Limit) -> bool:
        crowds = {address: self._crowd(address) for address in {one.address for one in served}}
        in_order = sorted(served, key=lambda one: crowds[one.address])
        return self._close_idle(in_order, limit.fair_s) or self._displace(in_order)

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
        if connection.shakes_hands and len(self) <= CROWDED:
            fair_s *= HANDSHAKE_FACTOR
        had_its_chance = connection.state == KEPT or self._clock() - since >= fair_s
        if not had_its_chance or connection.state not in (NEW, FRESH, KEPT):
            return had_its_chance
        try:
            return not accepted.recv(1, socket.MSG_PEEK)
        except OSError:  # BlockingIOError: nothing has come; else the connection is gone
            return True

    def _displace(self, connections: Iterable[Connection]) -> bool:
        """Tell the first connection of the rows 2 to 4 to leave; return False if there is none."""
        by_row = [(_row(one), one) for one in connections if not one.leaving]
        first = min((row for row, _ in by_row if row), default=0)
        for row, connection in by_row:
            if first and row == first:
                connection.leave()
                return True
        return False

    def _overdue(self, connections: Iterable[Connection]) -> Iterator[Connection]:
        latest = self._clock() - TAKE_S
        overdue = (one for one in connections if one.leaving and one.leaving_since <= latest)
        return (one for one in overdue if not one.unanswered)

    def _close_leaving(self, leaving: Iterable[Connection]) -> bool:
        """Close the one of these that is leaving for longest; return False if there is none."""
        oldest = min(leaving, key=lambda one: one.leaving_since, default=None)
        if oldest is None or not self._close(oldest):
            return False
        self.remove(oldest)
        return True


def limits(address: str) -> tuple[Limit, ...]:
    """Return the limits that apply to a connection from this address, the narrowest first."""
    per_address = Limit(address, MAX_PER_ADDRESS, FAIR_S, "address")
    per_64 = (Limit(network, MAX_PER_64, FAIR_S, "/64") for network in groups(address)[1:-1])
    return (per_address, *per_64, Limit(ALL, MAX_SERVED, FAIR_TO_ALL_S, ""))


def is_local(address: str, own_address: str) -> bool:
    """Return whether a client is on this machine."""
    return address == own_address or ipaddress.ip_address(address).is_loopback


def _row(connection: Connection) -> int:
    """Return the row of the table above, from the second on, that applies to a connection; else 0."""
    if connection.named or not (connection.state == ANSWERING or connection.paced):
        return 0
    waiting: dict[Optional[str], int] = {RUN: 2, ROOT: 3}
    return waiting.get(connection.waits_for, 4 if connection.answers else 0)
