"""One client of a log: where it is in it, in which form it gets its lines, and how its answer ends.

A log ends with the verdict, and then with the last chunk. A follower that has to leave before that (another
one needs the place, the listener exits) gets a line that says where the log goes on, and no last chunk, so
that no client takes it for the end: curl exits 18.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, Callable, NamedTuple, Optional

from twitch import log_lines, run_wording, wording
from twitch.errors import TwitchError
from twitch.listener.api.call import Call
from twitch.listener.api.reply import TEXT, Reply
from twitch.listener.exchange import HTTPError, Unfinished
from twitch.listener.kept_lines import Shown
from twitch.listener.log_source import TOO_MANY, Source, Unreadable, beyond
from twitch.log_lines import LEVELS
from twitch.log_packets import Read
from twitch.messages import Status
from twitch.records import FINISHED, QUEUED, RUNNING, Record
from twitch.run_wording import FIRST_SILENCE_S, SILENCE_S

JSON_LINES = ("application/jsonl", "application/x-ndjson")

# What is known of a run may be as old as this, so that many followers do not wake root for each.
STATUS_S = 10
# The limit of what is sent to a follower at once. The rest waits until the client has taken this.
PART_BYTES = 32 * 1024

RETRY_S = 2

ANOTHER_CALLER = "another caller asked for this run"


class Wanted(NamedTuple):
    """What a caller asks for."""

    after: int = 0
    tail: Optional[int] = None
    level: str = LEVELS[-1]
    follow: bool = False


class Follower:
    """One client of a log: where it is, and in which form it gets its lines."""

    def __init__(self, call: Call, record: Record, wanted: Wanted, *, lenient: bool = False) -> None:
        self._call = call
        self._record = record
        self._wanted = wanted
        self._lenient = lenient
        accept = call.request.headers.get("accept", "")
        self._media_type = next((one for one in JSON_LINES if one in accept), TEXT)
        self._json = self._media_type != TEXT
        self._worst = LEVELS.index(wanted.level)
        its_own = record.caller == call.caller.name and same_client(record.client, call.caller.address)
        self._sees_caller = call.caller.named or its_own
        self._number = wanted.after  # of the last line that was taken from the source
        self._at: Optional[int] = wanted.after  # the position to go on from; None if lines have none
        self._source: Optional[Source] = None
        self._clock = asyncio.get_running_loop().time

    async def begin(self) -> None:
        """Find the log and the position in it; raises `HTTPError`."""
        wanted, going_on = self._wanted, self._record.state != FINISHED
        follow = going_on and wanted.tail is None
        source = await self._open(wanted.after, tail=wanted.tail, follow=follow)
        if wanted.tail is not None and going_on and wanted.follow and not source.complete:
            # Its lines have no positions, so no other source can go on for it.
            self.leave()
            source = await self._open(0, tail=wanted.tail, follow=True)
        while source.complete and source.lines.number < wanted.after and not (source.live or source.over):
            # The common source has not come that far yet.
            if await self._call.patience.pause(SILENCE_S, source.more()):
                raise _refusal(Unreadable(503, TOO_MANY))
        if source.complete and source.lines.number < wanted.after:
            raise _refusal(beyond(source.lines.number))
        if wanted.after and not source.complete:
            raise HTTPError(410, "The journal of the node does not have the first lines of this log any more")

    async def _open(self, after: int, *, tail: Optional[int] = None, follow: bool) -> Source:
        level = LEVELS[-1] if tail is None else self._wanted.level
        question = Read(self._record.run, after, tail, level, follow, self._record.pid)
        try:
            address, lenient = self._call.request.address, self._lenient
            source = self._call.logs().join(self._record, question, address, lenient=lenient)
        except Unreadable as error:
            raise _refusal(error) from error
        self._source = source
        await source.opened()
        if source.blind and not self._lenient:
            raise _refusal(source.blind)
        return source

    def leave(self) -> None:
        """Leave the source."""
        source, self._source = self._source, None
        if source:
            source.leave()

    def reply(self, status: int, headers: tuple[tuple[str, str], ...]) -> Reply:
        """Return the reply whose body is the log."""
        more = (("Content-Type", self._media_type), ("X-Accel-Buffering", "no"))
        return Reply(status, "", headers=(*more, *headers), parts=Parts(self._parts(), self.leave))

    # ---- the body

    async def _parts(self) -> AsyncGenerator[bytes, None]:
        since, silence_s = self._clock(), FIRST_SILENCE_S
        source = self._here()
        if source.blind:
            yield self._ours("no-log", f"no log: {source.blind}", reason=str(source.blind))
        if self._record.state == QUEUED and self._wanted.follow:
            yield await self._state(source)
        while True:
            source = self._here()
            if self._number < source.lines.first:
                if await self._catch_up(source):
                    continue
                break
            lines = source.lines.after(self._number, PART_BYTES)
            if lines:
                part = self._take(lines)
                if part:
                    yield part
                    since, silence_s = self._clock(), FIRST_SILENCE_S
                continue
            if source.over and not source.broken:
                yield self._end(source)
                return
            if source.live and not self._wanted.follow:
                yield await self._so_far(source)
                return
            if source.broken or (source.live and await self._move(source)):
                if source.broken:
                    break
                continue
            silent_s = self._clock() - since
            if silent_s >= silence_s:
                yield await self._state(source)
                since, silence_s = self._clock(), SILENCE_S
            elif await self._call.patience.pause(silence_s - silent_s, source.more()):
                break
        yield self._goes_on()
        raise Unfinished

    def _here(self) -> Source:
        assert self._source is not None
        return self._source

    def _take(self, lines: list[Shown]) -> bytes:
        """Return lines in the form of this follower, those that have the level, and go behind them."""
        self._number += len(lines)
        self._at = lines[-1].line.at
        wanted = (self._seen(shown) for shown in lines if shown.line.priority <= self._worst)
        return b"".join(shown.json() if self._json else shown.text() for shown in wanted)

    def _seen(self, shown: Shown) -> Shown:
        """Return a line as this caller may see it: the first one names the caller of the run (views.RUN)."""
        if self._sees_caller or not shown.line.ours:
            return shown
        return Shown(shown.line._replace(message=ANOTHER_CALLER))

    async def _catch_up(self, source: Source) -> bool:
        """Go to a source of lines that are no longer in memory; return False if there is none."""
        if not source.complete:
            return False
        self.leave()
        with contextlib.suppress(HTTPError):
            return not (await self._open(self._number, follow=self._record.state != FINISHED)).blind
        return False

    async def _move(self, source: Source) -> bool:
        """Go to the common source, if this is another one and has no line more; return whether it was."""
        if source.ended and self._wanted.tail is not None:
            # The end of a log that goes on: its reader has left.
            self.leave()
            self._number = self._at = source.position
            with contextlib.suppress(HTTPError):
                await self._open(self._number, follow=True)
                return True
            self._source = source  # which is closed, and `broken`
            source.broken = True
            return False
        common = self._call.logs().common(source)
        if common:
            common.followers += 1
            self.leave()
            self._source = common
        return common is not None

    # ---- lines of ours

    def _ours(self, event: str, text: str, **fields: object) -> bytes:
        """Return a line of ours, as text or as JSON."""
        line = log_lines.event(event, **fields) if self._json else log_lines.note(text)
        return f"{line}\n".encode("utf-8", "replace")

    async def _known(self, source: Source) -> tuple[str, dict[str, object]]:
        """Return what is known of a run that has not ended, as text and as fields."""
        record, root = source.record or self._record, self._call.root
        if record.state == RUNNING and self._clock() > root.status_at + STATUS_S:
            with contextlib.suppress(TwitchError):
                await root.ask(Status(), self._call.patience.place)
        status = root.status if root.status and root.status.run == record.run else None
        return run_wording.so_far(record, status, self._call.caller)

    async def _state(self, source: Source) -> bytes:
        """Return the line about a run that says nothing."""
        text, fields = await self._known(source)
        return self._ours("state", text, **fields)

    async def _so_far(self, source: Source) -> bytes:
        """Return the last line for a caller that does not follow a run that goes on."""
        if self._wanted.tail is not None and source.complete:
            self._at = source.position
        text, fields = await self._known(source)
        return self._ours("state", f"{text}; goes on: {self._rest()}", **fields, after=self._at)

    def _goes_on(self) -> bytes:
        return self._ours("moved", f"goes on: {self._rest()}", after=self._at)

    def _rest(self) -> str:
        """Return the query of the rest of the log."""
        level = "" if self._wanted.level == LEVELS[-1] else f"&level={self._wanted.level}"
        return "?follow=true" + (f"&after={self._at}" if self._at is not None else "") + level

    def _end(self, source: Source) -> bytes:
        """Return the verdict, which is the last line."""
        record, run = source.record, self._record.run
        if source.unrecorded is not None or record is None:
            why = source.unrecorded or "its record is deleted"
            text = f"ended, but its verdict cannot be recorded: {why}"
            return self._ours("end", text, run=run, reason=why)
        text = wording.end(record)
        return self._ours(
            "end",
            text,
            run=run,
            verdict=record.verdict,
            reason=record.reason,
            error=record.error,
            duration_s=record.duration_s,
        )


class Parts(AsyncGenerator[bytes, None]):
    """The parts of a body; `closed` is called at its end, even if no part was ever asked for."""

    def __init__(self, parts: AsyncGenerator[bytes, None], closed: Callable[[], None]) -> None:
        self._parts = parts
        self._closed = closed

    async def asend(self, value: None) -> bytes:
        """Return the next part."""
        return await self._parts.asend(value)

    async def athrow(self, *error: Any) -> bytes:  # noqa: ANN401
        """Raise an error where the body waits."""
        return await self._parts.athrow(*error)

    async def aclose(self) -> None:
        """End the body."""
        try:
            await self._parts.aclose()
        finally:
            self._closed()


def same_client(one: str, other: str) -> bool:
    """Return whether two addresses are those of one client: a client on this machine has several."""
    return one == other or all(address == "::1" or address.startswith("127.") for address in (one, other))


def _refusal(error: Unreadable) -> HTTPError:
    headers = (("Retry-After", str(RETRY_S)),) if error.status == 503 else ()
    return HTTPError(error.status, str(error), headers=headers, reason="no log")
