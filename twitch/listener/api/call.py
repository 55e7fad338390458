"""A request with its parameters and its caller, and all that an endpoint needs to answer it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import NamedTuple, Optional

from twitch.errors import MISCONFIGURED as MISCONFIGURED_TEXT
from twitch.errors import TwitchError
from twitch.listener import access
from twitch.listener.access import Caller
from twitch.listener.api.parameters import Parameters
from twitch.listener.connection import Pause
from twitch.listener.exchange import HTTPError, Request
from twitch.listener.root_client import RootClient, RootUnavailable
from twitch.messages import MISCONFIGURED, Answer, Question, Status
from twitch.records import FINISHED, Record, Records

log = logging.getLogger(__name__)

# Each caller that waits for a run holds one of the listener's 256 connections (server.py). The other 64
# are for triggers. Above this limit a caller gets the answer of a request without `wait`: 202 and the path
# of the run.
MAX_WAITING = 192

# The time between two looks at a record, so a verdict is answered at most this late. A look is one open()
# of a small file in memory.
LOOK_S = 0.2

# While a caller waits, root is asked for the status this often, because that ends a run whose conclude was
# killed.
GUARD_S = 15

RETRY_UNAVAILABLE_S = 2


class Waiting:
    """The number of callers that wait, and the longest time for each; all requests of a listener share it."""

    def __init__(self, longest_s: float) -> None:
        self.longest_s = longest_s
        self.callers = 0


class Patience:
    """Pauses for one caller, within the limits of the listener."""

    def __init__(self, pause: Pause, waiting: Waiting) -> None:
        self._pause = pause
        self._waiting = waiting
        self._clock = asyncio.get_running_loop().time
        self._until = self._clock() + waiting.longest_s

    async def pause(self, seconds: float) -> bool:
        """Pause; return True if the caller must not wait any longer (`connection.Service.respond`)."""
        if self._waiting.callers >= MAX_WAITING or self._clock() >= self._until:
            return True
        self._waiting.callers += 1
        try:
            return await self._pause(seconds)
        finally:
            self._waiting.callers -= 1


class Call(NamedTuple):
    """A request, its caller, and the sources of answers."""

    request: Request
    run: str  # the ID in /puppet/runs/ID; empty for other paths
    parameters: Parameters
    caller: Caller
    patience: Patience
    root: RootClient
    records: Records

    def demand(self, grant: str) -> None:
        """Raise `HTTPError` unless the caller has this grant."""
        if grant not in self.caller.grants:
            raise self.forbidden(grant)

    def forbidden(self, grant: str) -> HTTPError:
        """Return the error that names the missing grant: 401 if credentials could help, else 403."""
        if self.caller.name == access.ANONYMOUS:
            text = f"Not allowed without a token or a certificate that has the grant {grant}"
            return HTTPError(401, text, headers=(access.CHALLENGE,))
        return HTTPError(403, f"Not allowed: {self.caller.name} has no grant {grant}")

    async def ask(self, question: Question) -> Answer:
        """Return root's answer; raises `HTTPError` (503) if there is none, or root finds the configuration
        invalid: it reads the file itself, and may see it in the moment in which an editor replaces it."""
        try:
            answer = await self.root.ask(question)
        except RootUnavailable as error:
            headers = (("Retry-After", str(RETRY_UNAVAILABLE_S)),)
            raise HTTPError(503, str(error), headers=headers) from error
        if answer.kind == MISCONFIGURED:
            raise HTTPError(503, MISCONFIGURED_TEXT)
        return answer

    async def finished(self, run: str, wait_s: float) -> Optional[Record]:
        """Return the record of a run when it has ended, or when the caller stops waiting.

        None if there is no record.
        """
        record = self.records.read(run)
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
        while True:
            record = self.records.read(run)
            remaining_s = until - clock()
            if record is None or record.state == FINISHED or remaining_s <= 0:
                return record
            if await self.patience.pause(min(LOOK_S, remaining_s)):
                return self.records.read(run)
            if clock() > max(began, self.root.answered_at) + GUARD_S:
                with contextlib.suppress(TwitchError):
                    await self.root.ask(Status())
