"""Start a run on one node, and never two.

    ask ──202──▶ Started
     │  ├─ 409, 429, 503 with Retry-After, not sent ──▶ NotNow: to the back of the window
     │  ├─ 423, 401, 403, other answers ──▶ End
     │  └─ sent, but no answer (in doubt) ──▶ look for our label in the node's runs
     │                                          ├─ there ──▶ Started
     └──────────────── not there ◀──────────────┤
                                                └─ no answer again and again ──▶ End: lost

A request is sent again only if the one before cannot have started a run: it was not sent, the node has
answered that it did not start one, or the node's list of runs does not have it.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import NamedTuple, Optional, Union

from twitch import durations
from twitch.errors import TwitchError
from twitch.fleet.events import Ask
from twitch.fleet.node.answers import GARBAGE, TLS, Answer, NotReached, RunRecord
from twitch.fleet.node.api import NodeApi
from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import Outcome
from twitch.fleet.run.verdicts import End
from twitch.fleet.stopping import Stop

# The tries after requests that were not sent, and those after answers with Retry-After; each time at the back
# of the window.
TRIES = 3
NOT_SENT_S = 5.0  # before the next try; twice as long before the one after it
MAX_RETRY_AFTER_S = 60.0
BUSY_S = (5.0, 60.0)  # before a busy node is asked again: at first, and at most
BUSY_GROWTH = 1.5
JITTER = 0.25  # of every delay, so that nodes do not come back in step

# When a node in doubt is asked for our label. The last look decides, because a request that was cut off can
# still be in the node's line for root at the first one.
LOOKS_S = (2.0, 10.0)
CLOCK_S = 2.0  # a time is in whole seconds in Date, and in records
LISTED = 20  # runs of a node that are looked through


class Started(NamedTuple):
    """The node has started a run, or will start it next."""

    run: str


class NotNow(NamedTuple):
    """No run was started, and the node can be asked again."""

    delay_s: float
    why: str


Asked = Union[Started, NotNow, End]


class _Tries:
    """What was tried on one node."""

    def __init__(self) -> None:
        self.not_sent = 0
        self.later = 0
        self.busy_since: Optional[float] = None  # of loop.time()
        self.busy_s = BUSY_S[0]


class Asking:
    """Asks nodes for runs."""

    def __init__(
        self,
        api: NodeApi,
        ask: Ask,
        stop: Stop,
        *,
        label_is_unique: bool,
        busy_limit_s: float,
        keep: bool = False,
    ) -> None:
        """Ask for `ask`, with a label that only runs of this invocation have, if it is unique.

        A node that is busy for `busy_limit_s` is given up. With `keep`, the run is followed on the same
        connection.
        """
        self._api = api
        self._ask = ask
        self._stop = stop
        self._label_is_unique = label_is_unique
        self._busy_limit_s = busy_limit_s
        self._keep = keep
        self._tries: dict[str, _Tries] = {}  # only of nodes that could not start at once

    async def ask(self, node: Node, *, in_doubt_since: Optional[float] = None) -> Asked:
        """Ask a node for a run.

        `in_doubt_since` is when an earlier invocation has asked the node (epoch seconds), without taking
        down an answer.
        """
        broken: Optional[NotReached] = None
        while True:
            if in_doubt_since is not None:
                found = await self._look_for_our_run(node, in_doubt_since, broken)
                if found is not None:
                    return found
                if broken is not None and self._too_often(node):
                    return End(Outcome.UNREACHABLE, f"{broken}; it has no run of ours")
            if self._stop.reason is not None:
                return End(Outcome.NOT_STARTED, self._stop.reason)
            in_doubt_since = time.time()
            try:
                answer = await self._api.trigger(node, self._ask, keep=self._keep)
            except NotReached as error:
                if not error.sent:
                    return self._not_sent(node, error)
                broken = error
                continue
            return self._answered(node, answer)

    # ---- answers

    def _answered(self, node: Node, answer: Answer) -> Asked:
        if answer.run is not None and answer.status in (200, 202, 500):
            return Started(answer.run)
        if answer.status == 409:
            return self._busy(node, answer.message)
        if answer.status == 423:
            return End(Outcome.DISABLED, answer.message)
        if answer.status in (429, 503) and answer.retry_after_s is not None:
            return self._later(node, answer, answer.retry_after_s)
        return _never(answer)

    def _busy(self, node: Node, message: str) -> Asked:
        tries = self._tries.setdefault(node.name, _Tries())
        now = asyncio.get_running_loop().time()
        tries.busy_since = tries.busy_since if tries.busy_since is not None else now
        if now - tries.busy_since >= self._busy_limit_s:
            return End(Outcome.NOT_STARTED, f"busy for {durations.shown(self._busy_limit_s)}: {message}")
        delay_s = tries.busy_s
        tries.busy_s = min(BUSY_S[1], tries.busy_s * BUSY_GROWTH)
        return NotNow(_with_jitter(delay_s), message)

    def _later(self, node: Node, answer: Answer, retry_after_s: float) -> Asked:
        tries = self._tries.setdefault(node.name, _Tries())
        tries.later += 1
        if tries.later > TRIES:
            return _never(answer)
        return NotNow(_with_jitter(min(retry_after_s, MAX_RETRY_AFTER_S)), answer.message)

    def _not_sent(self, node: Node, error: NotReached) -> Asked:
        tries = self._tries.setdefault(node.name, _Tries())
        tries.not_sent += 1
        # A certificate does not become valid by itself. DNS has moments without an answer.
        if error.kind == TLS or tries.not_sent >= TRIES:
            return End(Outcome.UNREACHABLE, str(error))
        return NotNow(_with_jitter(NOT_SENT_S * tries.not_sent), str(error))

    def _too_often(self, node: Node) -> bool:
        """Whether a node that takes requests and gives no answers has been asked often enough."""
        tries = self._tries.setdefault(node.name, _Tries())
        tries.later += 1
        return tries.later >= TRIES

    # ---- in doubt

    async def _look_for_our_run(
        self, node: Node, since: float, broken: Optional[NotReached]
    ) -> Optional[Asked]:
        """Return what is known of a run that a request without an answer may have started.

        None: the node has no such run, so it can be asked anew.
        """
        trouble: Optional[TwitchError] = broken
        for delay_s in LOOKS_S:
            await asyncio.sleep(delay_s)
            try:
                run = await self._our_run(node, since)
            except NotReached as error:
                trouble = error
            else:
                trouble = None
                if run is not None:
                    return Started(run)
        if trouble is None:
            return None
        if isinstance(trouble, NotReached) and trouble.kind == GARBAGE:
            return End(Outcome.UNREACHABLE, str(trouble))
        return _no_answer(trouble)

    async def _our_run(self, node: Node, since: float) -> Optional[str]:
        """Return the run that our request has started; raises NotReached."""
        for record in await self._api.runs(node, label=None, since=None, limit=LISTED):
            if record.started_by == "puppet":
                continue
            if self._label_is_unique and record.label is not None:
                if record.label == self._ask.label:
                    return record.run
            elif self._may_be_ours(record) and await self._was_asked_since(node, record, since):
                return record.run
        return None

    def _may_be_ours(self, record: RunRecord) -> bool:
        if record.noop and not self._ask.noop:
            return False  # of a colleague with the same label: nothing would be applied
        # An anonymous caller sees neither the label of a run nor its caller.
        hidden = record.label is None and record.caller is None
        return hidden or record.label == self._ask.label

    async def _was_asked_since(self, node: Node, record: RunRecord, since: float) -> bool:
        """Whether a run was asked for after our request was sent, by the clock of the node."""
        answer = await self._api.run(node, record.run)
        asked, now = (answer.record or record).asked, answer.date
        if asked is None or now is None:
            return True  # rather followed than started twice
        return asked >= now - (time.time() - since) - CLOCK_S


def _never(answer: Answer) -> End:
    """Return the end of a node whose answer says that it starts no run."""
    if answer.status in (500, 503):
        return End(Outcome.NOT_ATTEMPTED, answer.message)
    if 400 <= answer.status < 500:
        return End(Outcome.REFUSED, f"{answer.status}: {answer.message}")
    return End(Outcome.UNREACHABLE, f"it answers {answer.status}, so it is not puppet-twitch")


def _no_answer(error: Optional[TwitchError]) -> End:
    text = f": {error}" if error else ""
    return End(Outcome.LOST, f"asked for a run, without an answer{text}; a run may have been started")


def _with_jitter(delay_s: float) -> float:
    return delay_s * (1 + JITTER * random.random())  # noqa: S311 - no secret
