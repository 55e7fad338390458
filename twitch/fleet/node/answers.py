"""What puppet-twitch of a node answers, as typed values, and the error if it does not answer.

A field is None where it is not known, or where the caller may not see it: twitch/views.py says which caller
sees what. A field of another type than the node's README says makes the whole answer a foreign one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, Optional

from twitch.errors import TwitchError
from twitch.fields import FieldError, Fields
from twitch.fleet.events import Change, Counts
from twitch.texts import one_line

RUN_ID = re.compile(r"[0-9a-f]{32}")

# RFC 3339 in UTC, as the node writes it; a log has microseconds.
TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?Z")

# Kinds of NotReached.
DNS, REFUSED, TIMEOUT, TLS, RESET, GARBAGE = KINDS = ("dns", "refused", "timeout", "tls", "reset", "garbage")


class NotReached(TwitchError):
    """No answer of puppet-twitch. The text is one line, without the name of the node."""

    def __init__(self, text: str, kind: str, *, sent: bool) -> None:
        super().__init__(one_line(text))
        self.kind = kind  # one of KINDS
        self.sent = sent  # whether the request may have arrived; if not, it certainly has not


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


# ---- from JSON; each function raises FieldError


def json_object(body: bytes) -> dict[str, Any]:
    """Return the object in a body."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FieldError("not JSON") from error
    if not isinstance(value, dict):
        raise FieldError("not a JSON object")
    return value


def run_record(fields: Fields) -> RunRecord:
    """Return the run that an answer is about."""
    options = fields.fields("options")
    label = fields.optional_text("label")
    noop = fields.optional_flag("noop")
    if noop is None and options:
        noop = options.optional_flag("noop")  # of a run that has not ended
    return RunRecord(
        run=_run(fields.text("run")),
        state=fields.text("state"),
        verdict=fields.optional_text("verdict"),
        counts=_counts(fields),
        duration_s=fields.optional_number("duration_s"),
        reason=_line(fields.optional_text("reason")),
        error=_line(fields.optional_text("error")),
        label=label,
        asked=moment(fields.optional_text("asked")),
        started=moment(fields.optional_text("started")),
        ended=moment(fields.optional_text("ended")),
        noop=bool(noop),
        noop_pending=fields.optional_flag("noop_pending"),
        unreported=bool(fields.optional_flag("unreported")),
        cached=fields.optional_text("cached_catalog_status") not in (None, "not_used"),
        environment=fields.optional_text("environment"),
        configuration_version=_line(fields.optional_text("configuration_version")),
        caller=_line(fields.optional_text("caller")),
        started_by=fields.optional_text("started_by"),
        changes=tuple(_change(item) for item in fields.optional_objects("resources") or ()),
        changes_left_out=fields.optional_integer("resources_left_out") or 0,
    )


def node_status(fields: Fields) -> NodeStatus:
    """Return the status of a node."""
    doing, last = fields.fields("doing"), fields.fields("last")
    return NodeStatus(
        state=one_line(fields.text("state")),
        run=fields.optional_text("run"),
        queued=fields.optional_text("queued"),
        since=moment(fields.optional_text("since")),
        reason=_line(fields.optional_text("reason")),
        disabled=disabled(fields),
        phase=_line(fields.optional_text("phase")),
        resources=fields.optional_integer("resources"),
        elapsed_s=fields.optional_integer("elapsed_s"),
        usual_s=fields.optional_integer("usual_s"),
        doing=_line(doing.optional_text("name")) if doing else None,
        doing_s=doing.optional_integer("age_s") if doing else None,
        age_s=fields.optional_integer("age_s"),
        last=_last(last) if last else None,
        failing_since=moment(fields.optional_text("failing_since")),
        message=one_line((fields.optional_text("message") or "").split("\n", 1)[0]),
    )


def disabled(fields: Fields) -> Optional[Disabled]:
    """Return by whom and until when Puppet is disabled, if an answer says so."""
    found = fields.fields("disabled")
    if found is None:
        return None
    return Disabled(
        by=_line(found.optional_text("by")),
        reason=_line(found.optional_text("reason")),
        since=moment(found.optional_text("since")),
        until=moment(found.optional_text("until")),
    )


def log_line(body: bytes) -> LogLine:
    """Return a line of a log."""
    value = json_object(body)
    fields = Fields(value)
    event = fields.optional_text("event")
    return LogLine(
        time=moment(fields.optional_text("time")),
        level=fields.optional_text("level"),
        source=fields.optional_text("source"),
        message=fields.text("message") if event is None else fields.optional_text("message") or "",
        at=fields.optional_integer("at"),
        event=event,
        fields={} if event is None else value,
    )


def moment(text: Optional[str]) -> Optional[float]:
    """Return a time in epoch seconds."""
    if text is None:
        return None
    found = TIME.fullmatch(text)
    try:
        if found:
            return datetime.fromisoformat(f"{found[1]}+00:00").timestamp() + float(found[2] or 0)
    except ValueError:
        pass  # the 31st of February
    raise FieldError("a time is not one of RFC 3339 in UTC")


def _run(text: str) -> str:
    if not RUN_ID.fullmatch(text):
        raise FieldError("'run' is not the id of a run")
    return text


def _counts(fields: Fields) -> Counts:
    counts = fields.counts("counts") or {}
    return Counts(
        total=counts.get("total"),
        changed=counts.get("changed"),
        failed=counts.get("failed"),
        skipped=counts.get("skipped"),
        would_change=fields.optional_integer("would_change"),
    )


def _change(fields: Fields) -> Change:
    events = fields.optional_objects("events") or ()
    properties = (event.optional_text("property") for event in events)
    failures = (
        event.optional_text("message") for event in events if event.optional_text("status") == "failure"
    )
    return Change(
        resource=one_line(fields.text("resource")),
        outcome=one_line(fields.text("outcome")),
        properties=tuple(dict.fromkeys(one_line(name) for name in properties if name)),
        file=_line(fields.optional_text("file")),
        line=fields.optional_integer("line"),
        message=_line(next((message for message in failures if message), None)),
    )


def _last(fields: Fields) -> LastRun:
    return LastRun(
        verdict=one_line(fields.text("verdict")),
        ended=moment(fields.optional_text("ended")),
        duration_s=fields.optional_number("duration_s"),
        environment=_line(fields.optional_text("environment")),
        reason=_line(fields.optional_text("reason")),
        noop=bool(fields.optional_flag("noop")),
        cached=fields.optional_text("cached_catalog_status") not in (None, "not_used"),
    )


def _line(text: Optional[str]) -> Optional[str]:
    return None if text is None else one_line(text)
