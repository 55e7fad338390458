"""A request with its parameters and its caller, and all that an endpoint needs to answer it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional

from twitch.caller import Caller
from twitch.config import Config
from twitch.errors import MISCONFIGURED as MISCONFIGURED_TEXT
from twitch.errors import RootUnavailable, TwitchError
from twitch.listener import access
from twitch.listener.api.parameters import Parameters
from twitch.listener.exchange import HTTPError, Request
from twitch.listener.pause import Pause
from twitch.listener.refusal_log import MISCONFIGURED_REASON
from twitch.listener.root_client import CROWDED, RootClient, Turns
from twitch.messages import CURRENT, MISCONFIGURED, Answer, Question, Status
from twitch.record_files import GUARD_S, LOOK_S, Records, newest_first
from twitch.records import FINISHED, RUNNING, Record

if TYPE_CHECKING:
    from twitch.listener.log_sharing import Sources  # which few requests need

log = logging.getLogger(__name__)

RETRY_UNAVAILABLE_S = 2

# The records that are read in one pass of the loop: 1.5 ms.
RECORDS_AT_ONCE = 16


class Unrecorded(TwitchError):
    """The run that a caller waits for has ended, and its verdict cannot be written; the text says why."""


class Patience:
    """Pauses for one caller, within the longest time that any caller of the listener may wait."""

    def __init__(self, pause: Pause, longest_s: float) -> None:
        self.place = pause
        self._clock = asyncio.get_running_loop().time
        self._until = self._clock() + longest_s

    async def pause(self, seconds: float, event: Optional[asyncio.Future[None]] = None) -> bool:
        """Pause, at most until this event; return True if the caller must not wait longer (`pause.Pause`).

        The caller then gets the answer of a request without `wait`: 202 and the path of the run.
        """
        remaining_s = self._until - self._clock()
        return remaining_s <= 0 or await self.place(min(seconds, remaining_s), event)


class Call(NamedTuple):
    """A request, its caller, and the sources of answers."""

    request: Request
    run: str  # the ID in /puppet/runs/ID, `last` or `current`; empty for other paths
    parameters: Parameters
    caller: Caller
    patience: Patience
    root: RootClient
    records: Records
    logs: Callable[[], Sources]
    lists: Turns  # to read all records
    config: Config

    def demand(self, grant: str) -> None:
        """Raise `HTTPError` unless the caller has this grant."""
        if grant not in self.caller.grants:
            raise self.forbidden(grant)

    def forbidden(self, grant: str) -> HTTPError:
        """Return the error that names the missing grant: 401 if credentials could help, else 403."""
        kind = grant.partition("=")[0]  # the caller chooses the name of an environment
        if self.caller.name == access.ANONYMOUS:
            text = f"Not allowed without a token or a certificate that has the grant {grant}"
            return HTTPError(401, text, headers=(access.CHALLENGE,), reason=f"anonymous without {kind}")
        text = f"Not allowed: {self.caller.name} has no grant {grant}"
        return HTTPError(403, text, reason=f"no grant {kind}")

    async def ask(self, question: Question) -> Answer:
        """Return root's answer; raises `HTTPError` (503) if there is none, or root finds the configuration
        invalid: it reads the file itself, and may see it in the moment in which an editor replaces it."""
        try:
            answer = await self.root.ask(question, self.patience.place)
        except RootUnavailable as error:
            headers = (("Retry-After", str(RETRY_UNAVAILABLE_S)),)
            raise HTTPError(503, str(error), headers=headers, reason="no answer from root") from error
        if answer.kind == MISCONFIGURED:
            raise HTTPError(503, MISCONFIGURED_TEXT, reason=MISCONFIGURED_REASON)
        return answer

    async def newest(self) -> list[Record]:
        """Return all records without their resources, as `Records.newest`; others are served meanwhile.

        One caller at a time, because a thousand records are 3 MB. Raises `HTTPError` (503).
        """
        if not await self.lists.take(self.patience.place):
            raise HTTPError(503, CROWDED, headers=(("Retry-After", str(RETRY_UNAVAILABLE_S)),))
        try:
            found = []
            for number, run in enumerate(self.records.runs(), start=1):
                found.append(self.records.read(run, resources=False))
                if number % RECORDS_AT_ONCE == 0:
                    await asyncio.sleep(0)
            return newest_first(found)
        finally:
            self.lists.end()

    async def find_run(self) -> str:
        """Return the id of the run that the path names, which may have no record; raises `HTTPError` (404).

        `last` is the run that has ended last, and `current` the run of ours that is under way.
        """
        if self.run == CURRENT:
            running = self.records.under_way()
            if running is None:
                raise HTTPError(
                    404, "No run of puppet-twitch is under way; the last ones are at /puppet/runs"
                )
            return running.run
        if self.run == "last":
            ended = [record for record in await self.newest() if record.state == FINISHED]
            if not ended:
                raise HTTPError(404, "No run has ended yet")
            return max(ended, key=lambda record: record.ended or 0).run
        return self.run

    async def finished(self, run: str, wait_s: float) -> Optional[Record]:
        """Return the record of a run when it has ended, or when the caller stops waiting.

        It is without its resources, because hundreds of callers can wait for one run. None if there is no
        record. Raises `Unrecorded`.
        """
        record = self.records.read(run, resources=False)
        if record is None or record.state == FINISHED or wait_s <= 0:
            return record
        log.debug("%s waits for run %s, at most %s s", self.caller.name, run, wait_s)
        record = await self._wait(run, wait_s)
        state = record.state if record else "without a record"
        log.debug("%s waits no longer for run %s, which is %s", self.caller.name, run, state)
        return record

    async def _wait(self, run: str, wait_s: float) -> Optional[Record]:
        clock = asyncio.get_running_loop().time
        began, until = clock(), clock() + wait_s
        run_end = self.root.run_ends.of(run)
        while True:
            ended = run_end is not None and run_end.done()
            record = self.records.read(run, resources=False)
            remaining_s = until - clock()
            if record is None or record.state == FINISHED or remaining_s <= 0:
                return record
            if self.root.status and self.root.status.unrecorded == run:
                raise Unrecorded(self.root.status.unrecorded_why)
            if ended:
                run_end = None
                # Conclude was killed or cannot write the verdict, and root can end the run. A run that waits
                # has joined that of another listener (root/handler.py): look for its end.
                if record.state == RUNNING:
                    await self._guard()
                    continue
            look_s = remaining_s if run_end else min(LOOK_S, remaining_s)
            if await self.patience.pause(look_s, run_end):
                return self.records.read(run, resources=False)
            if run_end is None and clock() > max(began, self.root.status_at) + GUARD_S:
                await self._guard()

    async def _guard(self) -> None:
        """Ask root for the status, because that ends every run that has no conclude (root/turn.py)."""
        with contextlib.suppress(TwitchError):
            await self.root.ask(Status(), self.patience.place)
