"""Answers of a node from the bytes of HTTP: a foreign answer is told from one of puppet-twitch.

A field of another type than the README of the node says makes the whole answer a foreign one.
"""

from __future__ import annotations

import email.utils
import functools
import json
import math
import re
from datetime import datetime
from typing import Any, Optional

from twitch.fields import FieldError, Fields
from twitch.fleet.events import Change, Counts
from twitch.fleet.node.answers import (
    GARBAGE,
    RUN_ID,
    Answer,
    Disabled,
    LastRun,
    LogLine,
    NodeStatus,
    NotReached,
    Process,
    RunRecord,
)
from twitch.fleet.node.connection import Response
from twitch.texts import one_line

JSON, PROBLEM, TEXT = "application/json", "application/problem+json", "text/plain"

# RFC 3339 in UTC, as the node writes it; a log has microseconds.
TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?Z")


def fields_of(response: Response) -> dict[str, Any]:
    """Return the fields of an answer; raises `NotReached` if it is not one of puppet-twitch."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in (JSON, PROBLEM):
        try:
            fields = json_object(response.body)
        except FieldError as error:
            raise foreign(response, str(error)) from error
        if isinstance(fields.get("detail" if response.status >= 400 else "message"), str):
            return fields
    # A request that was not read, such as one beyond the limit of connections, is answered in text.
    sniffed = response.headers.get("X-Content-Type-Options") == "nosniff"
    if kind == TEXT and sniffed and response.status >= 400:
        return {"detail": response.body.decode("utf-8", "replace").strip()}
    raise foreign(response, kind or "without a type")


def answer_of(response: Response, fields: dict[str, Any]) -> Answer:
    """Return an answer with the record of the run that it is about; raises `NotReached` as `fields_of`."""
    headers = response.headers
    checked = Fields(fields)
    try:
        # With a run, a state and a time, the fields are those of a record; less is a reference to a run.
        record = run_record(checked) if "asked" in fields and "state" in fields else None
        run = headers.get("Puppet-Run") or checked.optional_text("run")
        disabled = disabled_of(checked)
    except FieldError as error:
        raise foreign(response, str(error)) from error
    if run is not None and not RUN_ID.fullmatch(run):
        raise foreign(response, "the id of a run is invalid")
    verdict = headers.get("Puppet-Verdict", "").partition(";")[0].strip()
    message = str(fields["detail" if response.status >= 400 else "message"])
    return Answer(
        status=response.status,
        message=one_line(message.strip().split("\n", 1)[0]),
        run=run,
        verdict=one_line(verdict) or None,
        retry_after_s=_retry_after(headers.get("Retry-After", "")),
        record=record,
        date=_date(headers.get("Date", "")),
        disabled=disabled,
    )


def foreign(response: Response, why: str) -> NotReached:
    """Return the error for an answer of another program."""
    text = f"an answer that is not puppet-twitch's: {response.status}, {why}; another program listens there"
    return NotReached(text, GARBAGE, sent=True)


def _retry_after(text: str) -> Optional[float]:
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


@functools.lru_cache(maxsize=64)  # many nodes answer in the same second
def _date(text: str) -> Optional[float]:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() if text else None
    except (TypeError, ValueError, OverflowError):
        return None


# ---- from JSON; each function raises FieldError


def json_object(body: bytes) -> dict[str, Any]:
    """Return the object in a body."""
    try:
        value = json.loads(body, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise FieldError("not JSON") from error
    if not isinstance(value, dict):
        raise FieldError("not a JSON object")
    return value


def _finite(text: str) -> float:
    """Return a number; raises ValueError for NaN, Infinity and 1e400, which Python takes for JSON."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number


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
        left_running=tuple(map(_process, fields.optional_objects("left_running") or ())),
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
        disabled=disabled_of(fields),
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


def disabled_of(fields: Fields) -> Optional[Disabled]:
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
        fields=value,
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


def _process(fields: Fields) -> Process:
    return Process(one_line(fields.text("name")), fields.integer("pid"), fields.integer("age_s"))


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
