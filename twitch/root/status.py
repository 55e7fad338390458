"""What is Puppet doing, and what became of its last run, whoever started it?"""

from __future__ import annotations

import time
from typing import Any, Optional

from twitch.root import locks, report
from twitch.root.node import Node
from twitch.root.verdict import from_summary
from twitch.runs import BUSY, FAILED, FINISHED

# Of a record, what a status says about the last run.
TOLD = (
    *("verdict", "reason", "ended", "duration_s", "counts", "environment", "cached_catalog_status"),
    *("noop", "noop_pending", "unreported"),
)


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
    if record and not holder:  # not yet, or never: `puppet apply` locks nothing
        holder = locks.Holder(found["pid"], max(0, int(time.time() - (record.get("started") or 0))))
    if holder and locks.is_stuck(holder, node.settings.runtimeout_s):
        found.update(state="stuck", age_s=holder.age_s)
    if reason is not None:
        found["state"] = "disabled"
    return found


def _last(node: Node) -> Optional[dict[str, Any]]:
    """The last run, whoever started it: of one of ours our verdict, which knows more than a report."""
    found = _by_puppet(node)
    ended_runs = (one for one in node.store.newest() if one["state"] == FINISHED and one.get("started"))
    ours = next((one for one in ended_runs if one.get("verdict") != BUSY), None)
    if ours is None or (found and (found["ended"] or 0) > (ours.get("ended") or 0)):
        return found
    told = {name: ours[name] for name in TOLD if name in ours}
    return {"ended": None, "duration_s": None, "counts": {}, "environment": None, **told}


def _by_puppet(node: Node) -> Optional[dict[str, Any]]:
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
