"""The lines of a run for its followers: one log reader for all of them, and the last lines in memory.

A source reads on only when a follower waits for more than there is in memory, so a log of any length is read
at the pace of the fastest follower. One that is slower than that, and asks for lines that are no longer in
memory, gets a source of its own, and comes back to the common one when it has caught up. So nobody waits for
a slow follower, and a run has one log reader while its followers take what comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from typing import Optional

from twitch import log_packets
from twitch.errors import PacketError, TwitchError
from twitch.listener import access
from twitch.listener.root_client import RootClient
from twitch.log_lines import Line
from twitch.log_packets import BEYOND, EMPTY, END, LIVE, LOG, LOG_SOCKET, LOST, UNREADABLE, Event, Read
from twitch.messages import Status
from twitch.records import FINISHED, RUNNING, Record, Records

log = logging.getLogger(__name__)

# What is kept of a log in memory: the lines of most runs, all of them. It has to be more than a packet.
KEPT_LINES = 2000
KEPT_BYTES = 256 * 1024
# Sources of followers that ask for older lines. The socket has 16 places.
MAX_SOURCES = 12
# The first packet of a reader comes within 60 ms on an idle machine.
OPEN_TIMEOUT_S = 10

# The time between two looks at the record, as for callers that wait for a verdict (api/call.py).
LOOK_S = 0.2
# Root is asked this often, which ends a run whose conclude was killed.
GUARD_S = 15

TOO_MANY = "Too many logs are read at once; try again"


class Unreadable(TwitchError):
    """There is no log to read; the text says why, `status` is that of the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def beyond(lines: int) -> Unreadable:
    """Return the error for a position beyond the end."""
    return Unreadable(400, f"Parameter after must be at most {lines}, the lines of this log so far")


class Shown:
    """A line of a log, and its text and its JSON, which are made once for all followers."""

    __slots__ = ("_json", "_text", "line")

    def __init__(self, line: Line) -> None:
        self.line = line
        self._text = b""
        self._json = b""

    def text(self) -> bytes:
        """Return the line as text."""
        self._text = self._text or (self.line.text() + "\n").encode("utf-8", "replace")
        return self._text

    def json(self) -> bytes:
        """Return the line as JSON."""
        self._json = self._json or (self.line.json() + "\n").encode("ascii")
        return self._json


