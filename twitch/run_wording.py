"""One run as text: what a person wants to know first, and what happened to its resources."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Optional

from twitch import durations, wording
from twitch.caller import Caller
from twitch.node_status import NodeStatus
from twitch.records import FINISHED, INTERRUPTED, QUEUED, Record, marks
from twitch.texts import one_line
from twitch.views import sees_logs, sees_reasons, status_fields, when

if TYPE_CHECKING:
    from twitch.resources import Resource

# The width up to which names of resources are aligned.
MAX_NAME_WIDTH = 50
# Silence in a log is interrupted by what is known of the run (`so_far`): that keeps connections alive where a
# router or a proxy forgets idle ones (nginx after 60 s, HAProxy often after 30), finds clients that have
# left, and answers a question.
FIRST_SILENCE_S = 10
SILENCE_S = 30

# The fields of the status that say how far a run is.
PROGRESS = ("phase", "resources", "usual_s", "doing")


def run_text(record: Record, caller: Caller) -> str:
    """Return a run as this caller may see it: first what became of it, last which run it is."""
    why = wording.why(record, caller)
    lines = [headline(record, caller), *([f"  {why}"] if why and not _says_why(record, caller) else [])]
    if sees_reasons(caller):
        lines += _resources(record.resources or (), messages=sees_logs(caller))
        if record.resources_left_out:
            lines.append(f"  and {record.resources_left_out} more")
    began = (
        f"began {when(record.started, caller)}"
        if record.started
        else f"asked for {when(record.asked, caller)}"
    )
    by = f" by {wording.by(record)}" if caller.named else ""
    return "\n".join([*lines, f"run {record.run}{by}, {began}"])


def so_far(record: Record, status: Optional[NodeStatus], caller: Caller) -> tuple[str, dict[str, object]]:
    """Return what this caller may see of a run that has not ended, as text and as fields."""
    elapsed_s = max(0, int(time.time() - (record.started or record.asked)))
    fields: dict[str, object] = {"state": record.state, "elapsed_s": elapsed_s}
    if record.state == QUEUED:
        return f"{durations.shown(elapsed_s)}: queued, because another run is under way", fields
    known = wording.progress(status, caller) if status else []
    if status:
        shown = status_fields(status, caller)
        fields.update({name: shown[name] for name in PROGRESS if name in shown})
    return f"{durations.shown(elapsed_s)}: {'; '.join(known) or record.state}", fields


def headline(record: Record, caller: Caller) -> str:
    """Return what became of a run, on one line."""
    word = (record.verdict or record.state) if record.state == FINISHED else record.state
    marked = marks(record)
    if record.state != FINISHED and record.options.noop and caller.named:
        marked = ("noop",)
    details = [durations.shown(record.duration_s)] if record.duration_s is not None else []
    environment = record.environment or (record.options.environment if record.state != FINISHED else None)
    if environment and caller.named:
        details.append(f"environment {environment}")
    counted = _counted(record)
    return "".join(
        (
            word,
            f" ({', '.join(marked)})" if marked else "",
            f": {counted}" if counted else "",
            f"; {', '.join(details)}" if details else "",
        )
    )


def _counted(record: Record) -> str:
    """Return the numbers of resources: `1 resource failed, 3 changed, 570 as they should be`.

    The report of an interrupted run has only the resources that Puppet has reached, and counts the one that
    it was at among those without a change.
    """
    counts = record.counts or {}
    total, to_restart = counts.get("total", 0), counts.get("failed_to_restart", 0)
    numbers = {
        f"failed ({to_restart} to restart)" if to_restart else "failed": counts.get("failed", 0),
        "changed": counts.get("changed", 0),
        "would change": record.would_change or 0,
        "skipped": counts.get("skipped", 0),
    }
    fine = max(0, total - sum(numbers.values()))
    if not total:
        return ""
    interrupted = record.verdict == INTERRUPTED
    if fine == total:
        return f"{_resources_of(total)}{' reached' if interrupted else ', all as they should be'}"
    parts = [(number, what) for what, number in numbers.items() if number]
    parts += [(fine, "more reached" if interrupted else "as they should be")] if fine else []
    first, *more = parts
    return ", ".join(
        (f"{_resources_of(first[0])} {first[1]}", *(f"{number} {what}" for number, what in more))
    )


def _says_why(record: Record, caller: Caller) -> bool:
    """Return whether the lines of the resources say all that the reason and the error do."""
    return sees_logs(caller) and any(
        resource.resource == record.reason and event.message == record.error
        for resource in record.resources or ()
        for event in resource.events
    )


def _resources_of(number: int) -> str:
    return f"{number} resource{'' if number == 1 else 's'}"


def _resources(resources: tuple[Resource, ...], *, messages: bool) -> list[str]:
    """Return a line for each resource, and with `messages` what Puppet says of it."""
    rows = [
        (
            resource.outcome,
            resource.resource,
            ", ".join(dict.fromkeys(event.property for event in resource.events if event.property)),
            _place(resource),
            "corrective" if resource.corrective else "",
        )
        for resource in resources
    ]
    widths = [min(MAX_NAME_WIDTH, max(map(len, column))) for column in zip(*rows)]
    lines = []
    for resource, row in zip(resources, rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths))
        lines.append(one_line(f"  {'  '.join(cells)}".rstrip()))
        if messages:
            lines += [f"      {one_line(event.message)}" for event in resource.events if event.message]
    return lines


def _place(resource: Resource) -> str:
    line = f":{resource.line}" if resource.line is not None else ""
    return f"{resource.file}{line}" if resource.file else ""
