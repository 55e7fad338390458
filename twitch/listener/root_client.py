"""The listener's side of the run socket: one question, one answer, and a second's memory.

The memory is what keeps a flood on the port from becoming a flood of root processes: whatever the
handler has just said is said again for a second, and only one question is under way at a time. What
it said about a run holds no longer than the state that this run was in: who asks after a waiting
run has begun must not be told to wait for that one.
"""

from __future__ import annotations

import asyncio
import socket
from typing import NamedTuple, Optional, Union

from twitch import messages
from twitch.errors import HandlerUnavailable, PacketError
from twitch.listener import access
from twitch.messages import Answer, Run, Status
from twitch.runs import QUEUED, Store

REMEMBER_S = 1.0
# Ordinarily 30 to 60 ms. The first question after a boot or a change of puppet.conf waits for
# `puppet config print` (1 s on an idle machine, measured), which a busy small one stretches.
ANSWER_TIMEOUT_S = 30

# An answer that is none: remembered like the others, because each further question could be one more
# process of root's that dies.
UNAVAILABLE = "unavailable"

# What a node that is idle does not say to a request for a run.
NOT_IDLE = ("busy", "queued", "disabled")

Question = Union[Run, Status]

LEFT = "The handler left without an answer; try again"


class Remembered(NamedTuple):
    """An answer, and for how long it holds."""

    until: float  # of the loop's clock
    state: Optional[str]  # of the run that it speaks of
    answer: Answer


class Handler:
    """The handler as the listener sees it."""

    def __init__(self, store: Store, path: str = messages.RUN_SOCKET) -> None:
        self._store = store
        self._path = path
        self.asked = 0.0  # when root last answered, by the loop's clock
        self._remembered: dict[Question, Remembered] = {}
        self._one_at_a_time: Optional[asyncio.Lock] = None

    async def ask(self, question: Question) -> Answer:
        """Return the handler's answer, or the one of a moment ago to an equal question.

        Raises `HandlerUnavailable` when the run socket is down or full.
        """
        if self._one_at_a_time is None:
            self._one_at_a_time = asyncio.Lock()  # which Python 3.9 binds to the loop of this moment
        async with self._one_at_a_time:
            answer = self._recall(question)
            if answer is None:
                try:
                    answer = await _ask(self._path, question)
                except HandlerUnavailable as error:
                    answer = Answer(UNAVAILABLE, reason=str(error))
                self.asked = asyncio.get_running_loop().time()
                self._remember(question, answer)
        if answer.kind == UNAVAILABLE:
            raise HandlerUnavailable(answer.reason)
        return answer

    def forget(self) -> None:
        """Ask anew whatever comes: what root has said may be of another configuration."""
        self._remembered.clear()

    def _recall(self, question: Question) -> Optional[Answer]:
        now = asyncio.get_running_loop().time()
        self._remembered = {asked: kept for asked, kept in self._remembered.items() if kept.until > now}
        for key in _keys(question):
            kept = self._remembered.get(key)
            if kept and kept.state == self._state(kept.answer) and not self._may_wait(question, kept.answer):
                return kept.answer
        return None

    def _may_wait(self, question: Question, answer: Answer) -> bool:
        """Whether `busy` is not for this one: the waiting slot is free, or is held by an equal request."""
        if answer.kind != "busy" or not isinstance(question, Run) or not question.queue:
            return False
        waits = self._store.read(answer.run) if answer.run else None
        return not waits or waits["state"] != QUEUED or waits.get("options") == question.options()

    def _remember(self, question: Question, answer: Answer) -> None:
        key, *others = _keys(question)
        if isinstance(question, Run):
            if answer.kind in ("started", "queued"):
                self._remembered.pop(Status(), None)
            if answer.kind == "started":
                if question.queue:
                    return  # the next one may wait for this run: that is for the handler to say
                answer = Answer("busy", run=answer.run)  # with this very run
            elif question.queue and answer.kind != "queued":
                anybody, slot = others
                key = slot if answer.kind == "busy" else anybody
        elif answer.status and answer.status.get("state") == "idle":
            # Or who has just read "idle" would hear of a run that is over. Only what "idle" denies:
            # who alternates between two questions must not wake root for each.
            self._remembered = {
                asked: kept for asked, kept in self._remembered.items() if kept.answer.kind not in NOT_IDLE
            }
        until = asyncio.get_running_loop().time() + REMEMBER_S
        self._remembered[key] = Remembered(until, self._state(answer), answer)

    def _state(self, answer: Answer) -> Optional[str]:
        record = self._store.read(answer.run) if answer.run else None
        return record["state"] if record else None


def _keys(question: Question) -> tuple[Question, ...]:
    """What an equal question is: where its answer may be found, its own place first.

    A node is free or it is not, whatever a request wants; whether there is a cooldown depends on who
    asks. Who waits may differ in everything, because root is to write down everybody who joins a
    waiting run, though not each address of one network.
    """
    if not isinstance(question, Run):
        return (question,)
    anybody = Run("", "", named=question.named)
    if not question.queue:
        return (anybody,)
    own = question._replace(client=access.group(question.client))
    return own, anybody, anybody._replace(queue=True)


async def _ask(path: str, question: Question) -> Answer:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as handler:
        handler.setblocking(False)
        try:
            # AF_UNIX connects at once or not at all: EAGAIN means that the backlog is full.
            handler.connect(path)
            await loop.sock_sendall(handler, messages.encode(question))
            packet = await asyncio.wait_for(
                loop.sock_recv(handler, messages.MAX_PACKET_BYTES + 1), ANSWER_TIMEOUT_S
            )
        except BlockingIOError as error:
            raise HandlerUnavailable("Too many questions at once; try again") from error
        except asyncio.TimeoutError as error:
            raise HandlerUnavailable(f"No answer from the handler in {ANSWER_TIMEOUT_S} s") from error
        except ConnectionResetError as error:
            raise HandlerUnavailable(LEFT) from error  # before it had read the packet
        except OSError as error:
            # `start` would do nothing where only the file is gone and the unit still says active.
            mend = "systemctl restart puppet-twitch-run.socket"
            raise HandlerUnavailable(f"The handler cannot be reached ({error.strerror}); {mend}") from error
    if not packet:
        # systemd's way of saying MaxConnections= (an end-of-file), or a handler that was killed.
        raise HandlerUnavailable(LEFT)
    try:
        return messages.decode_answer(packet)
    except PacketError as error:
        raise HandlerUnavailable(f"The handler's answer was not understood: {error}") from error
