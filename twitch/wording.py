"""What a text says of runs and of the node, as far as the caller may see it (views.py)."""

from __future__ import annotations

import time
from typing import Optional

from twitch import durations, messages
from twitch.caller import Caller
from twitch.messages import LOCAL
from twitch.node_status import DISABLED, QUEUED, STUCK, LastRun, NodeStatus
from twitch.records import FAILED, FINISHED, GOOD, INTERRUPTED, NOT_ATTEMPTED, PUPPET, Record, outcome
from twitch.texts import one_line
from twitch.views import sees_logs, sees_reasons, when

# The three texts that every version has answered, exact to the byte.
TRIGGERED = "Triggered puppet run"
RUNNING = "Puppet already running"
COMPLETE = "Puppet run complete"

IN_QUEUE = "Queued puppet run"
# By the kind of the answer, where a run has begun or will.
ACCEPTED = {messages.STARTED: TRIGGERED, messages.QUEUED: IN_QUEUE}
TOO_SOON = "Too soon after the last run"
CANNOT_START = "Puppet cannot be started"
CANNOT_ASK = "Puppet cannot be asked"
CANNOT_DISABLE = "Puppet cannot be disabled"
CANNOT_ENABLE = "Puppet cannot be enabled"
ENABLED = "Puppet enabled"
NO_VERDICT = "Puppet run ended, but its verdict cannot be recorded"
NO_RUNS = "No runs on record yet"
NO_SUCH_RUNS = "No such runs"
NO_SUCH_RUN = "No such run; the last ones are at /puppet/runs"
NO_LOG_OF_PUPPET = "No log of this run: Puppet has started it, and logs where puppet.conf says"
NONE_UNDER_WAY = "No Puppet run is under way"
CANCELLING = "Puppet run was told to stop"
HAS_ENDED = "Puppet run has ended before"
FOREIGN_ENDED = "Puppet run was told to stop, and has ended"
CANNOT_CANCEL = "Puppet run cannot be cancelled"

# In the table for a person at the node.
MIN_DIGITS = 8

# ---- runs


def runs_text(records: list[Record], caller: Caller) -> str:
    """Return runs as this caller may see them, in columns with heads."""
    rows = [["RUN", "BEGAN", "VERDICT", "TOOK", *(["ASKED BY"] if caller.named else [])]]
    local, digits = caller.address == LOCAL, _digits(records)
    for record in records:
        took = "-" if record.duration_s is None else durations.shown(record.duration_s)
        name, began = record.run, _began(record, caller)
        if local:
            name, began = name[:digits], durations.ago(time.time() - (record.started or record.asked))
        row = [name, began, outcome(record) or record.state, took]
        rows.append([*row, *([by(record)] if caller.named else [])])
    if sees_reasons(caller):
        for row, last in zip(rows, ("WHY", *(why(record, caller) for record in records))):
            row.append(last)
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def end(record: Record) -> str:
    """Return what became of a run as the last line of its log says it."""
    return ": ".join(filter(None, (outcome(record), record.reason, record.error)))


def _digits(records: list[Record]) -> int:
    """Return how many digits of their ids tell these runs apart, which a person at the node then types."""
    runs = [record.run for record in records]
    return next((n for n in range(MIN_DIGITS, 32) if len({run[:n] for run in runs}) == len(runs)), 32)


def _began(record: Record, caller: Caller) -> str:
    return when(record.started or record.asked, caller)


def by(record: Record) -> str:
    """Return what has started a run, with the label that the caller has given it."""
    if record.started_by == PUPPET:
        return "Puppet itself"
    caller = record.caller if record.client == LOCAL else f"{record.caller} at {record.client}"
    return f"{caller} ({record.label})" if record.label else caller


def why(record: Record, caller: Caller) -> str:
    """Return the reason and the error of a run, as far as this caller may see them."""
    reason = record.reason if sees_reasons(caller) else None
    error = record.error if sees_logs(caller) else None
    return one_line(": ".join(filter(None, (reason, error))))


def busy(run: Optional[str], record: Optional[Record], status: Optional[NodeStatus], caller: Caller) -> str:
    """Return that Puppet is running; for named callers with the run that has the lock, or takes the queue.

    `record` is that of `run`, the run under way or in the queue. `status` is what root knows of the run under
    way; without it, root has refused a place in the queue, or the answer is a remembered one.
    """
    if not caller.named or not (run or status):
        return RUNNING
    if record and record.started is None:
        waits = f"a different request waits: run {run} of {by(record)}"
        return f"{RUNNING}, and {waits}, since {when(record.asked, caller)}"
    details = [f"run {run} of {by(record)}" if record else f"run {run}" if run else "started elsewhere"]
    since = (status and status.since) or (record and record.started)
    details += [f"since {when(since, caller)}"] if since else []
    details += [f"pid {status.pid}"] if status and status.pid else []
    return f"{RUNNING}: {', '.join(details)}"


def cancelled(record: Record, caller: Caller) -> str:
    """Return what became of a run that was cancelled, with the processes that it has left running."""
    if record.state != FINISHED:
        return CANCELLING
    if record.verdict not in (INTERRUPTED, NOT_ATTEMPTED):
        return f"Puppet run ended before it was told to stop: {outcome(record)}"
    because = why(record, caller)
    return f"Puppet run cancelled: {outcome(record)}{f': {because}' if because else ''}"


