"""Disable and enable Puppet: who may, until when, and what they are answered."""

from __future__ import annotations

import time
from typing import Optional, Union

from twitch import durations
from twitch.errors import TwitchError
from twitch.holds import Hold, utc
from twitch.messages import DISABLED, ENABLED, HELD, INVALID, Answer, Disable, Enable
from twitch.node_status import DISABLED as NODE_DISABLED
from twitch.node_status import NodeStatus
from twitch.root import holds_in_lock, journal
from twitch.root.holds_in_lock import MAX_HOLDS, Lock
from twitch.root.node import Node


class Refused(TwitchError):
    """A change of the holds is refused, with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.reason))
        self.answer = answer


def answer(node: Node, question: Union[Disable, Enable], uid: int) -> Answer:
    """Do what a process of this uid asks for; return the answer. Raises `OSError` and `TwitchError`."""
    try:
        return _disable(node, question, uid) if isinstance(question, Disable) else _enable(node, question)
    except Refused as refused:
        return refused.answer


def _disable(node: Node, question: Disable, uid: int) -> Answer:
    now = time.time()
    _check_end(question, uid, now, node.config.disable_max_s)

    def added(lock: Optional[Lock]) -> tuple[Hold, ...]:
        if lock and lock.foreign and not question.force:
            raise Refused(_held(lock))
        holds = lock.holds if lock else ()
        since = next((hold.since for hold in holds if hold.caller == question.caller), now)
        rest = tuple(hold for hold in holds if hold.caller != question.caller)
        if len(rest) >= MAX_HOLDS:
            raise TwitchError(f"{MAX_HOLDS} callers have disabled Puppet, and no more can")
        own = Hold(question.caller, question.client, question.reason, int(since), question.until)
        return (*rest, own)

    lock = holds_in_lock.change(node.store, node.settings.agent_disabled_lockfile, added)
    assert lock is not None  # it has the hold of this caller
    status = _running(node)._replace(disabled=lock.disabled)
    return Answer(DISABLED, run=status.run, reason=lock.message, status=status)


def _check_end(question: Disable, uid: int, now: float, longest_s: int) -> None:
    """Raise `Refused` for an end that this uid may not choose.

    The listener has a uid of its own, so that an attacker who takes it over cannot disable Puppet for good.
    """
    if question.until is None:
        if uid != 0:
            raise Refused(Answer(INVALID, reason="only root may disable Puppet without an end"))
    elif question.until <= now:
        raise Refused(Answer(INVALID, reason="the end is in the past"))
    elif uid != 0 and question.until > now + longest_s:
        longest = f"at most {durations.shown(longest_s)} ([disable] max)"
        raise Refused(Answer(INVALID, reason=f"Puppet can be disabled for {longest}"))


def _running(node: Node) -> NodeStatus:
    """Return the status of a disabled node: with the run that goes on, ours or not."""
    # A run of ours that begins at this moment has seen no lock, and is on record when `decide` is done. A run
    # of an agent looks at the lock once more when it has its own (lib/puppet/agent.rb).
    with node.store.claims.locked():
        ours, holder = node.store.claims.running(), node.lock_holder()
    pid = ours.pid if ours else holder.pid if holder else None
    return NodeStatus(NODE_DISABLED, run=ours.run if ours else None, pid=pid)


def _enable(node: Node, question: Enable) -> Answer:
    def lifted(lock: Optional[Lock]) -> tuple[Hold, ...]:
        if lock is None or question.force:
            return ()
        if lock.foreign:
            raise Refused(_held(lock))
        return tuple(hold for hold in lock.holds if hold.caller != question.caller)

    lock = holds_in_lock.change(node.store, node.settings.agent_disabled_lockfile, lifted)
    return _held(lock) if lock else Answer(ENABLED)


def _held(lock: Lock) -> Answer:
    status = NodeStatus(NODE_DISABLED, reason=lock.message, disabled=lock.disabled)
    return Answer(HELD, reason=lock.message, status=status)


# ---- the journal


def log(question: Union[Disable, Enable], reply: Answer) -> None:
    """Write who has asked for what, and the answer."""
    caller, until = f"{question.caller} at {question.client}", None
    forced = " (force)" if question.force else ""
    if isinstance(question, Disable):
        until = "without an end" if question.until is None else f"until {utc(question.until)}"
        message_id, wish = journal.DISABLED, f"to disable Puppet {until}{forced}: {question.reason}"
    else:
        message_id, wish = journal.ENABLED, f"to enable Puppet{forced}"
    outcome = {DISABLED: "disabled", ENABLED: "enabled", HELD: f"still disabled: {reply.reason}"}
    journal.event(
        message_id,
        f"{caller} asked {wish}: {outcome.get(reply.kind, f'{reply.kind}: {reply.reason}')}",
        caller=question.caller,
        client=question.client,
        answer=reply.kind,
        reason=question.reason if isinstance(question, Disable) else reply.reason,
        until=until,
    )
