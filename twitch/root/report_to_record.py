"""The fields of a record that come from Puppet's report: the one place where a report becomes a record."""

from __future__ import annotations

import json
from typing import Any, Optional

from twitch.records import FAILED, FINISHED, PUPPET, RUN_ID, Record
from twitch.resources import Resource
from twitch.root import verdict
from twitch.root.report import Report, Summary

MAX_RESOURCES = 200
# The limit of all resources in the file of a record. A resource with one event has about 400 bytes.
MAX_BYTES = 96 * 1024


def with_report(record: Record, report: Report) -> Record:
    """Return the record with the fields of Puppet's report."""
    resources = _bounded(report.resources)
    return record._replace(
        noop=report.noop,
        noop_pending=report.noop_pending,
        environment=report.environment,
        cached_catalog_status=report.cached_catalog_status,
        counts=report.counts,
        would_change=report.would_change,
        failed_resources=report.failed_resources,
        configuration_version=report.configuration_version,
        transaction_uuid=report.transaction_uuid,
        puppet_version=report.puppet_version,
        server_used=report.server_used,
        corrective_change=report.corrective_change,
        events=report.events,
        phases_s=report.phases_s,
        resources=resources,
        resources_left_out=report.resources_left_out + len(report.resources) - len(resources),
    )


def with_summary(record: Record, summary: Summary) -> Record:
    """Return the record with the fields of Puppet's summary, where a site keeps no reports."""
    return record._replace(
        counts=summary.counts,
        would_change=summary.would_change,
        environment=summary.environment,
        configuration_version=summary.configuration_version,
        puppet_version=summary.puppet_version,
        events=summary.events,
        phases_s=summary.phases_s,
    )


def of_puppet(report: Report) -> Optional[Record]:
    """Return the record of a run that Puppet has started itself; None if its report has no id.

    Its id is that of the report in PuppetDB, without dashes: of the form of an id of ours.
    """
    run = (report.transaction_uuid or "").replace("-", "").lower()
    if not RUN_ID.fullmatch(run):
        return None
    began = report.began or 0.0
    word, reason = verdict.from_report(report)
    record = Record(
        run,
        FINISHED,
        asked=began,
        started_by=PUPPET,
        started=began,
        ended=report.ended,
        duration_s=report.duration_s,
        verdict=word,
        reason=reason,
        unreported=False,
        error=report.error if word == FAILED else None,
    )
    return with_report(record, report)


def _bounded(resources: tuple[Resource, ...]) -> tuple[Resource, ...]:
    """Return the first of these resources that fit into a record; the last ones perhaps without events."""
    kept: list[Resource] = []
    room = MAX_BYTES
    for resource in resources[:MAX_RESOURCES]:
        for one in (resource, resource._replace(events=())):
            size = _size(one.to_json())
            if size <= room:
                kept.append(one)
                room -= size
                break
        else:
            break
    return tuple(kept)


def _size(value: dict[str, Any]) -> int:
    return len(json.dumps(value)) + len(", ")