class Source:
    """The lines of one run, from a position on. `number` counts them: it is the position of the last one, but
    of a source that begins at the end of the log (`tail`)."""

    def __init__(
        self,
        sources: Sources,
        record: Record,
        question: Read,
        client: str,
        refusal: Optional[Unreadable] = None,
    ) -> None:
        self.record: Optional[Record] = record
        self.run = record.run
        self.client = client  # of the first follower
        self.complete = True  # lines have positions
        self.live = False  # there was no line more, once
        self.number = question.after
        self.followers = 0
        self.blind: Optional[Unreadable] = None  # there are no lines, and this is why
        self.position = question.after  # of the reader, at its end
        self.broken = False  # the reader ended too early
        self.unrecorded: Optional[str] = None  # why the verdict cannot be written
        self.ended = False  # there are no more lines
        self._refusal = refusal  # why there is no reader for it
        self._sources = sources
        self._question = question
        self._kept: deque[Shown] = deque()
        self._bytes = 0
        self._loop = asyncio.get_running_loop()
        self._more: asyncio.Future[None] = self._loop.create_future()
        self._demand = asyncio.Event()
        self._socket: Optional[socket.socket] = None
        self._tasks: list[asyncio.Task[None]] = []
        self._opening = self._loop.create_task(self._open())

    # ---- for followers

    async def opened(self) -> None:
        """Wait for the first packet of the reader, or its failure (`blind`)."""
        await asyncio.shield(self._opening)

    @property
    def first(self) -> int:
        """The position before the first line in memory."""
        return self.number - len(self._kept)

    @property
    def over(self) -> bool:
        """Whether there are no more lines, and the verdict is known, or that it will not be."""
        finished = self.record is None or self.record.state == FINISHED or self.unrecorded is not None
        return self.broken or (self.ended and finished)

    def after(self, number: int, at_most: int) -> list[Shown]:
        """Return lines in memory after this position, of so many bytes or one line more."""
        found, size = [], 0
        for index in range(number - self.first, len(self._kept)):
            shown = self._kept[index]
            found.append(shown)
            size += _size(shown)
            if size >= at_most:
                break
        return found

    def more(self) -> asyncio.Future[None]:
        """Return a future that is done when there is something new; ask the reader for more."""
        self._demand.set()
        return self._more

    def leave(self) -> None:
        """Take leave of a follower; the last one ends the source."""
        self.followers -= 1
        if self.followers <= 0:
            self.close()

    @property
    def may_be_cut(self) -> bool:
        """Whether the only follower can go on later: it has an answer, and is told where."""
        return self.followers <= 1 and self._opening.done()

    def cut(self) -> None:
        """End the source before the end of the log, to make room for another one."""
        self.broken = True
        self.close()
        self._publish()

    def close(self) -> None:
        """End the source."""
        self._sources.forget(self)
        for task in (self._opening, *self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        if self._socket:
            self._socket.close()
            self._socket = None

    # ---- the reader

    async def _open(self) -> None:
        """Connect to the reader and take its first packet."""
        try:
            await self._connect()
        except Unreadable as error:
            log.debug("no log of run %s: %s", self.run, error)
            self._sources.forget(self)
            self.blind = error
            self.live = self.ended = True
        if self.record and self.record.state != FINISHED:
            self._tasks.append(self._loop.create_task(self._watch()))
        self._publish()

    async def _connect(self) -> None:
        if self._refusal:
            raise self._refusal
        reader = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = reader
        reader.setblocking(False)
        try:
            reader.connect(self._sources.path)
            await self._loop.sock_sendall(reader, log_packets.encode_question(self._question))
            first = await asyncio.wait_for(self._receive(reader), OPEN_TIMEOUT_S)
        except (BlockingIOError, ConnectionResetError) as error:
            raise Unreadable(503, TOO_MANY) from error
        except asyncio.TimeoutError as error:
            raise Unreadable(503, f"No answer from the log reader in {OPEN_TIMEOUT_S} s") from error
        except PacketError as error:
            raise Unreadable(503, str(error)) from error
        except OSError as error:
            fix = "systemctl restart puppet-twitch-log.socket"
            raise Unreadable(503, f"The log reader cannot be reached ({error.strerror}); {fix}") from error
        if not first:
            raise Unreadable(503, TOO_MANY)
        self._begin(first)
        self._tasks.append(self._loop.create_task(self._pump(reader)))

    def _begin(self, first: list[object]) -> None:
        event = first[0]
        if not isinstance(event, Event):
            raise Unreadable(503, "The log reader's answer was not understood")
        ended = self.record is None or self.record.state == FINISHED
        if event.name == BEYOND:
            raise beyond(event.lines)
        if event.name == LOST:
            text = "The journal of the node does not have the first lines of this log any more"
            raise Unreadable(410, f"{text}, so after= has no meaning; without it, what is left is sent")
        if event.name == UNREADABLE:
            raise Unreadable(404, f"No log of this run: {event.why}")
        if event.name not in (LOG, EMPTY):
            raise Unreadable(503, "The log reader has refused the question")
        if event.name == EMPTY and ended:
            raise Unreadable(404, "No log of this run: the journal of the node has no line of it any more")
        self._take(first)

    async def _receive(self, reader: socket.socket) -> list[object]:
        packet = await self._loop.sock_recv(reader, log_packets.MAX_PACKET_BYTES)
        return list(log_packets.decode(packet)) if packet else []

    async def _pump(self, reader: socket.socket) -> None:
        """Read packets for as long as a follower waits for more."""
        try:
            while not self.ended:
                await self._demand.wait()
                self._demand.clear()
                packet = await self._receive(reader)
                if not packet:
                    self.broken = not self.ended
                    break
                self._take(packet)
        except (OSError, PacketError) as error:
            log.warning("the log of run %s broke off: %s", self.run, error)
            self.broken = True
        self._publish()

    def _take(self, packet: list[object]) -> None:
        for one in packet:
            if isinstance(one, Line):
                self._keep(Shown(one))
            elif isinstance(one, Event):
                if one.name == LOG:
                    self.complete = one.complete
                self.live = self.live or one.name in (LIVE, END, EMPTY)
                if one.name == END:
                    self.ended, self.position = True, one.lines
        self._publish()

    def _keep(self, shown: Shown) -> None:
        self.number += 1
        self._kept.append(shown)
        self._bytes += _size(shown)
        while len(self._kept) > KEPT_LINES or self._bytes > KEPT_BYTES:
            self._bytes -= _size(self._kept.popleft())

    def _publish(self) -> None:
        more, self._more = self._more, self._loop.create_future()
        if not more.done():
            more.set_result(None)

    # ---- the run

    async def _watch(self) -> None:
        """Wait until the run has ended; then tell the reader, which may not have seen it.

        This listener hears of the end of a run that it has started; it looks at the record of any other run.
        """
        asked_at = self._loop.time()
        records, root = self._sources.records, self._sources.root
        while self.record and self.record.state != FINISHED:
            run_end = root.run_ends.of(self.run) if self.record.state == RUNNING else None
            if run_end:
                await asyncio.wait([run_end])
            else:
                await asyncio.sleep(LOOK_S)
            self.record = records.read(self.run, resources=False)
            if self._loop.time() > max(asked_at, root.status_at) + GUARD_S:
                asked_at = self._loop.time()
                with contextlib.suppress(TwitchError):
                    await root.ask(Status())
            if root.status and root.status.unrecorded == self.run:
                self.unrecorded = root.status.unrecorded_why or ""
                break
        if self._socket:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        self._publish()


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
        if common and whole and common.first <= question.after:
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
        fits = common.complete and common.first <= source.number <= common.number
        return common if fits and common is not source else None

    def forget(self, source: Source) -> None:
        """Forget a source that has ended."""
        self._all.pop(source, None)
        if self._common.get(source.run) is source:
            del self._common[source.run]


def _size(shown: Shown) -> int:
    return len(shown.line.message) + len(shown.line.source)
