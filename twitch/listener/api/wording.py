"""Answers in words: text by default, JSON for `Accept: application/json`.

Three texts are a published contract, exact to the byte and without a newline; everything else ends
in one. Anonymous callers are shown states and verdicts, never reasons, names or texts, except what
failed in a run that they have waited for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Optional

from twitch.errors import HTTPError
from twitch.listener.access import Caller
from twitch.listener.exchange import REASONS, Request, Response
from twitch.texts import escape

TRIGGERED = "Triggered puppet run"
RUNNING = "Puppet already running"
COMPLETE = "Puppet run complete"
PUBLISHED = frozenset((TRIGGERED, RUNNING, COMPLETE))

# Answers change from one moment to the next, and none is a page.
ALWAYS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))

Headers = tuple[tuple[str, str], ...]


def answer(
    request: Optional[Request],
    status: int,
    message: str,
    *,
    headers: Headers = (),
    fields: Optional[Mapping[str, Any]] = None,
) -> Response:
    """Return an answer with a message, and the fields that only JSON shows."""
    if wants_json(request):
        body = json.dumps({"message": message, **(fields or {})}) + "\n"
        return Response(status, body.encode(), (("Content-Type", "application/json"), *ALWAYS, *headers))
    message = escape(message)
    body = message if message in PUBLISHED else message + "\n"
    kind = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status, body.encode("utf-8", "replace"), (kind, *ALWAYS, *headers))


def problem(
    request: Optional[Request], error: HTTPError, fields: Optional[Mapping[str, Any]] = None
) -> Response:
    """Return an answer to what went wrong; as JSON these are RFC 9457 problem details."""
    if not wants_json(request):
        return answer(request, error.status, str(error), headers=error.headers)._replace(close=error.close)
    details = {
        "type": "about:blank",
        "title": REASONS.get(error.status, ""),
        "status": error.status,
        "detail": str(error),
        **(fields or {}),
    }
    kind = ("Content-Type", "application/problem+json")
    body = (json.dumps(details) + "\n").encode()
    return Response(error.status, body, (kind, *ALWAYS, *error.headers), error.close)


def wants_json(request: Optional[Request]) -> bool:
    """Whether the caller has asked for JSON by name."""
    accept = request.headers.get("accept", "") if request else ""
    return "application/json" in accept or "application/problem+json" in accept


# ---- runs


def run_headers(record: Mapping[str, Any]) -> Headers:
    """`Puppet-Run`, and `Puppet-Verdict` once it is known."""
    word = verdict(record)
    return (("Puppet-Run", record["run"]), *((("Puppet-Verdict", word),) if word else ()))


def verdict(record: Mapping[str, Any]) -> Optional[str]:
    """The verdict with what qualifies it: `unchanged; noop`; None while there is none."""
    if not record.get("verdict"):
        return None
    cached = record.get("cached_catalog_status") not in (None, "not_used")
    marks = [
        "noop" if record.get("noop") else "",
        "unreported" if record.get("unreported") else "",
        "cached catalog" if cached else "",
    ]
    return "; ".join([record["verdict"], *filter(None, marks)])


def run_fields(record: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
    """A run as this caller may see it in JSON."""
    public = ("run", "state", "verdict", "noop", "unreported", "duration_s", "counts")
    fields = {name: record[name] for name in public if record.get(name) is not None}
    for name in ("asked", "started", "ended"):
        if record.get(name):
            fields[name] = iso(record[name])
    if caller.named:
        private = ("caller", "client", "options", "reason", "environment", "cached_catalog_status")
        more = ("noop_pending", "failed_resources", "exit_status")
        fields.update({name: record[name] for name in (*private, *more) if record.get(name) is not None})
    if "logs" in caller.grants and record.get("error"):
        fields["error"] = record["error"]
    return fields


def run_text(record: Mapping[str, Any], caller: Caller) -> str:
    """A run on one line."""
    words = [record["run"], iso(record.get("started") or record.get("asked") or 0)]
    words.append(verdict(record) or record["state"])
    if record.get("duration_s") is not None:
        words.append(f"{record['duration_s']:.0f} s")
    if caller.named:
        words.append(f"by {record.get('caller')} at {record.get('client')}")
        words += [f"({record['reason']})"] if record.get("reason") else []
    return "  ".join(words)


def failure(record: Mapping[str, Any], caller: Caller) -> str:
    """What failed, for whoever waited for this run: resources by name; Puppet's own words only for
    callers with the grant `logs`."""
    reason = record.get("reason") or "no reason is known"
    if record["verdict"] != "failed":
        reason = f"{record['verdict']}: {reason}"
    if record.get("error") and "logs" in caller.grants:
        return f"Puppet run failed: {reason}: {record['error']}"
    return f"Puppet run failed: {reason}; journalctl _SYSTEMD_INVOCATION_ID={record['run']}"


# ---- status


def status_text(status: Mapping[str, Any], caller: Caller) -> str:
    """The state on the first line; for named callers the details after it."""
    if not caller.named:
        return str(status["state"])
    details = []
    if status["state"] == "disabled":
        details.append(status["reason"] or "no reason given")
    elif status["run"] or status["pid"]:
        details.append(f"run {status['run']}" if status["run"] else f"started elsewhere, pid {status['pid']}")
        details += [f"since {iso(status['since'])}"] if status["since"] else []
    if status["queued"]:
        details.append(f"run {status['queued']} waits")
    if status["state"] == "stuck":
        details.append(f"{status['age_s']} s old")
    lines = [f"{status['state']}: {', '.join(details)}" if details else str(status["state"])]
    last = status["last"]
    if last:
        took = f", took {last['duration_s']:.0f} s" if last["duration_s"] is not None else ""
        lines.append(f"last run: {verdict(last)}, ended {iso(last['ended'])}{took}")
        counts = ", ".join(f"{count} {name}" for name, count in last["counts"].items() if count)
        lines.append(f"resources: {counts or 'none'}; environment {last['environment']}")
    return "\n".join(lines)


def status_fields(status: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
    """The status as this caller may see it in JSON."""
    if not caller.named:
        return {"state": status["state"]}
    fields = {name: value for name, value in status.items() if value is not None}
    if "since" in fields:
        fields["since"] = iso(fields["since"])
    if "last" in fields:
        fields["last"] = {**fields["last"], "ended": iso(fields["last"]["ended"])}
    return fields


def iso(epoch_s: Optional[float]) -> str:
    """Epoch seconds in UTC, as RFC 3339 has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_s or 0))
