"""The listener's side of the run socket: one question at a time, and each answer remembered for a second.

Because of the memory, a flood of requests is not a flood of root processes. A remembered answer is repeated
for every question to which root would give the same answer (`Kept.covers`), while the run that it names
stays in the same state.

A question that no remembered answer covers takes its turn. Named callers are asked first, and anonymous ones
that wait for their turn make room for other connections (room.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from typing import Callable, NamedTuple, Optional

from twitch import messages
from twitch.errors import RootUnavailable, no_answer
from twitch.listener.pause import Pause
from twitch.listener.run_ends import RunEnds
from twitch.messages import (
    BUSY,
    DISABLED,
    FULL,
    QUEUED,
    STARTED,
    Answer,
    Cancel,
    Disable,
    Enable,
    Metrics,
    Question,
    Run,
    Status,
)
from twitch.node_status import IDLE, NodeStatus
from twitch.record_files import Records
from twitch.records import QUEUED as STATE_QUEUED
from twitch.records import Record

log = logging.getLogger(__name__)

REMEMBER_S = 1.0
# Metrics of a node on which nothing changes, as directories and files show (twitch/stamps.py). A question to
# root costs 0.1 s of CPU, and Prometheus asks four times a minute.
STEADY_S = 300.0
# An answer usually takes 30 to 60 ms. The first one after a boot or a change of puppet.conf waits for
# `puppet config print` (1 s on an idle machine, measured), which takes longer on a small, busy machine.
ANSWER_TIMEOUT_S = 30

# No answer at all. Remembered too: each retry could start another root process that crashes.
UNAVAILABLE = "unavailable"

# Answers that an idle node cannot give.
NOT_IDLE = (BUSY, FULL, QUEUED, DISABLED)

# Questions that change the node: root is asked each of them, and all answers of before are forgotten.
CHANGING = (Disable, Enable, Cancel)

CROWDED = "Too many requests at once; try again"


class Kept(NamedTuple):
    """A remembered answer, the question that it answered, and how long it may be repeated."""

    question: Question
    answer: Answer
    until: float  # by the loop's clock
    record: Optional[Record]  # of the run that the answer names, as it was then

    def covers(self, question: Question) -> bool:
        """Return whether root would give the same answer to this question."""
        before, kind = self.question, self.answer.kind
        if isinstance(question, CHANGING) or isinstance(before, CHANGING):
            return False
        if not isinstance(question, Run) or not isinstance(before, Run):
            # With the type: a tuple without fields equals every other one.
            return type(question) is type(before) and question == before
        if question.named and not before.named:
            return False  # the cooldown and the queue treat callers with a name better (root/turn.py)
        if kind not in (BUSY, QUEUED, FULL):
            return True  # disabled, cooldown, cannot, invalid, unavailable: the same for every request
        if kind == BUSY:
            return not question.queue
        if not question.queue or (self.record and self.record.state != STATE_QUEUED):
            return False  # the run has begun since root answered, so its place in the queue is free
        if kind == QUEUED:
            # An equal request joins the same run. Root writes down each named caller that joins; the
            # anonymous ones are counted (refusal_log.py), or a crowd of them would wake root for each.
            same_caller = not question.named or question.caller == before.caller
            return same_caller and question.options == before.options
        # A request that equals the run in the queue joins it.
        return self.record is not None and self.record.options != question.options


class Turns:
    """Turns to ask root, one at a time: those of named callers first, then the oldest first."""

    def __init__(self) -> None:
        self._taken = False
        self._named: deque[asyncio.Future[None]] = deque()
        self._anonymous: deque[asyncio.Future[None]] = deque()

    async def take(self, pause: Optional[Pause]) -> bool:
        """Wait for a turn; return False if the caller was told to make room before it came."""
        if not self._taken:
            self._taken = True
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        named = pause is not None and pause.named
        (self._named if named else self._anonymous).append(turn)
        if pause is None:
            await turn
            return True
        if await pause.for_turn(turn):
            return True
        turn.cancel()
        return False

    def end(self) -> None:
        """Give the turn to the next one."""
        for turns in (self._named, self._anonymous):
            while turns:
                turn = turns.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._taken = False


class RootClient:
    """Asks root, for all callers of this listener.

    `joined(client, run)` is called for each anonymous request that joins a run in the queue without a
    question to root, and `lost()` when there is no run socket.
    """

    def __init__(
        self,
        records: Records,
        path: str = messages.RUN_SOCKET,
        joined: Callable[[str, str], None] = lambda client, run: None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._records = records
        self._path = path
        self._joined = joined
        self._lost = lost
        self.status: Optional[NodeStatus] = None  # as root last answered
        self.status_at = 0.0  # when that was, by the loop's clock
        self._kept: list[Kept] = []
        self._turns = Turns()
        self._steady: Optional[Answer] = None  # metrics that hold until a file changes
        self._steady_until = 0.0
        self.run_ends = RunEnds(self._forget_node)

    async def ask(self, question: Question, pause: Optional[Pause] = None) -> Answer:
        """Return root's answer, or a remembered one if root would only repeat it.

        Raises `RootUnavailable`, also when the caller must make room for others while it waits (`pause`).
        """
        answer = self._recall(question) or self._recall_steady(question)
        if answer is None:
            if not await self._turns.take(pause):
                raise RootUnavailable(CROWDED)
            try:
                # The answer to the question before may cover this one.
                answer = self._recall(question) or await self._answer(question)
            finally:
                self._turns.end()
        if answer.kind == UNAVAILABLE:
            raise RootUnavailable(answer.reason)
        return answer

    async def _answer(self, question: Question) -> Answer:
        try:
            answer = await self._exchange(question)
        except RootUnavailable as error:
            answer = Answer(UNAVAILABLE, reason=str(error))
            if isinstance(error.__cause__, FileNotFoundError):
                self._lost()
        log.debug("root answers: %s to %s", answer, question)
        if isinstance(question, Status):
            self.status, self.status_at = answer.status, asyncio.get_running_loop().time()
        if isinstance(question, Metrics):
            self._steady = answer if answer.stamp else None
            self._steady_until = asyncio.get_running_loop().time() + STEADY_S
        self._keep(question, answer)
        return answer

    async def _exchange(self, question: Question) -> Answer:
        """Ask root; if the answer is a run, keep the connection, which tells of its end (run_ends.py)."""
        with contextlib.ExitStack() as until_answered:
            run_socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            until_answered.enter_context(run_socket)
            answer = await _ask(run_socket, self._path, question)
            if answer.kind in (STARTED, QUEUED) and answer.run:
                until_answered.pop_all()
                self.run_ends.keep(answer.run, run_socket)
        return answer

    def forget(self) -> None:
        """Forget all answers, so that root is asked the next question."""
        self._kept.clear()
        self._steady = None

    def _forget_node(self) -> None:
        """Forget what root has said about the node, because a run has begun or ended."""
        self._kept = [kept for kept in self._kept if isinstance(kept.question, Run)]

    def _recall(self, question: Question) -> Optional[Answer]:
        now = asyncio.get_running_loop().time()
        self._kept = [kept for kept in self._kept if kept.until > now and self._holds(kept)]
        answer = next((kept.answer for kept in self._kept if kept.covers(question)), None)
        if answer:
            log.debug("remembered: %s for %s", answer, question)
            if answer.kind == QUEUED and answer.run and isinstance(question, Run) and not question.named:
                self._joined(question.client, answer.run)
        return answer

    def _recall_steady(self, question: Question) -> Optional[Answer]:
        """Return the last metrics if nothing has changed that root has read for them."""
        if not isinstance(question, Metrics) or not self._steady:
            return None
        from twitch import stamps

        # What the listener may not look at is as good as changed.
        same = stamps.stamp(self._steady.stamped or ()) == self._steady.stamp
        if not same or asyncio.get_running_loop().time() > self._steady_until:
            self._steady = None
        return self._steady

    def _holds(self, kept: Kept) -> bool:
        """Return whether the run that the answer names is still in the same state."""
        record = self._record(kept.answer)
        return (record and record.state) == (kept.record and kept.record.state)

    def _keep(self, question: Question, answer: Answer) -> None:
        if isinstance(question, CHANGING):
            self.forget()  # it may have changed what all other answers say
            return
        if answer.kind in (STARTED, QUEUED):
            self._forget_node()
        if answer.status and answer.status.state == IDLE:
            # Forget what contradicts `idle`, or a caller that has just read it could still get `busy`.
            # Keep the rest, or alternating requests would wake root each time.
            self._kept = [kept for kept in self._kept if kept.answer.kind not in NOT_IDLE]
        if answer.kind == STARTED:
            answer = Answer(BUSY, run=answer.run)  # the next caller finds Puppet busy with this run
        until = asyncio.get_running_loop().time() + REMEMBER_S
        self._kept.append(Kept(question, answer, until, self._record(answer)))

    def _record(self, answer: Answer) -> Optional[Record]:
        return self._records.read(answer.run, resources=False) if answer.run else None


async def _ask(run_socket: socket.socket, path: str, question: Question) -> Answer:
    loop = asyncio.get_running_loop()
    run_socket.setblocking(False)
    try:
        # AF_UNIX connects immediately or fails; EAGAIN means that the backlog is full.
        run_socket.connect(path)
        await loop.sock_sendall(run_socket, messages.encode(question))
        packet = await asyncio.wait_for(
            loop.sock_recv(run_socket, messages.MAX_ANSWER_BYTES + 1), ANSWER_TIMEOUT_S
        )
    except asyncio.TimeoutError as error:  # not an OSError before Python 3.11
        raise no_answer(TimeoutError(), ANSWER_TIMEOUT_S) from error
    except OSError as error:
        raise no_answer(error, ANSWER_TIMEOUT_S) from error
    return messages.received_answer(packet)
