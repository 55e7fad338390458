"""The privacy policy: which caller may see which field of a run, of the node, and of an error.

RUN and STATUS have one line for each field of `Record` and `NodeStatus`; a test compares them, so a new
field cannot be added without a decision. The paths demand grants before any of this applies.
"""

from __future__ import annotations

import time
from typing import Any, Optional, Union

from twitch import durations
from twitch.caller import Caller
from twitch.messages import LOCAL
from twitch.node_status import LastRun, NodeStatus
from twitch.records import FAILED, NOT_ATTEMPTED, Options, Record, still_running

# The audiences. Everyone may see states, verdicts and numbers. Reasons, names and environments can say how
# the site is set up. Puppet's own texts can quote anything, so they need the grant `logs`.
EVERYONE = "everyone"
REASONS = "reasons"  # named callers, and callers with the grant `logs`
NAMED = "named"  # callers with a line in [access] that has grants
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
    "would_change": EVERYONE,
    "asked": EVERYONE,
    "started": EVERYONE,
    "ended": EVERYONE,
    "started_by": EVERYONE,
    "caller": NAMED,
    "client": NAMED,
    "label": NAMED,
    "options": NAMED,
    "reason": REASONS,
    "environment": NAMED,
    "cached_catalog_status": NAMED,  # everyone sees the mark `cached catalog` in the verdict
    "noop_pending": NAMED,
    "corrective_change": NAMED,
    "configuration_version": NAMED,
    "transaction_uuid": NAMED,
    "puppet_version": NAMED,
    "server_used": NAMED,
    "events": EVERYONE,
    "phases_s": EVERYONE,
    "failed_resources": NAMED,
    "left_running": NAMED,
    "cancelled": NAMED,  # with the name of a caller
    "exit_status": NAMED,
    "error": LOGS,
    "resources": REASONS,  # without the messages of events, which need the grant `logs`
    "resources_left_out": REASONS,
    "pid": NOBODY,  # for the log; the status has it while the run is under way
    "reported_before": NOBODY,
    "command": NOBODY,
    "settings": NOBODY,
    "report": NOBODY,
    "keep_runs": NOBODY,
    "keep_bytes": NOBODY,
}

# field of a NodeStatus -> its audience, in the order of the JSON
STATUS = {
    "state": EVERYONE,
    "run": NAMED,
    "queued": NAMED,
    "since": NAMED,
    "reason": REASONS,
    "pid": NAMED,
    "unit": NAMED,
    "last": NAMED,  # all fields of LastRun
    "last_whole": NAMED,
    "age_s": NAMED,
    "failing_since": NAMED,
    "unrecorded": NAMED,
    "unrecorded_why": NAMED,
    "phase": EVERYONE,
    "resources": EVERYONE,
    "elapsed_s": EVERYONE,  # as the times of runs that have ended
    "usual_s": EVERYONE,
    "doing": NAMED,  # the name of a process, as in left_running
    "disabled": EVERYONE,  # of its fields, those of DISABLED
}

