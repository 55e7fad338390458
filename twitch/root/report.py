"""Read what Puppet wrote about a run: its report and its summary."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

from twitch.records import EVENTS
from twitch.resources import Resource
from twitch.root import error_text, files, plain_yaml, report_json, report_yaml, values
from twitch.root.report_content import Content

STATUSES = ("unchanged", "changed", "failed")
COUNTS = ("total", "changed", "failed", "failed_to_restart", "skipped", "out_of_sync", "corrective_change")
# The stages of a run that leave their time in its report, in this order. After the first one, the catalog is
# requested; the second one converts a catalog that has arrived (lib/puppet/configurer.rb, 7.23 and 8.10).
FACTS, CATALOG, APPLIED = STAGES = ("fact_generation", "convert_catalog", "catalog_application")

# What a run spends its time on, in this order, and the record says. Puppet does not name the rest.
PHASES = (
    "startup_time",
    "plugin_sync",
    FACTS,
    "node_retrieval",
    "config_retrieval",
    CATALOG,
    APPLIED,
)

# Enough for a report with 100,000 resources. A report is read in pieces, so this bounds the time: 1 s.
MAX_REPORT_BYTES = 64 * 1024 * 1024


class Report(NamedTuple):
    """The fields of a report that say what became of a run."""

    job_id: Optional[str]
    status: str  # one of STATUSES
    transaction_completed: bool
    noop: bool
    noop_pending: bool
    environment: Optional[str]
    cached_catalog_status: Optional[str]  # not_used, explicitly_requested, on_failure
    began: Optional[float]  # epoch seconds
    duration_s: Optional[float]
    counts: dict[str, int]  # of resources, by COUNTS
    failed_resources: tuple[str, ...]  # the first MAX_NAMED
    would_change: Optional[int] = None  # the resources that noop has kept from changing
    stages: tuple[str, ...] = ()  # of STAGES
    error: Optional[str] = None  # the text that says why the run failed
    error_sources: tuple[str, ...] = ()  # resources with errors that belong to none of their changes
    configuration_version: Optional[str] = None
    transaction_uuid: Optional[str] = None
    puppet_version: Optional[str] = None
    server_used: Optional[str] = None
    corrective_change: bool = False
    events: Mapping[str, int] = {}  # by EVENTS
    phases_s: Mapping[str, float] = {}  # by PHASES
    resources: tuple[Resource, ...] = ()  # those that are not as they should be, failed ones first
    resources_left_out: int = 0

    @property
    def ended(self) -> Optional[float]:
        """Return the end of the run in epoch seconds, or None if its beginning is not known."""
        return None if self.began is None else self.began + (self.duration_s or 0.0)


def read(path: str) -> Optional[Report]:
    """Return the report in a file; None if there is none, or it cannot be read, or is not a whole report.

    A site can have reports in JSON in a file of the same name (routes.yaml).
    """
    try:
        with files.open_foreign(path, MAX_REPORT_BYTES) as file:
            first = file.read(1)
            file.seek(0)
            if first == b"{":
                content = report_json.read(file, MAX_REPORT_BYTES)
            else:
                content = report_yaml.read(file, MAX_REPORT_BYTES)
    except (OSError, MemoryError):
        return None
    return _report(content) if content else None


def _report(content: Content) -> Optional[Report]:
    top = content.top
    if top.get("status") not in STATUSES:
        return None
    times, counts = content.metrics["time"], _counts(content.metrics["resources"])
    pending = top.get("noop_pending") == "true"
    return Report(
        job_id=top.get("job_id") or None,
        status=top["status"],
        transaction_completed=top.get("transaction_completed") == "true",
        noop=top.get("noop") == "true",
        noop_pending=pending,
        environment=top.get("environment") or None,
        cached_catalog_status=top.get("cached_catalog_status") or None,
        began=epoch(top.get("time", "")),
        duration_s=times.get("total"),
        counts=counts,
        failed_resources=tuple(content.failed),
        would_change=_would_change(counts) if pending else None,
        stages=tuple(stage for stage in STAGES if stage in times),
        error=error_text.joined([content.failure] if content.failure else content.errors),
        error_sources=tuple(content.sources),
        configuration_version=_short(top, "configuration_version"),
        transaction_uuid=_short(top, "transaction_uuid"),
        puppet_version=_short(top, "puppet_version"),
        server_used=_short(top, "server_used"),
        corrective_change=top.get("corrective_change") == "true",
        events=_events(content.metrics["events"]),
        phases_s=_phases(times),
        resources=tuple(resource for resources in content.resources.values() for resource in resources),
        resources_left_out=content.resources_left_out,
    )


class Summary(NamedTuple):
    """`last_run_summary.yaml`: all that Puppet leaves where a site has set `report = false`."""

    last_run: Optional[float]  # epoch seconds
    completed: bool  # Puppet went through the whole catalog
    environment: Optional[str]
    duration_s: Optional[float]
    counts: dict[str, int]
    would_change: Optional[int] = None
    stages: tuple[str, ...] = ()  # of STAGES
    configuration_version: Optional[str] = None
    puppet_version: Optional[str] = None
    events: Mapping[str, int] = {}  # by EVENTS
    phases_s: Mapping[str, float] = {}  # by PHASES


def read_summary(path: str) -> Optional[Summary]:
    """Return the summary in a file; None if there is none, or it cannot be read, or is not a summary."""
    try:
        text = files.read_foreign(path, plain_yaml.MAX_YAML_CHARS).decode("utf-8", "replace")
        content = plain_yaml.load(text)
    except (OSError, MemoryError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("time") or {}, dict):
        return None
    times, counts = values.mapping(content.get("time")), _counts(values.mapping(content.get("resources")))
    events, version = values.mapping(content.get("events")), values.mapping(content.get("version"))
    pending = values.number(events.get("noop"))
    return Summary(
        last_run=values.number(times.get("last_run")),
        # Puppet measures the whole transaction, so this time is missing if the transaction was stopped (seen
        # with 7.23 and 8.10, and SIGTERM).
        completed="transaction_evaluation" in times,
        environment=values.text(values.mapping(content.get("application")).get("converged_environment")),
        duration_s=values.number(times.get("total")),
        counts=counts,
        would_change=_would_change(counts) if pending else None,
        stages=tuple(stage for stage in STAGES if stage in times),
        configuration_version=_short(version, "config"),
        puppet_version=_short(version, "puppet"),
        events=_events(events),
        phases_s=_phases(times),
    )


def written_since(path: str, moment: float) -> bool:
    """Return whether a file or a directory was written at or after a moment (epoch seconds)."""
    try:
        return os.stat(path).st_mtime >= moment
    except OSError:
        return False


def epoch(text: str) -> Optional[float]:
    """Return an ISO 8601 time in epoch seconds, or None if it is not one.

    Puppet writes nanoseconds, Python 3.9 reads microseconds.
    """
    try:
        return datetime.datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]*", r"\1", text)).timestamp()
    except (ValueError, OverflowError):
        return None


def _counts(resources: dict[Any, Any]) -> dict[str, int]:
    return {name: int(values.number(resources.get(name)) or 0) for name in COUNTS}


def _events(metric: Mapping[Any, Any]) -> dict[str, int]:
    return {status: int(values.number(metric.get(status)) or 0) for status in EVENTS}


def _phases(times: Mapping[Any, Any]) -> dict[str, float]:
    found = ((phase, values.number(times.get(phase))) for phase in PHASES)
    return {phase: round(seconds, 3) for phase, seconds in found if seconds is not None}


def _short(texts: Mapping[Any, Any], name: str) -> Optional[str]:
    """Return a text with a bounded length and on one line; None if it is empty, or no text."""
    found = values.text(texts.get(name))
    return error_text.name(found) or None if found else None


def _would_change(counts: dict[str, int]) -> int:
    """Return how many resources noop has kept from changing, of a run in which it has done so at least once.

    A resource that has changed, or has failed to, was out of sync as well (seen with 7.23 and 8.10).
    """
    return max(1, counts["out_of_sync"] - counts["changed"] - counts["failed"])