def not_ours(status: Optional[NodeStatus], reason: Optional[str], caller: Caller) -> str:
    """Return that the run under way is not one of puppet-twitch, and what ends it."""
    force = "--force" if caller.address == LOCAL else "force=true"
    text = f"The run under way was not started by puppet-twitch; {reason or f'{force} stops it'}"
    if not caller.named or not status:
        return text
    return f"{text} (pid {status.pid}, since {when(status.since, caller)})"


# ---- the node


def held(status: Optional[NodeStatus], reason: Optional[str], caller: Caller) -> str:
    """Return by whom Puppet is disabled, as far as the caller may see it."""
    holds = status.disabled.holds if status and status.disabled else ()
    ours = any(hold.client for hold in holds)
    text = "Puppet is still disabled by others" if ours else "Puppet was not disabled by puppet-twitch"
    return f"{text}: {reason or 'no reason given'}" if sees_reasons(caller) else text


def disabled_until(until: Optional[float], caller: Caller) -> str:
    """Return that Puppet is disabled now, and until when."""
    return (
        "Puppet disabled without an end" if until is None else f"Puppet disabled until {when(until, caller)}"
    )


def status_text(status: NodeStatus, caller: Caller) -> str:
    """Return the state and the last run, with the details that this caller may see."""
    lines = [state(status, caller)]
    if status.last and caller.named:
        lines += _last(status.last, "last run", caller)
        if status.last_whole:
            lines += _last(status.last_whole, "last run without noop and tags", caller)
        if status.failing_since:
            lines.append(f"no success since {when(status.failing_since, caller)}")
    return "\n".join(lines)


def state(status: NodeStatus, caller: Caller) -> str:
    """Return the state on one line, with the details that this caller may see."""
    details = _details(status, caller)
    return f"{status.state}: {', '.join(details)}" if details else status.state


def _details(status: NodeStatus, caller: Caller) -> list[str]:
    details = []
    if status.state == DISABLED and sees_reasons(caller):
        details.append(status.reason or "no reason given")
    if not caller.named:
        return details
    running = _running(status, caller)
    waits = [f"run {status.queued} waits"] if status.queued else []
    if status.state in (QUEUED, DISABLED) and running:  # the state is not about the run under way
        details += [*waits, f"Puppet is running: {running[0]}", *running[1:]]
    else:
        details += [*running, *waits]
    if status.unrecorded:
        details.append(f"run {status.unrecorded} has ended without a record ({status.unrecorded_why})")
    return details


def progress(status: NodeStatus, caller: Caller) -> list[str]:
    """Return how far the run under way is: `applying 574 resources`, `apt-get for 45s`, `usually 35s`."""
    resources = f"{status.resources} resource{'' if status.resources == 1 else 's'}"
    phase = f"{status.phase} {resources}" if status.resources else status.phase
    doing = f"{status.doing.name} for {durations.shown(status.doing.age_s)}" if status.doing else None
    usual = f"usually {durations.shown(status.usual_s)}" if status.usual_s is not None else None
    return [text for text in (phase, doing if caller.named else None, usual) if text]


def _running(status: NodeStatus, caller: Caller) -> list[str]:
    """Return the details of the run under way; none if there is none."""
    if not status.run and not status.pid:
        return []
    details = [f"run {status.run}" if status.run else "started elsewhere"]
    details += [f"pid {status.pid}"] if status.pid else []
    details += [f"since {when(status.since, caller)}"] if status.since else []
    details += progress(status, caller)
    # The run under way is stuck, not the run in the queue, which comes next.
    details += [_stuck(status)] if status.state == STUCK else []
    return details


def _stuck(status: NodeStatus) -> str:
    """Return how old the run is, and what ends it, also if it has been stopped with SIGSTOP."""
    age = f"{durations.shown(status.age_s)} old" if status.age_s is not None else "too old"
    cont = f"kill {status.pid}; kill -CONT {status.pid}"
    return f"{age} (to end it: {f'systemctl stop {status.unit}' if status.unit else cont})"


def complaint(node: NodeStatus, max_age_s: int, caller: Caller) -> Optional[str]:
    """Return a sentence for monitoring if the node needs attention, or None."""
    found, last = trouble(node, caller), node.last
    if found:
        return found
    if not last or not last.ended:
        return "Puppet has not run yet"
    age_s = int(time.time() - last.ended)
    if age_s <= max_age_s:
        return None
    return f"The last Puppet run ended {durations.shown(age_s)} ago, more than {durations.shown(max_age_s)}"


def trouble(node: NodeStatus, caller: Caller) -> Optional[str]:
    """Return a sentence if the agent is disabled, stuck, or failing; else None."""
    if node.state in (DISABLED, STUCK):
        return f"Puppet is {state(node, caller)}"
    for run, name in (
        (node.last, "The last Puppet run"),
        (node.last_whole, "The last run without noop and tags"),
    ):
        if run and run.verdict not in GOOD:
            ending = "failed" if run.verdict == FAILED else f"was {run.verdict}"
            reason = f": {run.reason}" if run.reason and sees_reasons(caller) else ""
            return f"{name} {ending}{reason}"
    return None


def _last(last: LastRun, name: str, caller: Caller) -> list[str]:
    took = f", took {durations.shown(last.duration_s)}" if last.duration_s is not None else ""
    counts = ", ".join(f"{count} {name}" for name, count in last.counts.items() if count)
    # A run that was not attempted has neither.
    details = [f"resources: {counts or 'none'}"] if last.counts else []
    details += [f"environment {last.environment}"] if last.environment else []
    return [
        f"{name}: {outcome(last)}, ended {when(last.ended, caller)}{took}",
        *([f"  {'; '.join(details)}"] if details else []),
        *([f"  reason: {last.reason}"] if last.reason else []),
    ]
