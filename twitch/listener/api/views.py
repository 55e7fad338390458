"""The privacy policy: which caller may see which field of a run, of the node, and of an error.

RUN and STATUS have one line for each field of `Record` and `NodeStatus`; a test compares them, so a new
field cannot be added without a decision. The paths demand grants before any of this applies.
"""

from __future__ import annotations

import time
from typing import Any, Optional, Union

from twitch.listener.access import Caller
from twitch.listener.api.reply import Headers, Reply
from twitch.node_status import DISABLED, STUCK, LastRun, NodeStatus
from twitch.records import FAILED, NOT_ATTEMPTED, Options, Record

# The audiences. Everyone may see states, verdicts and numbers. Reasons, names and environments can say how
# the site is set up. Puppet's own texts can quote anything, so they need the grant `logs`.
EVERYONE = "everyone"
REASONS = "reasons"  # named callers, and callers with the grant `logs`
NAMED = "named"  # callers that a line of [access] matches
LOGS = "logs"  # callers with the grant `logs`
NOBODY = "nobody"

# field of a Record -> its audience, in the order of the JSON
RUN = {
    "run": EVERYONE,
    "state": EVERYONE,
    "verdict": EVERYONE,
    "noop": EVERYONE,
    "unreported": EVERYONE,
    "duration_s": EVERYONE,
    "counts": EVERYONE,
    "asked": EVERYONE,
    "started": EVERYONE,
    "ended": EVERYONE,
    "caller": NAMED,
    "client": NAMED,
    "options": NAMED,
    "reason": REASONS,
    "environment": NAMED,
    "cached_catalog_status": NAMED,  # everyone sees the mark `cached catalog` in the verdict
    "noop_pending": NAMED,
    "failed_resources": NAMED,
    "exit_status": NAMED,
    "error": LOGS,
    "command": NOBODY,
    "settings": NOBODY,
    "report": NOBODY,
}

# field of a NodeStatus -> its audience, in the order of the JSON
STATUS = {
    "state": EVERYONE,
    "run": NAMED,
    "queued": NAMED,
    "since": NAMED,
    "reason": REASONS,
    "pid": NAMED,
    "last": NAMED,  # all fields of LastRun
    "age_s": NAMED,
    "unrecorded": NAMED,
    "unrecorded_why": NAMED,
}


def audiences(caller: Caller) -> frozenset[str]:
    """Return the audiences that a caller belongs to."""
    named = (NAMED, REASONS) if caller.named else ()
    logs = (LOGS, REASONS) if "logs" in caller.grants else ()
    return frozenset((EVERYONE, *named, *logs))


def sees_reasons(caller: Caller) -> bool:
    """Return whether a caller may see why something is as it is, in our words or the operator's."""
    return REASONS in audiences(caller)


def sees_logs(caller: Caller) -> bool:
    """Return whether a caller may see Puppet's own texts."""
    return LOGS in audiences(caller)


# ---- errors


def why(sentence: str, reason: Optional[str], caller: Caller) -> str:
    """Return the text of an error, with its reason if the caller may see it."""
    if not sees_reasons(caller):
        return f"{sentence}; the journal of the node says why"
    return f"{sentence}: {reason}"


def disabled(reason: Optional[str], caller: Caller) -> str:
    """Return that Puppet is disabled, with the reason if the caller may see it."""
    return f"Puppet disabled: {reason or 'no reason given'}" if sees_reasons(caller) else "Puppet disabled"


def unrecorded(run: str, reason: str, caller: Caller) -> Reply:
    """Return the reply to a caller that has waited for a run whose verdict cannot be written.

    It is an error, because a script must not take it for a run that succeeded, or that goes on.
    """
    headers = (("Puppet-Run", run), ("Location", f"/puppet/runs/{run}"))
    text = why("Puppet run ended, but its verdict cannot be recorded", reason, caller)
    return Reply(500, text, {"run": run}, headers)


def failure(record: Record, caller: Caller) -> str:
    """Return what failed, for a caller that has waited for this run.

    This is the one exception to the tables above: every such caller sees the reason of a run that failed,
    which names the failed resources, because the caller has waited for exactly that. The reason why a run was
    not attempted can be a path or an operator's text, so only the callers that may see reasons get it.
    """
    outcome = [] if record.verdict == FAILED else [str(record.verdict)]
    if record.verdict != NOT_ATTEMPTED or sees_reasons(caller):
        outcome.append(record.reason or "no reason is known")
    if record.error and sees_logs(caller):
        return ": ".join(["Puppet run failed", *outcome, record.error])
    return f"{': '.join(['Puppet run failed', *outcome])}; journalctl _SYSTEMD_INVOCATION_ID={record.run}"


