"""What became of a run: Puppet's report, its summary, and the errors in its log.

The report carries one Ruby tag at its top, which no safe YAML loader takes, and with 1,500
resources it is 2 MB: 4.4 s of PyYAML against 7 ms of reading lines. Its top-level keys stand at
column 0, so the few that matter are cut out and only those are parsed.
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
# Two lines of each entry in resource_statuses, in this order; a long title goes on in lines of its own.
RESOURCE, CONTINUED, FAILED = "    resource: ", "      ", "    failed: true\n"
STATUSES = ("unchanged", "changed", "failed")
COUNTS = ("total", "changed", "failed", "failed_to_restart", "skipped", "out_of_sync", "corrective_change")

# A reader wants to know what failed, not the whole list: that is in the report.
MAX_FAILED_NAMED = 20
MAX_NAME_CHARS = 200
MAX_ERROR_CHARS = 500
# An error that matters is among the first lines of level err; Puppet's log may be 50 MB.
MAX_LOG_BYTES = 4 * 1024 * 1024
# Its list of times has a line for each type of resource.
MAX_SUMMARY_CHARS = 64 * 1024


class Report(NamedTuple):
    """The fields of a report that tell what became of a run."""

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
        """Epoch seconds."""
        return None if self.began is None else self.began + (self.duration_s or 0.0)


def read(path: str) -> Optional[Report]:
    """Return the report in a file; None if there is none, or it is cut short or not a report."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            top, metrics, failed, whole = _scan(file)
    except OSError:
        return None
    status = _unquoted(top.get("status"))
    if status not in STATUSES or not whole:
        return None
    counted = _metrics(metrics)
    return Report(
        job_id=_unquoted(top.get("job_id")),
        status=status,
        transaction_completed=top.get("transaction_completed") == "true",
        noop=top.get("noop") == "true",
        noop_pending=top.get("noop_pending") == "true",
        environment=_unquoted(top.get("environment")),
        cached_catalog_status=_unquoted(top.get("cached_catalog_status")),
        began=epoch(_unquoted(top.get("time")) or ""),
        duration_s=_number(counted.get("time", {}).get("total")),
        counts=_counts(counted.get("resources", {})),
        failed_resources=tuple(failed),
    )


def _scan(lines: Iterable[str]) -> tuple[dict[str, str], list[str], list[str], bool]:
    """Return the top-level values, the lines of `metrics`, who failed, and whether the last line is whole."""
    top: dict[str, str] = {}
    metrics: list[str] = []
    failed: list[str] = []
    section, resource, goes_on, line = "", "", False, ""
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
                resource, goes_on = line, True
            elif goes_on and line.startswith(CONTINUED):
                resource += line
            else:
                goes_on = False
                if line == FAILED and len(failed) < MAX_FAILED_NAMED:
                    failed.append(_name(resource))
    return top, metrics, failed, line.endswith("\n")


class Summary(NamedTuple):
    """`last_run_summary.yaml`: what is left where a site has set `report = false`."""

    last_run: Optional[float]  # epoch seconds
    completed: bool  # Puppet went through the whole catalog
    environment: Optional[str]
    duration_s: Optional[float]
    counts: dict[str, int]


def read_summary(path: str) -> Optional[Summary]:
    """Return the summary in a file, or None if there is none that can be read."""
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
        # Measured around the whole transaction, so it is there only if that came to its end (seen with
        # 7.23 and 8.10, stopped by SIGTERM).
        completed="transaction_evaluation" in times,
        environment=_text(_mapping(content.get("application")).get("converged_environment")),
        duration_s=_number(times.get("total")),
        counts=_counts(_mapping(content.get("resources"))),
    )


def first_error(log: str) -> Optional[str]:
    """Return the first error in Puppet's structured log, on one line; None if it has none.

    For people only: the text is translated and changes between versions.
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
    """Whether a file was written after this moment (epoch seconds)."""
    try:
        return os.stat(path).st_mtime >= moment
    except OSError:
        return False


def epoch(text: str) -> Optional[float]:
    """Epoch seconds of an ISO 8601 time; Puppet writes nanoseconds, Python 3.9 reads microseconds."""
    try:
        return datetime.datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]*", r"\1", text)).timestamp()
    except (ValueError, OverflowError):
        return None


def _metrics(lines: list[str]) -> dict[str, dict[str, Any]]:
    """The block `metrics:` as {"resources": {"changed": 3, …}, "time": {"total": 2.1, …}}."""
    try:
        return {
            str(name): {str(key): value for key, _, value in _mapping(metric)["values"]}
            for name, metric in _mapping(_yaml("".join(lines))).items()
        }
    except (KeyError, TypeError, ValueError):
        return {}  # cut short: the verdict does not need it


def _counts(resources: dict[Any, Any]) -> dict[str, int]:
    return {name: int(_number(resources.get(name)) or 0) for name in COUNTS}


def _name(lines: str) -> str:
    """The name of a resource, on one line however its title was written."""
    name = _mapping(_yaml(lines)).get("resource")
    return " ".join(str(name or lines.partition(":")[2]).split())[:MAX_NAME_CHARS]


def _yaml(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: the 30th of February
        return None


def _unquoted(text: Optional[str]) -> Optional[str]:
    """A plain word as it stands: YAML would make a number of a job id like 123e4567."""
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
