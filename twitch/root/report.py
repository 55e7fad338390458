"""Read what Puppet wrote about a run: its report, its summary, and the first error in its log.

The report has a Ruby tag at its top, which no safe YAML loader accepts, and with 1,500 resources it is
2 MB: 4.4 s with PyYAML, 7 ms line by line. Its top-level keys stand at column 0, so the few that matter
are cut out, and only those are parsed.
"""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, Optional

import yaml

# A key of the report itself: at column 0, before its value or an indented block.
TOP_LEVEL = re.compile(r"([a-z_]+):(?: (.*))?$")
# Two lines of each entry in resource_statuses, in this order; a long title continues in lines of its own.
RESOURCE, CONTINUED, FAILED = "    resource: ", "      ", "    failed: true\n"
STATUSES = ("unchanged", "changed", "failed")
COUNTS = ("total", "changed", "failed", "failed_to_restart", "skipped", "out_of_sync", "corrective_change")

# Enough to see what failed; the whole list is in the report.
MAX_FAILED_NAMED = 20
MAX_NAME_CHARS = 200
MAX_ERROR_CHARS = 500
# The first error is usually near the beginning; Puppet's log may be 50 MB.
MAX_LOG_BYTES = 4 * 1024 * 1024
# The summary's list of times has a line for each type of resource.
MAX_SUMMARY_CHARS = 64 * 1024


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
    failed_resources: tuple[str, ...]  # the first MAX_FAILED_NAMED

    @property
    def ended(self) -> Optional[float]:
        """Return the end of the run in epoch seconds, or None if its beginning is not known."""
        return None if self.began is None else self.began + (self.duration_s or 0.0)


def read(path: str) -> Optional[Report]:
    """Return the report in a file; None if there is no file, or it is cut short or not a report."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            top, metrics, failed, whole = _scan(file)
    except OSError:
        return None
    status = _unquoted(top.get("status"))
    if status not in STATUSES or not whole:
        return None
    values = _metrics(metrics)
    return Report(
        job_id=_unquoted(top.get("job_id")),
        status=status,
        transaction_completed=top.get("transaction_completed") == "true",
        noop=top.get("noop") == "true",
        noop_pending=top.get("noop_pending") == "true",
        environment=_unquoted(top.get("environment")),
        cached_catalog_status=_unquoted(top.get("cached_catalog_status")),
        began=epoch(_unquoted(top.get("time")) or ""),
        duration_s=_number(values.get("time", {}).get("total")),
        counts=_counts(values.get("resources", {})),
        failed_resources=tuple(failed),
    )


def _scan(lines: Iterable[str]) -> tuple[dict[str, str], list[str], list[str], bool]:
    """Return the top-level values, the lines of `metrics`, the failed resources, and whether the last line is
    whole."""
    top: dict[str, str] = {}
    metrics: list[str] = []
    failed: list[str] = []
    section, resource, continues, line = "", "", False, ""
    for line in lines:
        if not line.startswith((" ", "-", "\n")):
            key = TOP_LEVEL.match(line)
            section = key[1] if key else ""
            if key:
                top[section] = (key[2] or "").strip()
        elif section == "metrics":
            metrics.append(line)
        elif section == "resource_statuses":
            if line.startswith(RESOURCE):
                resource, continues = line, True
            elif continues and line.startswith(CONTINUED):
                resource += line
            else:
                continues = False
                if line == FAILED and len(failed) < MAX_FAILED_NAMED:
                    failed.append(_name(resource))
    return top, metrics, failed, line.endswith("\n")


class Summary(NamedTuple):
    """`last_run_summary.yaml`: all that Puppet leaves where a site has set `report = false`."""

    last_run: Optional[float]  # epoch seconds
    completed: bool  # Puppet went through the whole catalog
    environment: Optional[str]
    duration_s: Optional[float]
    counts: dict[str, int]


def read_summary(path: str) -> Optional[Summary]:
    """Return the summary in a file; None if there is no file, or it is not a summary."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            content = _yaml(file.read(MAX_SUMMARY_CHARS))
    except OSError:
        return None
    if not isinstance(content, dict):
        return None
    times = _mapping(content.get("time"))
    return Summary(
        last_run=_number(times.get("last_run")),
        # Puppet measures the whole transaction, so this time is missing if the transaction was stopped (seen
        # with 7.23 and 8.10, and SIGTERM).
        completed="transaction_evaluation" in times,
        environment=_text(_mapping(content.get("application")).get("converged_environment")),
        duration_s=_number(times.get("total")),
        counts=_counts(_mapping(content.get("resources"))),
    )


def first_error(log: str) -> Optional[str]:
    """Return the first error in Puppet's structured log, on one line; None if the log has no error.

    It is for people only: the text is translated, and changes between versions.
    """
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            for line in file.readlines(MAX_LOG_BYTES):
                if '"err"' in line or '"crit"' in line or '"alert"' in line or '"emerg"' in line:
                    entry = _mapping(_json(line))
                    if entry.get("level") in ("err", "crit", "alert", "emerg"):
                        return " ".join(str(entry.get("message", "")).split())[:MAX_ERROR_CHARS]
    except OSError:
        pass
    return None


def written_since(path: str, moment: float) -> bool:
    """Return whether a file was written at or after a moment (epoch seconds)."""
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


def _metrics(lines: list[str]) -> dict[str, dict[str, Any]]:
    """Return the block `metrics:` as {"resources": {"changed": 3, …}, "time": {"total": 2.1, …}}."""
    try:
        return {
            str(name): {str(key): value for key, _, value in _mapping(metric)["values"]}
            for name, metric in _mapping(_yaml("".join(lines))).items()
        }
    except (KeyError, TypeError, ValueError):
        return {}  # invalid or cut short: the verdict does not need it


def _counts(resources: dict[Any, Any]) -> dict[str, int]:
    return {name: int(_number(resources.get(name)) or 0) for name in COUNTS}


def _name(lines: str) -> str:
    """Return the name of a resource on one line, however Puppet has written its title."""
    name = _mapping(_yaml(lines)).get("resource")
    return " ".join(str(name or lines.partition(":")[2]).split())[:MAX_NAME_CHARS]


def _yaml(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: the 30th of February
        return None


def _unquoted(text: Optional[str]) -> Optional[str]:
    """Return a plain word without its quotes. YAML would read a job id like 123e4567 as a number."""
    return text.strip("'\"") or None if text else None


def _json(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _mapping(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> Optional[str]:
    return value if isinstance(value, str) else None if value is None else str(value)


def _number(value: object) -> Optional[float]:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 1e15:
        return None  # no time or count of Puppet's is that large, or not a number
    return float(value)
