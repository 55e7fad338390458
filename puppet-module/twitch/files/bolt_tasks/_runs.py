# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""Start a run on a node, at most once, and follow it to its verdict.

This file is private. The Ansible collection and the Bolt tasks of the Puppet module have the same copy.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Callable, NamedTuple, Optional

from ._answers import Answer, NotReached, Send

# How long one request waits on the node: TLS listeners leave after ten minutes, and a cut is noticed sooner.
POLL_S = 60
# A node that does not answer any more is asked this often, and for so long. A reboot takes two minutes.
ASK_AGAIN_S, LOST_AFTER_S = 5, 300
# A server that wants to be asked again later (429, 503 with Retry-After) is believed up to this.
RETRIES, MAX_RETRY_AFTER_S = 3, 60
# `asked` of a record has whole seconds, and so has the header Date.
ROUNDING_S = 2


class Ask(NamedTuple):
    """The run that a node is asked for."""

    noop: bool = False
    queue: bool = True
    tags: tuple[str, ...] = ()
    environment: Optional[str] = None
    label: Optional[str] = None


class Stopped(Exception):
    """There is no verdict. `outcome` says why; `answer` is the last one of the node, or None."""

    def __init__(
        self, outcome: str, text: str, run: Optional[str] = None, answer: Optional[Answer] = None
    ) -> None:
        super().__init__(text)
        self.outcome = outcome
        self.run = run
        self.answer = answer


class Clock:
    """The time that the caller allows."""

    def __init__(
        self,
        wait_s: float,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.now, self._sleep = now, sleep
        self._end = now() + wait_s

    @property
    def left_s(self) -> float:
        """Return how many seconds are left."""
        return max(0.0, self._end - self.now())

    def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the end."""
        self._sleep(min(seconds, self.left_s))


def start(send: Send, ask: Ask, clock: Clock) -> str:
    """Start or queue a run, and return its id; raises Stopped.

    The node is asked again only after an answer that says that nothing was started. If the connection breaks
    after the request was sent, the run is looked for by its label.
    """
    label = ask.label or f"run-{secrets.token_hex(4)}"
    parameters = _parameters(ask, label)
    retries = 0
    while True:
        begun = clock.now()
        try:
            answer = send("POST", "/puppet/twitch", parameters, 0)
        except NotReached as error:
            if not error.sent:
                raise Stopped("unreachable", str(error)) from error
            return _find(send, ask, label, clock, begun, str(error))
        # 200 and 500 are about a run that has ended already. A 409 can name the run of another caller.
        if answer.run and (answer.status in (200, 202, 500) or answer.fields.get("verdict")):
            return answer.run
        retries += answer.status != 409
        if not _worth_asking_again(answer, ask, retries) or not clock.left_s:
            raise Stopped(_outcome(answer), answer.text, answer=answer)
        clock.sleep(min(answer.retry_after_s or ASK_AGAIN_S, MAX_RETRY_AFTER_S))


def follow(send: Send, run: str, clock: Clock) -> Answer:
    """Wait for the end of a run, and return the node's answer, which has its record; raises Stopped."""
    silent_since = None
    while True:
        wait_s = int(min(POLL_S, clock.left_s))
        try:
            answer = send("GET", f"/puppet/runs/{run}", {"wait": str(wait_s)}, wait_s)
        except NotReached as error:
            silent_since = silent_since or clock.now()
            if not clock.left_s or clock.now() - silent_since >= LOST_AFTER_S:
                text = f"run {run} was started, and then the node could not be reached any more: {error}"
                raise Stopped("lost", text, run) from error
            clock.sleep(ASK_AGAIN_S)
            continue
        silent_since = None
        if answer.fields.get("verdict"):
            return answer
        if answer.status == 404:
            raise Stopped("lost", f"the node has no record of run {run} any more", run, answer)
        if answer.status in (401, 403):
            text = f"run {run} was started, but cannot be followed: {answer.text}"
            raise Stopped("refused", text, run, answer)
        if answer.status not in (202, 429, 503):
            raise Stopped("unproven", answer.text, run, answer)
        if not clock.left_s:
            state = "waits in the queue" if answer.fields.get("state") == "queued" else "goes on"
            raise Stopped("late", f"run {run} has not ended within the time to wait: it {state}", run, answer)
        if answer.status != 202:
            clock.sleep(min(answer.retry_after_s or ASK_AGAIN_S, MAX_RETRY_AFTER_S))


def _parameters(ask: Ask, label: str) -> Mapping[str, str]:
    parameters = {"label": label}
    if ask.queue:
        parameters["queue"] = "true"
    if ask.noop:
        parameters["noop"] = "true"
    if ask.tags:
        parameters["tags"] = ",".join(ask.tags)
    if ask.environment:
        parameters["environment"] = ask.environment
    return parameters


def _worth_asking_again(answer: Answer, ask: Ask, retries: int) -> bool:
    """Whether the answer says that nothing was started, and that another request may be granted."""
    if answer.status == 409:  # with queue, another request has the place in the queue
        return ask.queue
    return answer.status in (429, 503) and answer.retry_after_s is not None and retries <= RETRIES


def _outcome(answer: Answer) -> str:
    if answer.status == 423:
        return "disabled"
    if answer.status in (409, 429):
        return "busy"
    if answer.status in (400, 401, 403, 404, 405, 415):
        return "refused"
    return "not attempted"


def _find(send: Send, ask: Ask, label: str, clock: Clock, begun: float, broken: str) -> str:
    """Return the run that a request has started whose answer was lost; raises Stopped."""
    until = min(clock.now() + LOST_AFTER_S, clock.now() + clock.left_s)
    while True:
        try:
            answer = send("GET", "/puppet/runs", {"limit": "10"}, 0)
        except NotReached as error:
            if clock.now() >= until:
                text = (
                    f"{broken}. It is not known whether a run was started: then the node could not be reached"
                )
                raise Stopped("lost", f"{text}: {error}") from error
            clock.sleep(ASK_AGAIN_S)
            continue
        if answer.status == 503 and answer.retry_after_s is not None and clock.now() < until:
            clock.sleep(min(answer.retry_after_s, MAX_RETRY_AFTER_S))
            continue
        break
    runs = answer.fields.get("runs") if answer.status == 200 else None
    earliest = None if ask.label is None else _date(answer) - (clock.now() - begun) - ROUNDING_S
    for record in runs or ():
        if record.get("label") == label and (earliest is None or _asked(record) >= earliest):
            return str(record["run"])
    why = (
        "its runs are not visible for this caller"
        if runs is None
        else f"no visible run of it has the label {label}"
    )
    raise Stopped("lost", f"{broken}. It is not known whether a run was started: {why}", answer=answer)


def _date(answer: Answer) -> float:
    """Return the time of the node in epoch seconds; the time here if it does not say."""
    try:
        return parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return time.time()


def _asked(record: Mapping[str, Any]) -> float:
    """Return when a run was asked for, in epoch seconds."""
    try:
        moment = datetime.strptime(record["asked"], "%Y-%m-%dT%H:%M:%SZ")
    except (KeyError, TypeError, ValueError):
        return 0.0
    return moment.replace(tzinfo=timezone.utc).timestamp()
