"""One log reader for all followers of a run, and which source makes room for another one.

A follower that is slower than the others, and asks for lines that are no longer in memory, gets a source of
its own, and comes back to the common one when it has caught up. So nobody waits for a slow follower, and a
run has one log reader while its followers take what comes.
"""

from __future__ import annotations

from typing import Optional

from twitch.listener import access
from twitch.listener.log_source import TOO_MANY, Source, Unreadable
from twitch.listener.root_client import RootClient
from twitch.log_packets import LOG_SOCKET, Read
from twitch.record_files import Records
from twitch.records import Record

# Sources of followers that ask for older lines. The socket has 16 places.
MAX_SOURCES = 12


class Sources:
    """The sources of a listener: for each run a common one, and those of slower followers."""

    def __init__(self, records: Records, root: RootClient, path: str = LOG_SOCKET) -> None:
        self.records = records
        self.root = root
        self.path = path
        self._common: dict[str, Source] = {}
        self._all: dict[Source, None] = {}  # the oldest first

    def join(self, record: Record, question: Read, address: str, *, lenient: bool = False) -> Source:
        """Return a source that has, or will have, the lines of a question; raises `Unreadable`.

        `address` is that of the client. If it is lenient, it gets a source without lines instead of an error.
        """
        common = self._common.get(record.run)
        whole = question.tail is None  # else the reader leaves lines out, so that they cannot be counted
        if common and whole and common.lines.first <= question.after:
            common.followers += 1
            return common
        client = access.group(address)
        if len(self._all) >= MAX_SOURCES and not self._make_room(client):
            refusal = Unreadable(503, TOO_MANY)
            if not lenient:
                raise refusal
            source = Source(self, record, question, client, refusal)
            source.followers = 1
            return source
        source = Source(self, record, question, client)
        source.followers = 1
        self._all[source] = None
        if whole and not common:
            self._common[record.run] = source
        return source

    def _make_room(self, client: str) -> bool:
        """Cut the oldest source of the client with the most, unless this one would then have as many."""
        clients = [source.client for source in self._all]
        crowd = max(clients, key=clients.count)
        if clients.count(crowd) <= clients.count(client) + 1:
            return False
        oldest = next((one for one in self._all if one.client == crowd and one.may_be_cut), None)
        if oldest:
            oldest.cut()
        return oldest is not None

    def common(self, source: Source) -> Optional[Source]:
        """Return the common source that can go on for this one; this one becomes it, if there is none."""
        if not source.complete or source.blind:
            return None
        common = self._common.setdefault(source.run, source)
        fits = common.complete and common.lines.first <= source.lines.number <= common.lines.number
        return common if fits and common is not source else None

    def forget(self, source: Source) -> None:
        """Forget a source that has ended."""
        self._all.pop(source, None)
        if self._common.get(source.run) is source:
            del self._common[source.run]
