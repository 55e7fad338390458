"""The lines of a run, from a log reader: a source, which has one or more followers (log_sharing.py).

A source reads on only when a follower waits for more than there is in memory, so a log of any length is read
at the pace of the fastest follower. It also looks for the end of the run, which the reader may not have seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Optional

from twitch import log_packets
from twitch.errors import PacketError, TwitchError
from twitch.listener.kept_lines import KeptLines, Shown
from twitch.log_lines import Line
from twitch.log_packets import BEYOND, EMPTY, END, LIVE, LOG, LOST, UNREADABLE, Event, Read
from twitch.messages import Status
from twitch.record_files import GUARD_S, LOOK_S
from twitch.records import FINISHED, RUNNING, Record

if TYPE_CHECKING:
    from twitch.listener.log_sharing import Sources

log = logging.getLogger(__name__)

# The first packet of a reader comes within 60 ms on an idle machine.
OPEN_TIMEOUT_S = 10

TOO_MANY = "Too many logs are read at once; try again"


class Unreadable(TwitchError):
    """There is no log to read; the text says why, `status` is that of the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def beyond(lines: int) -> Unreadable:
    """Return the error for a position beyond the end."""
    return Unreadable(400, f"Parameter after must be at most {lines}, the lines of this log so far")


class Source:
    """The lines of one run, from a position on, and the reader that they come from."""

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
        self.lines = KeptLines(question.after)
        self.followers = 0
        self.blind: Optional[Unreadable] = None  # there are no lines, and this is why
        self.position = question.after  # of the reader, at its end
        self.broken = False  # the reader ended too early
        self.unrecorded: Optional[str] = None  # why the verdict cannot be written
        self.ended = False  # there are no more lines
        self._refusal = refusal  # why there is no reader for it
        self._sources = sources
        self._question = question
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
    def over(self) -> bool:
        """Whether there are no more lines, and the verdict is known, or that it will not be."""
        finished = self.record is None or self.record.state == FINISHED or self.unrecorded is not None
        return self.broken or (self.ended and finished)

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
                self.lines.keep(Shown(one))
            elif isinstance(one, Event):
                if one.name == LOG:
                    self.complete = one.complete
                self.live = self.live or one.name in (LIVE, END, EMPTY)
                if one.name == END:
                    self.ended, self.position = True, one.lines
        self._publish()

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
