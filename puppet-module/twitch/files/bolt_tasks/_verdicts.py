# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""What a record of a run means: whether it is good, whether it has changed the node, and what it has done.

This file is private. The Ansible collection and the Bolt tasks of the Puppet module have the same copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._answers import Answer

GOOD = ("unchanged", "changed")
MAX_LINES = 50  # of a diff

# field of the record -> name in the result. A field that the caller may not see is missing in both.
FIELDS = {
    "run": "run",
    "verdict": "verdict",
    "counts": "counts",
    "would_change": "would_change",
    "duration_s": "duration",
    "environment": "environment",
    "configuration_version": "configuration_version",
    "label": "label",
    "reason": "reason",
    "error": "error",
    "resources": "resources",
    "resources_left_out": "resources_left_out",
}


def result(answer: Answer) -> dict[str, Any]:
    """Return what the modules and tasks return for a run that has ended."""
    record = answer.fields
    values = {name: record[field] for field, name in FIELDS.items() if record.get(field) is not None}
    values["noop"] = bool(record.get("noop"))
    values["reported"] = not record.get("unreported")
    values["outcome"] = outcome(record)
    values["changed"] = values["outcome"] in ("changed", "pending")
    return values


def outcome(record: Mapping[str, Any]) -> str:
    """Return the verdict, or `pending` for a noop run without changes that would change something."""
    verdict = str(record.get("verdict"))
    pending = record.get("noop_pending") or record.get("would_change")
    return "pending" if verdict == "unchanged" and record.get("noop") and pending else verdict


def lines(record: Mapping[str, Any]) -> list[str]:
    """Return a line for each event of a run: outcome, resource, property, place, and Puppet's message."""
    shown = []
    for resource in record.get("resources") or ():
        place = f" ({resource['file']}:{resource.get('line')})" if resource.get("file") else ""
        for event in resource.get("events") or ({},):
            property_name = f" {event['property']}" if event.get("property") else ""
            message = f": {event['message']}" if event.get("message") else ""
            shown.append(
                f"{resource.get('outcome')} {resource.get('resource')}{property_name}{place}{message}"
            )
    left_out = len(shown) - MAX_LINES
    return [*shown[:MAX_LINES], f"{left_out} more"] if left_out > 0 else shown


def disabled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an answer of a node says about who has disabled Puppet, as far as the caller may see it."""
    hold = fields.get("disabled") or {}
    values = {
        "reason": hold.get("reason"),
        "disabled_by": hold.get("by"),
        "disabled_until": hold.get("until"),
    }
    return {"disabled": True, **{name: value for name, value in values.items() if value}}
