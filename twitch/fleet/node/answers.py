"""What puppet-twitch of a node answers, as typed values, and the error if it does not answer.

A field is None where it is not known, or where the caller may not see it: twitch/views.py says which caller
sees what. Lines of text are escaped (texts.one_line).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

from twitch.errors import TwitchError
from twitch.fleet.events import Change, Counts
from twitch.texts import one_line

RUN_ID = re.compile(r"[0-9a-f]{32}")

# Kinds of NotReached.
DNS, REFUSED, TIMEOUT, TLS, RESET, GARBAGE = KINDS = ("dns", "refused", "timeout", "tls", "reset", "garbage")


class NotReached(TwitchError):
    """No answer of puppet-twitch. The text is one line, without the name of the node."""

    def __init__(self, text: str, kind: str, *, sent: bool) -> None:
        super().__init__(one_line(text))
        self.kind = kind  # one of KINDS
        self.sent = sent  # whether the request may have arrived; if not, it certainly has not


class Process(NamedTuple):
    """A process that a run has left running."""

    name: str
    pid: int
    age_s: int


class RunRecord(NamedTuple):
    """A run, as the node has recorded it. Times are epoch seconds of the node's clock."""

    run: str
    state: str  # queued, running, finished
    verdict: Optional[str] = None
    counts: Counts = Counts()
    duration_s: Optional[float] = None
    reason: Optional[str] = None
    error: Optional[str] = None
    label: Optional[str] = None
    asked: Optional[float] = None
    started: Optional[float] = None
    ended: Optional[float] = None
    noop: bool = False
    noop_pending: Optional[bool] = None
    unreported: bool = False
    cached: bool = False  # the run has applied a cached catalog
    environment: Optional[str] = None
    configuration_version: Optional[str] = None
    caller: Optional[str] = None
    started_by: Optional[str] = None  # twitch or puppet
    changes: tuple[Change, ...] = ()  # of one run only: a list of runs has none
    changes_left_out: int = 0  # how many more there were
    left_running: tuple[Process, ...] = ()


class Answer(NamedTuple):
    """What puppet-twitch of a node answered."""

    status: int
    message: str  # one line
    run: Optional[str] = None  # Puppet-Run
    verdict: Optional[str] = None  # Puppet-Verdict, without what follows the `;`
    retry_after_s: Optional[float] = None
    record: Optional[RunRecord] = None  # of an answer about a run, if it has one
    date: Optional[float] = None  # Date of the node, epoch seconds
    disabled: Optional[Disabled] = None


class Disabled(NamedTuple):
    """By whom and until when Puppet is disabled. Times are epoch seconds."""

    by: Optional[str] = None
    reason: Optional[str] = None
    since: Optional[float] = None
    until: Optional[float] = None  # None: without an end


class LastRun(NamedTuple):
    """What became of the last run of a node, started by anyone."""

    verdict: str
    ended: Optional[float] = None
    duration_s: Optional[float] = None
    environment: Optional[str] = None
    reason: Optional[str] = None
    noop: bool = False
    cached: bool = False


class NodeStatus(NamedTuple):
    """What Puppet is doing on a node."""

    state: str  # idle, running, queued, disabled or stuck
    run: Optional[str] = None  # under way, if it is one of puppet-twitch
    queued: Optional[str] = None
    since: Optional[float] = None  # of the run under way, epoch seconds
    reason: Optional[str] = None  # why the agent is disabled
    disabled: Optional[Disabled] = None
    phase: Optional[str] = None  # of the run under way: starting, preparing, applying, reporting
    resources: Optional[int] = None  # in its catalog
    elapsed_s: Optional[int] = None
    usual_s: Optional[int] = None
    doing: Optional[str] = None  # the process that Puppet waits for
    doing_s: Optional[int] = None  # how long
    age_s: Optional[int] = None  # of a stuck run
    last: Optional[LastRun] = None
    failing_since: Optional[float] = None
    message: str = ""  # the text of the node, one line


class LogLine(NamedTuple):
    """A line of a run's log: Puppet's, or with an event one of puppet-twitch."""

    time: Optional[float]  # epoch seconds
    level: Optional[str]
    source: Optional[str]
    message: str  # it may have newlines
    at: Optional[int] = None  # the number of lines up to this one
    event: Optional[str] = None  # asked, state, no-log, end
    fields: Mapping[str, Any] = {}  # of an event, as the node sent it
