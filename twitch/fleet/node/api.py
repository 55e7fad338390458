"""The API of puppet-twitch on a node: one method for each question, with a typed answer."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Any, Optional
from urllib.parse import quote, urlencode

from twitch.fields import FieldError, Fields
from twitch.fleet.events import Ask
from twitch.fleet.node.access import Access
from twitch.fleet.node.answers import (
    GARBAGE,
    REFUSED,
    RESET,
    Answer,
    LogLine,
    NodeStatus,
    NotReached,
    RunRecord,
)
from twitch.fleet.node.connection import Connections, Response
from twitch.fleet.node.reading import JSON, answer_of, fields_of, foreign, log_line, node_status, run_record
from twitch.fleet.nodes import Node

JSON_LINES = "application/x-ndjson"

CURRENT, LAST = "current", "last"  # in place of the id of a run

# A wait of more than a day is refused by the node.
MAX_WAIT_S = 86_400


# A log that breaks is asked for again: at once if it was followed for PAUSE_S, and then after pauses, for
# four minutes in all if no new line comes. A node that boots again takes less. After MAX_PAUSE_S of
# following, a break is the first one again: a run can be silent for hours, and a listener leaves meanwhile.
BREAKS = 10
PAUSE_S = 1.0
MAX_PAUSE_S = 30.0


class NodeApi:
    """The API of all nodes. Every method raises `NotReached` if the node does not answer."""

    def __init__(self, access: Access, *, connections: int) -> None:
        self._connections = Connections(access, connections)

    @property
    def connections(self) -> int:
        """Return how many connections there may be at once; further requests wait for their turn."""
        return self._connections.limit

    @property
    def note(self) -> Optional[str]:
        """Return why these are less than wanted, for people; None if they are not."""
        return self._connections.note

    async def __aenter__(self) -> NodeApi:
        """Open the session of all connections."""
        await self._connections.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        """Close all connections."""
        await self._connections.__aexit__(kind, error, traceback)

    async def trigger(self, node: Node, ask: Ask, *, wait_s: int = 0, keep: bool = False) -> Answer:
        """Start a run, or queue it; with `wait_s`, wait so long for its end.

        With `keep`, the connection is kept for `run`, which has to follow at once.
        """
        response = await self._connections.ask(
            node, "POST", _trigger(ask, wait_s), accept=JSON, wait_s=wait_s, keep=keep
        )
        return answer_of(response, fields_of(response))

    async def run(self, node: Node, run: str, *, wait_s: int = 0) -> Answer:
        """Return what is known of a run; with `wait_s`, wait so long for its end.

        With `wait_s`, the status is that of the run (200, 500, 202), and without it always 200.
        """
        # With `wait_s`, the next request is one about the same run, if that goes on.
        path = f"/puppet/runs/{quote(run, safe='')}"
        return await self._answer(node, "GET", path, {}, wait_s, keep=wait_s > 0)

    async def runs(
        self, node: Node, *, label: Optional[str] = None, since: Optional[float] = None, limit: int = 10
    ) -> list[RunRecord]:
        """Return the last runs of a node, the newest first, and only those with this label if there is one.

        `since` is in epoch seconds of the node's clock: the runs that go on, or have ended since then. Only
        named callers see labels, so for others nothing has a label. An answer that is not
        200 raises `Refusal`.
        """
        # A label is no parameter of the node, so more are asked for.
        query: dict[str, Any] = {"limit": 200 if label else limit}
        query.update({} if since is None else {"since": int(since)})
        response = await self._ask(node, "GET", "/puppet/runs", query)
        fields = fields_of(response)
        if response.status != 200:
            raise Refusal(answer_of(response, fields))
        try:
            records = [run_record(item) for item in Fields(fields).optional_objects("runs") or ()]
        except FieldError as error:
            raise foreign(response, str(error)) from error
        return [record for record in records if label is None or record.label == label][:limit]

    async def status(self, node: Node) -> NodeStatus:
        """Return what Puppet is doing. An answer that is not 200 raises `Refusal`."""
        response = await self._ask(node, "GET", "/puppet/status", {})
        fields = fields_of(response)
        if response.status != 200:
            raise Refusal(answer_of(response, fields))
        try:
            return node_status(Fields(fields))
        except FieldError as error:
            raise foreign(response, str(error)) from error

    async def cancel(self, node: Node, run: str = CURRENT, *, force: bool = False, wait_s: int = 0) -> Answer:
        """Stop a run, or take it out of the queue."""
        query = {"force": "true"} if force else {}
        return await self._answer(node, "POST", f"/puppet/runs/{quote(run, safe='')}/cancel", query, wait_s)

    async def disable(
        self, node: Node, reason: str, *, hold_s: Optional[int] = None, force: bool = False, wait_s: int = 0
    ) -> Answer:
        """Disable Puppet for so many seconds, or for as long as the node does by itself."""
        query: dict[str, Any] = {"reason": reason, **({} if hold_s is None else {"for": hold_s})}
        query.update({"force": "true"} if force else {})
        return await self._answer(node, "POST", "/puppet/disable", query, wait_s)

    async def enable(self, node: Node, *, force: bool = False) -> Answer:
        """Lift the caller's own hold, or with `force` every one."""
        return await self._answer(node, "POST", "/puppet/enable", {"force": "true"} if force else {}, 0)

    async def log(
        self, node: Node, run: str, *, follow: bool = False, after: int = 0, level: Optional[str] = None
    ) -> AsyncIterator[LogLine]:
        """Yield the lines of a run's log; with `follow` up to its end, which is a line with the event `end`.

        Where the listener has to leave before that, or the connection breaks, the log is asked for again
        from the next line on, up to BREAKS times in a row, and at most every PAUSE_S. An answer that is not
        200 raises `Refusal`.
        """
        begun, breaks, clock = False, 0, asyncio.get_running_loop().time
        while True:
            asked = clock()
            lines = self._log(node, run, follow=follow, after=after, level=level)
            try:
                async for line in lines:
                    begun = True
                    if line.event == MOVED:
                        break
                    if line.at is not None and line.at > after:
                        after, breaks = line.at, 0
                    yield line
                    if line.event == END:
                        return
                if not follow:
                    return
                raise NotReached("the log ended before the run", RESET, sent=True)
            except NotReached as error:
                passes = not isinstance(error, Refusal) or error.answer.status == 503
                if not (follow and begun and passes and breaks < BREAKS):
                    raise
            finally:
                await lines.aclose()  # at once, and not when the garbage is collected
            followed_s = clock() - asked
            breaks = 0 if followed_s >= MAX_PAUSE_S else breaks
            first_s = max(0.0, PAUSE_S - followed_s)
            await asyncio.sleep(min(PAUSE_S * 2**breaks, MAX_PAUSE_S) if breaks else first_s)
            breaks += 1

    async def _log(
        self, node: Node, run: str, *, follow: bool, after: int, level: Optional[str]
    ) -> AsyncGenerator[LogLine, None]:
        query: dict[str, Any] = {"follow": "true"} if follow else {}
        query.update({"after": after} if after else {})
        query.update({"level": level} if level else {})
        target = _target(f"/puppet/runs/{quote(run, safe='')}/log", query)
        async with self._connections.lines(node, target, accept=f"{JSON_LINES}, {JSON}") as lines:
            if lines.status != 200:
                response = Response(lines.status, lines.headers, await lines.body())
                raise Refusal(answer_of(response, fields_of(response)))
            async for line in lines:
                try:
                    yield log_line(line)
                except FieldError as error:
                    raise NotReached(f"not a line of a log: {error}", GARBAGE, sent=True) from error

    async def _answer(
        self,
        node: Node,
        method: str,
        path: str,
        query: dict[str, Any],
        wait_s: int,
        *,
        keep: bool = False,
    ) -> Answer:
        if wait_s:
            query["wait"] = min(wait_s, MAX_WAIT_S)
        response = await self._ask(node, method, path, query, wait_s=wait_s, keep=keep)
        return answer_of(response, fields_of(response))

    async def _ask(
        self,
        node: Node,
        method: str,
        path: str,
        query: dict[str, Any],
        *,
        wait_s: int = 0,
        keep: bool = False,
    ) -> Response:
        target = _target(path, query)
        return await self._connections.ask(node, method, target, accept=JSON, wait_s=wait_s, keep=keep)


# Events of a log: the listener has to leave, and the run has ended.
MOVED, END = "moved", "end"


class Refusal(NotReached):
    """Puppet-twitch has answered something else than what was asked for; `answer` has what."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status}: {answer.message}", REFUSED, sent=True)
        self.answer = answer


@functools.lru_cache(maxsize=8)  # every node is asked for the same
def _trigger(ask: Ask, wait_s: int) -> str:
    query: dict[str, Any] = {"queue": "true"} if ask.queue else {}
    query.update({"noop": "true"} if ask.noop else {})
    query.update({"tags": ",".join(ask.tags)} if ask.tags else {})
    query.update({"environment": ask.environment} if ask.environment else {})
    query.update({"label": ask.label} if ask.label else {})
    query.update({"wait": min(wait_s, MAX_WAIT_S)} if wait_s else {})
    return _target("/puppet/twitch", query)


def _target(path: str, query: dict[str, Any]) -> str:
    return f"{path}?{urlencode(query)}" if query else path