# field of a holds.Disabled -> its audience, in the order of the JSON. `reason` above has the same names.
DISABLED = {
    "by": REASONS,
    "reason": REASONS,
    "since": EVERYONE,
    "until": EVERYONE,
    "holds": REASONS,
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


def disabled_fields(status: Optional[NodeStatus], caller: Caller) -> dict[str, Any]:
    """Return the same for JSON: by whom and until when, as far as the caller may see it."""
    fields = status_fields(status, caller) if status else {}
    return {name: fields[name] for name in ("disabled",) if name in fields}


def busy_fields(record: Optional[Record], status: Optional[NodeStatus], caller: Caller) -> dict[str, Any]:
    """Return the same for JSON: of the run that has the lock or takes the queue, and of its process."""
    if not caller.named:
        return {}
    fields = run_fields(record, caller) if record else {}
    process = status_fields(status, caller) if status else {}
    names = ("asked", "caller", "client", "since", "pid")
    return {name: value for name, value in {**process, **fields}.items() if name in names}


def failure(record: Record, caller: Caller, *, waited: bool) -> str:
    """Return what failed.

    This is the one exception to the tables above: a caller that has waited for this run sees the reason why
    it failed, which names the failed resources, because the caller has waited for exactly that. The reason
    why a run was not attempted can be a path or an operator's text, so only the callers that may see reasons
    get it, and the same holds for the processes that the run has left running, and for the name of the caller
    that has cancelled it.
    """
    reason = record.reason or ""
    if record.left_running and not sees_reasons(caller):
        reason = reason.removesuffix(still_running(record.left_running)).removesuffix("; ")
    if record.cancelled and not sees_reasons(caller):
        reason = reason.replace(record.cancelled.shown(), "cancelled", 1)
    parts = ["Puppet run failed", *([] if record.verdict == FAILED else [str(record.verdict)])]
    if sees_reasons(caller) or (waited and record.verdict != NOT_ATTEMPTED):
        parts.append(reason or "no reason is known")
    if record.error and sees_logs(caller):
        return ": ".join([*parts, record.error])
    return f"{': '.join(parts)}; journalctl _SYSTEMD_INVOCATION_ID={record.run}"


# ---- runs and the node


def run_fields(record: Record, caller: Caller) -> dict[str, Any]:
    """Return a run as this caller may see it in JSON."""
    return _visible(RUN, record, caller)


def status_fields(status: NodeStatus, caller: Caller) -> dict[str, Any]:
    """Return the status as this caller may see it in JSON."""
    fields = _visible(STATUS, status, caller)
    if status.disabled:
        # With null for unknown values: a client finds every key.
        names = [name for name, audience in DISABLED.items() if audience in audiences(caller)]
        fields["disabled"] = {name: _json(name, getattr(status.disabled, name)) for name in names}
    return fields


# ---- values


def iso(epoch_s: Optional[float]) -> str:
    """Return epoch seconds in UTC, in the form of RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_s or 0))


def when(epoch_s: Optional[float], caller: Caller) -> str:
    """Return epoch seconds as a text shows them: to a person at the node in the time of the node."""
    if caller.address != LOCAL or epoch_s is None:
        return iso(epoch_s)
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch_s))
    return f"{shown} ({durations.ago(time.time() - epoch_s)})"


TIMES = ("asked", "started", "ended", "since", "until", "failing_since")


def _visible(policy: dict[str, str], values: Union[Record, NodeStatus], caller: Caller) -> dict[str, Any]:
    """Return the fields that this caller may see, without those that are None."""
    may_see = audiences(caller)
    names = [name for name, audience in policy.items() if audience in may_see]
    unknown = ("", None) if isinstance(values, Record) else (None,)  # a run of Puppet's own has no caller
    visible = {name: getattr(values, name) for name in names}
    fields = {name: _json(name, value) for name, value in visible.items() if value not in unknown}
    if isinstance(values, Record) and not sees_logs(caller):
        for resource in fields.get("resources", ()):
            for event in resource["events"]:
                del event["message"]
    return fields


def _json(name: str, value: Any) -> Any:  # noqa: ANN401  # any value of a record or a status
    if name in TIMES:
        return None if value is None else iso(value)
    if name == "holds":
        return [{key: _json(key, item) for key, item in hold._asdict().items()} for hold in value]
    if isinstance(value, Options):
        return value.to_json()
    if name == "doing":
        return value._asdict()
    if name == "cancelled":
        return {"by": value.by, "at": iso(value.at)}
    if name == "left_running":
        return [process._asdict() for process in value]
    if name == "resources" and isinstance(value, tuple):  # of a run; a status has their number
        return [resource.to_json() for resource in value]
    if isinstance(value, LastRun):
        # With null for unknown values: a client finds every key.
        return {key: _json(key, item) for key, item in value._asdict().items()}
    return value
