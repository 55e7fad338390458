"""The status of a node: what Puppet is doing, and what became of its last run, started by anyone.

Root looks (root/status.py); views.py says what a caller may see of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from twitch.fields import FieldError, Fields

if TYPE_CHECKING:  # its types are made only where Puppet is disabled: they cost 1 ms
    from twitch.holds import Disabled

# `queued`: one run is under way and another waits. `stuck`: a run is much older than Puppet's runtimeout.
IDLE, RUNNING, QUEUED, DISABLED, STUCK = NODE_STATES = ("idle", "running", "queued", "disabled", "stuck")

# The phases of a run, in their order (root/progress.py).
STARTING, PREPARING, APPLYING, REPORTING = PHASES = ("starting", "preparing", "applying", "reporting")


class LastRun(NamedTuple):
    """What became of the last run. Times are epoch seconds."""

    verdict: str  # one of records.VERDICTS
    ended: Optional[float] = None
    duration_s: Optional[float] = None
    counts: Mapping[str, int] = {}  # of resources
    environment: Optional[str] = None
    reason: Optional[str] = None
    cached_catalog_status: Optional[str] = None
    noop: Optional[bool] = None
    noop_pending: Optional[bool] = None
    would_change: Optional[int] = None  # the resources that noop has kept from changing
    unreported: Optional[bool] = None


class Doing(NamedTuple):
    """The process that Puppet waits for. Never with its command line, which may have passwords."""

    name: str
    age_s: int


class NodeStatus(NamedTuple):
    """What Puppet is doing. Times are epoch seconds, ages seconds."""

    state: str  # one of NODE_STATES
    run: Optional[str] = None  # the run under way, if it is one of ours
    queued: Optional[str] = None  # the run that waits
    since: Optional[float] = None  # of the run under way
    reason: Optional[str] = None  # why the agent is disabled; '' if nobody said
    pid: Optional[int] = None  # of the run under way
    unit: Optional[str] = None  # of the run under way, if it is one of ours
    age_s: Optional[int] = None  # of a stuck run
    last: Optional[LastRun] = None
    # The last whole run of ours, where `last` is one of ours with noop or tags, which cures no failure.
    last_whole: Optional[LastRun] = None
    # Where the last whole run of ours has not succeeded: the end of the last one that has.
    failing_since: Optional[float] = None
    unrecorded: Optional[str] = None  # the run that has ended and whose verdict cannot be written
    unrecorded_why: Optional[str] = None  # the error of the writing, which may name a path
    disabled: Optional[Disabled] = None  # by whom and until when

    # How far the run under way is, ours or not.
    phase: Optional[str] = None  # one of PHASES
    resources: Optional[int] = None  # in its catalog, while it is applied
    elapsed_s: Optional[int] = None
    usual_s: Optional[int] = None  # how long such a run usually takes
    doing: Optional[Doing] = None

    def to_json(self) -> dict[str, Any]:
        """Return the status as a packet holds it: without what is None."""
        fields = {name: value for name, value in self._asdict().items() if value is not None}
        for name, run in (("last", self.last), ("last_whole", self.last_whole)):
            if run:
                fields[name] = {key: value for key, value in run._asdict().items() if value is not None}
        if self.doing:
            fields["doing"] = self.doing._asdict()
        if self.disabled:
            fields["disabled"] = self.disabled.to_json()
        return fields


def from_json(fields: Fields) -> NodeStatus:
    """Return the status that a packet holds; raises `FieldError` where a field has another type."""
    state, last, whole = fields.text("state"), fields.fields("last"), fields.fields("last_whole")
    if state not in NODE_STATES:
        raise FieldError("'state' is not one of a node")
    phase, doing = fields.optional_text("phase"), fields.fields("doing")
    if phase not in (None, *PHASES):
        raise FieldError("'phase' is not one of a run")
    return NodeStatus(
        state=state,
        run=fields.optional_text("run"),
        queued=fields.optional_text("queued"),
        since=fields.optional_number("since"),
        reason=fields.optional_text("reason"),
        pid=fields.optional_integer("pid"),
        unit=fields.optional_text("unit"),
        age_s=fields.optional_integer("age_s"),
        last=_last(last) if last else None,
        last_whole=_last(whole) if whole else None,
        failing_since=fields.optional_number("failing_since"),
        unrecorded=fields.optional_text("unrecorded"),
        unrecorded_why=fields.optional_text("unrecorded_why"),
        phase=phase,
        resources=fields.optional_integer("resources"),
        elapsed_s=fields.optional_integer("elapsed_s"),
        usual_s=fields.optional_integer("usual_s"),
        doing=Doing(doing.text("name"), doing.integer("age_s")) if doing else None,
        disabled=_disabled(fields.fields("disabled")),
    )


def _disabled(fields: Optional[Fields]) -> Optional[Disabled]:
    if fields is None:
        return None
    from twitch import holds

    return holds.from_json(fields)


def _last(fields: Fields) -> LastRun:
    return LastRun(
        verdict=fields.text("verdict"),
        ended=fields.optional_number("ended"),
        duration_s=fields.optional_number("duration_s"),
        counts=fields.counts("counts") or {},
        environment=fields.optional_text("environment"),
        reason=fields.optional_text("reason"),
        cached_catalog_status=fields.optional_text("cached_catalog_status"),
        noop=fields.optional_flag("noop"),
        noop_pending=fields.optional_flag("noop_pending"),
        would_change=fields.optional_integer("would_change"),
        unreported=fields.optional_flag("unreported"),
    )
