"""What is Puppet doing, and what became of its last run, whoever started it?"""

from __future__ import annotations

import time
from typing import Any, Optional

from twitch import locks, report
from twitch.node import Node
from twitch.runs import FAILED
from twitch.verdict import from_summary


def look(node: Node) -> dict[str, Any]:
    """Return the status as it goes into the packet. Times are epoch seconds, ages seconds.

    `state` is one of idle, running, queued (one runs, another waits), disabled, stuck. A node that
    is disabled while it still runs is disabled: that is what the next trigger would hear.
    """
    current, queued = node.store.current(), node.store.queued()
    ours = current if current and current.alive else None
    holder, reason = node.lock_holder(), node.disabled()
    record = node.store.read(ours.run) if ours else None
    found: dict[str, Any] = {
        "state": "idle",
        "run": ours.run if ours else None,
        "queued": queued.run if queued else None,
        "since": record.get("started") if record else None,
        "reason": reason,
        "pid": ours.pid if ours else None,
        "last": _last(node),
    }
    if holder and not ours:
        found.update(pid=holder.pid, since=time.time() - holder.age_s)
    if ours or holder:
        found["state"] = "running"
    if queued:
        found["state"] = "queued"
    if holder and locks.is_stuck(holder, node.settings.runtimeout_s):
        found.update(state="stuck", age_s=holder.age_s)
    if reason is not None:
        found["state"] = "disabled"
    return found


def _last(node: Node) -> Optional[dict[str, Any]]:
    """The last run by Puppet's report, or by its summary where a site keeps no reports."""
    told = report.read(node.settings.lastrunreport)
    brief = report.read_summary(node.settings.lastrunfile)
    if brief and brief.last_run and (told is None or brief.last_run > (told.ended or 0) + 1):
        return {
            "verdict": from_summary(brief),
            "ended": brief.last_run,
            "duration_s": brief.duration_s,
            "counts": brief.counts,
            "environment": brief.environment,
        }
    if told is None:
        return None
    return {
        "verdict": told.status if told.transaction_completed else FAILED,
        "ended": told.ended,
        "duration_s": told.duration_s,
        "counts": told.counts,
        "environment": told.environment,
        "cached_catalog_status": told.cached_catalog_status,
        "noop": told.noop,
        "noop_pending": told.noop_pending,
    }