# ---- runs


def run_headers(record: Record) -> Headers:
    """Return the headers `Puppet-Run` and, once there is a verdict, `Puppet-Verdict`."""
    word = verdict(record)
    return (("Puppet-Run", record.run), *((("Puppet-Verdict", word),) if word else ()))


def verdict(run: Union[Record, LastRun]) -> Optional[str]:
    """Return the verdict with its marks, such as `unchanged; noop`; None while there is no verdict."""
    if not run.verdict:
        return None
    marks = (
        "noop" if run.noop else "",
        "unreported" if run.unreported else "",
        "cached catalog" if run.cached_catalog_status not in (None, "not_used") else "",
    )
    return "; ".join([run.verdict, *filter(None, marks)])


def run_fields(record: Record, caller: Caller) -> dict[str, Any]:
    """Return a run as this caller may see it in JSON."""
    return _visible(RUN, record, caller)


def run_text(record: Record, caller: Caller) -> str:
    """Return a run as this caller may see it, on one line."""
    words = [record.run, iso(record.started or record.asked), verdict(record) or record.state]
    if record.duration_s is not None:
        words.append(f"{record.duration_s:.0f} s")
    if caller.named:
        words.append(f"by {record.caller} at {record.client}")
    if record.reason and sees_reasons(caller):
        words.append(f"({record.reason})")
    return "  ".join(words)


# ---- the node


def status_fields(status: NodeStatus, caller: Caller) -> dict[str, Any]:
    """Return the status as this caller may see it in JSON."""
    return _visible(STATUS, status, caller)


def status_text(status: NodeStatus, caller: Caller) -> str:
    """Return the state, with the details that this caller may see."""
    details = _details(status, caller)
    lines = [f"{status.state}: {', '.join(details)}" if details else status.state]
    if status.last and caller.named:
        lines += _last(status.last)
    return "\n".join(lines)


def _details(status: NodeStatus, caller: Caller) -> list[str]:
    details = []
    if status.state == DISABLED and sees_reasons(caller):
        details.append(status.reason or "no reason given")
    if not caller.named:
        return details
    if status.state != DISABLED and (status.run or status.pid):
        details.append(f"run {status.run}" if status.run else f"started elsewhere, pid {status.pid}")
        details += [f"since {iso(status.since)}"] if status.since else []
    if status.queued:
        details.append(f"run {status.queued} waits")
    if status.unrecorded:
        details.append(f"run {status.unrecorded} has ended without a record ({status.unrecorded_why})")
    if status.state == STUCK:
        details.append(f"{status.age_s} s old")
    return details


def _last(last: LastRun) -> list[str]:
    took = f", took {last.duration_s:.0f} s" if last.duration_s is not None else ""
    counts = ", ".join(f"{count} {name}" for name, count in last.counts.items() if count)
    # A run that was not attempted has neither.
    details = [f"resources: {counts or 'none'}"] if last.counts else []
    details += [f"environment {last.environment}"] if last.environment else []
    return [
        f"last run: {verdict(last)}, ended {iso(last.ended)}{took}",
        *(["; ".join(details)] if details else []),
    ]


# ---- values


def iso(epoch_s: Optional[float]) -> str:
    """Return epoch seconds in UTC, in the form of RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_s or 0))


TIMES = ("asked", "started", "ended", "since")


def _visible(policy: dict[str, str], values: Union[Record, NodeStatus], caller: Caller) -> dict[str, Any]:
    """Return the fields that this caller may see, without those that are None."""
    may_see = audiences(caller)
    names = [name for name, audience in policy.items() if audience in may_see]
    return {name: _json(name, getattr(values, name)) for name in names if getattr(values, name) is not None}


def _json(name: str, value: Any) -> Any:  # noqa: ANN401  # any value of a record or a status
    if name in TIMES:
        return iso(value)
    if isinstance(value, Options):
        return value.to_json()
    if isinstance(value, LastRun):
        # With null for unknown values: a client finds every key.
        return {key: _json(key, item) for key, item in value._asdict().items()}
    return value
