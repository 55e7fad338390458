"""The metrics of a node, in the text form that Prometheus scrapes and node_exporter reads (0.0.4).

Both `/metrics` and the textfile come from `text`. Moments are epoch seconds and never ages, because a
textfile is read long after it was written. No label has a reason, a run, a resource or a version of a
catalog, because each value would be a new time series, on each node of a fleet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Optional

import twitch
from twitch.node_status import NODE_STATES
from twitch.records import CHANGED, EVENTS, FAILED, GOOD, INTERRUPTED, NOT_ATTEMPTED, UNCHANGED, VERDICTS
from twitch.texts import escape

# https://prometheus.io/docs/instrumenting/exposition_formats/; Prometheus 3 refuses a type that is missing
# or unknown.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# The verdicts of a run that was the last one of the node. A run that another one was faster than (`busy`)
# is not.
LAST_VERDICTS = (CHANGED, UNCHANGED, FAILED, INTERRUPTED, NOT_ATTEMPTED)
# A resource can be in several of these conditions.
CONDITIONS = ("changed", "corrective_change", "failed", "failed_to_restart", "out_of_sync", "skipped")
# Puppet measures the time of each type of resource as well, which would be some thirty series for each node.
PHASES = ("plugin_sync", "fact_generation", "config_retrieval", "catalog_application")

SUCCESS, STATE = "puppet_agent_collect_success", "puppet_agent_state"
RUNS = "puppet_twitch_runs_total"

# name -> its help. A name that ends in _total is a counter; all others are gauges.
HELP = {
    SUCCESS: "Whether the state of Puppet could be read; 0 if the metrics of the agent are missing.",
    "puppet_agent_enabled": "Whether the agent is enabled; 0 after puppet agent --disable.",
    "puppet_agent_disabled_timestamp_seconds": "Since when the agent is disabled; missing if it is enabled.",
    "puppet_agent_disabled_until_timestamp_seconds": "When the agent will be enabled again by itself;"
    " missing if it will not.",
    STATE: "What the agent is doing: 1 for its state, 0 for the others.",
    "puppet_agent_run_started_timestamp_seconds": "When the run under way began; missing if there is none.",
    "puppet_agent_last_run_timestamp_seconds": "When the last run ended, started by anyone.",
    "puppet_agent_last_success_timestamp_seconds": "When the last run ended that was changed or unchanged,"
    " without those that a caller has limited by noop or tags.",
    "puppet_agent_last_run_duration_seconds": "How long the last run took.",
    "puppet_agent_last_run_success": "Whether the last run was changed or unchanged.",
    "puppet_agent_last_run_verdict": "What became of the last run: 1 for its verdict, 0 for the others.",
    "puppet_agent_last_run_noop": "Whether the last run was a noop run.",
    "puppet_agent_last_run_cached_catalog": "Whether the last run applied a cached catalog.",
    "puppet_agent_last_run_catalog_resources": "Resources in the catalog of the last run.",
    "puppet_agent_last_run_resources": "Resources of the last run in each condition;"
    " one can be in several, so there is no sum.",
    "puppet_agent_last_run_events": "Events of the last run by outcome.",
    "puppet_agent_last_run_phase_seconds": "How long some phases of the last run took.",
    "puppet_agent_info": "The version of Puppet and the environment of the last run.",
    "puppet_twitch_info": "The version of puppet-twitch.",
    RUNS: "Runs that puppet-twitch was asked for, by verdict.",
}


class Last(NamedTuple):
    """The last run of a node, started by anyone; None for what is not known."""

    verdict: str  # one of records.VERDICTS
    ended: Optional[float] = None
    duration_s: Optional[float] = None
    noop: Optional[bool] = None
    cached_catalog: Optional[bool] = None
    environment: Optional[str] = None
    puppet_version: Optional[str] = None
    resources: Mapping[str, int] = {}  # `total`, and by CONDITIONS; empty if it has none
    events: Mapping[str, int] = {}  # by EVENTS; empty if they are not known
    phases_s: Mapping[str, float] = {}  # by PHASES; without those that the run has not reached


class Figures(NamedTuple):
    """What is known of a node. Times are epoch seconds."""

    state: str  # one of NODE_STATES
    enabled: bool = True
    disabled_since: Optional[float] = None
    disabled_until: Optional[float] = None
    run_started: Optional[float] = None  # of the run under way
    last: Optional[Last] = None
    last_success: Optional[float] = None
    runs: Mapping[str, int] = {}  # by VERDICTS: those that puppet-twitch was asked for


class Sample(NamedTuple):
    """A value with its labels."""

    metric: str
    value: float
    labels: Mapping[str, str] = {}


def text(figures: Optional[Figures]) -> str:
    """Return the metrics of a node; None if its state cannot be read."""
    lines, metric = [], ""
    for sample in _samples(figures):
        if sample.metric != metric:
            metric = sample.metric
            kind = "counter" if metric.endswith("_total") else "gauge"
            lines += [f"# HELP {metric} {HELP[metric]}", f"# TYPE {metric} {kind}"]
        lines.append(f"{metric}{_labels(sample.labels)} {_number(sample.value)}")
    return "\n".join([*lines, ""])


def for_textfile(metrics: str) -> str:
    """Return the metrics without the state, which a file cannot know when it is read."""
    heads = (f"# HELP {STATE} ", f"# TYPE {STATE} ", f"{STATE}{{")
    return "".join(line for line in metrics.splitlines(keepends=True) if not line.startswith(heads))


def _samples(figures: Optional[Figures]) -> Iterator[Sample]:
    """Yield all samples, those of one metric one after the other."""
    yield Sample(SUCCESS, figures is not None)
    yield Sample("puppet_twitch_info", 1, {"version": twitch.__version__})
    if figures is None:
        return
    yield Sample("puppet_agent_enabled", figures.enabled)
    for state in NODE_STATES:
        yield Sample(STATE, state == figures.state, {"state": state})
    moments = {
        "disabled": figures.disabled_since,
        "disabled_until": figures.disabled_until,
        "run_started": figures.run_started,
        "last_success": figures.last_success,
    }
    for name, moment in moments.items():
        if moment is not None:
            yield Sample(f"puppet_agent_{name}_timestamp_seconds", moment)
    if figures.last:
        yield from _last(figures.last)
    for verdict in VERDICTS:
        yield Sample(RUNS, figures.runs.get(verdict, 0), {"verdict": _word(verdict)})


def _last(last: Last) -> Iterator[Sample]:
    name = "puppet_agent_last_run_"
    plain = {
        "timestamp_seconds": last.ended,
        "duration_seconds": last.duration_s,
        "success": last.verdict in GOOD,
        "noop": last.noop,
        "cached_catalog": last.cached_catalog,
        "catalog_resources": last.resources.get("total"),
    }
    for ending, value in plain.items():
        if value is not None:
            yield Sample(name + ending, value)
    for verdict in LAST_VERDICTS:
        yield Sample(f"{name}verdict", verdict == last.verdict, {"verdict": _word(verdict)})
    for condition in CONDITIONS if last.resources else ():
        yield Sample(f"{name}resources", last.resources.get(condition, 0), {"condition": condition})
    for outcome in EVENTS if last.events else ():
        yield Sample(f"{name}events", last.events.get(outcome, 0), {"outcome": outcome})
    for phase in PHASES:
        if phase in last.phases_s:
            yield Sample(f"{name}phase_seconds", last.phases_s[phase], {"phase": phase})
    if last.puppet_version or last.environment:
        labels = {"version": last.puppet_version or "", "environment": last.environment or ""}
        yield Sample("puppet_agent_info", 1, labels)


def _word(verdict: str) -> str:
    return verdict.replace(" ", "_")


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    """Return the value of a label; a report of Puppet's can contain anything in its environment."""
    readable = escape(value[:200]).encode("utf-8", "replace").decode("utf-8")
    return readable.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
