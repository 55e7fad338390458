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
from typing import Any, NamedTuple, Optional

import yaml

# A key of the report itself: at column 0, before its value or an indented block.
TOP_LEVEL = re.compile(r"([a-z_]+):(?: (.*))?$")
# Two lines of each entry in resource_statuses, in this order.
RESOURCE, FAILED = "    resource: ", "    failed: true\n"
COUNTS = ("total", "changed", "failed", "failed_to_restart", "skipped", "out_of_sync", "corrective_change")

# A reader wants to know what failed, not the whole list: that is in the report.
MAX_FAILED_NAMED = 20
MAX_ERROR_CHARS = 500
# An error that matters is among the first lines of level err; Puppet's log may be 50 MB.
MAX_LOG_BYTES = 4 * 1024 * 1024


class Report(NamedTuple):
    """The fields of a report that tell what became of a run."""

    job_id: Optional[str]
    status: str  # unchanged, changed, failed
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
    top: dict[str, str] = {}
    metrics: list[str] = []
    failed: list[str] = []
    section, resource = "", ""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if not line.startswith((" ", "-", "\n")):
                    key = TOP_LEVEL.match(line)
                    section = key[1] if key else ""
                    if key:
                        top[section] = (key[2] or "").strip()
                elif section == "metrics":
                    metrics.append(line)
                elif section == "resource_statuses":
                    if line.startswith(RESOURCE):
                        resource = str(_scalar(line[len(RESOURCE) :].strip()))
                    elif line == FAILED:
                        failed.append(resource)
    except OSError:
        return None
    if "status" not in top:
        return None
    values = {key: _scalar(text) for key, text in top.items()}
    counted = _metrics(metrics)
    return Report(
        job_id=_unquoted(top.get("job_id")),
        status=str(values["status"]),
        transaction_completed=values.get("transaction_completed") is True,
        noop=values.get("noop") is True,
        noop_pending=values.get("noop_pending") is True,
        environment=_unquoted(top.get("environment")),
        cached_catalog_status=_unquoted(top.get("cached_catalog_status")),
        began=epoch(_unquoted(top.get("time")) or ""),
        duration_s=_number(counted.get("time", {}).get("total")),
        counts={name: int(counted.get("resources", {}).get(name) or 0) for name in COUNTS},
        failed_resources=tuple(failed[:MAX_FAILED_NAMED]),
    )


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
            content = yaml.safe_load(file)
    except (OSError, yaml.YAMLError):
        return None
    if not isinstance(content, dict):
        return None
    times, resources = _mapping(content.get("time")), _mapping(content.get("resources"))
    return Summary(
        last_run=_number(times.get("last_run")),
        # Measured around the whole transaction, so it is there only if that came to its end (seen with
        # 7.23 and 8.10, stopped by SIGTERM).
        completed="transaction_evaluation" in times,
        environment=_text(_mapping(content.get("application")).get("converged_environment")),
        duration_s=_number(times.get("total")),
        counts={name: int(_number(resources.get(name)) or 0) for name in COUNTS},
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
        moment = datetime.datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]*", r"\1", text))
    except ValueError:
        return None
    return moment.timestamp()


def _metrics(lines: list[str]) -> dict[str, dict[str, Any]]:
    """The block `metrics:` as {"resources": {"changed": 3, …}, "time": {"total": 2.1, …}}."""
    try:
        content = _mapping(yaml.safe_load("".join(lines)))
        return {
            str(name): {str(key): value for key, _, value in _mapping(metric)["values"]}
            for name, metric in content.items()
        }
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        return {}  # cut short: the verdict does not need it


def _scalar(text: str) -> object:
    if not text or text[0] in "!&*{[|>":
        return None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


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
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
