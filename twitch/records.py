"""A record of a run: its fields, its states and verdicts, and its JSON.

Where its file is, and how the file is read, is in record_files.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union

from twitch import durations
from twitch.fields import Fields

if TYPE_CHECKING:
    from twitch.node_status import LastRun
    from twitch.resources import Resource  # which few readers of records need

# systemd's invocation id of the run's unit, which is also Puppet's job id.
RUN_ID = re.compile(r"[0-9a-f]{32}")

# The states of a run.
QUEUED, RUNNING, FINISHED = STATES = ("queued", "running", "finished")

# The verdicts on a run that is finished.
UNCHANGED, CHANGED, FAILED = "unchanged", "changed", "failed"
INTERRUPTED, NOT_ATTEMPTED, BUSY = "interrupted", "not attempted", "busy"
VERDICTS = (UNCHANGED, CHANGED, FAILED, INTERRUPTED, NOT_ATTEMPTED, BUSY)
GOOD = (UNCHANGED, CHANGED)

# The outcomes of events, in Puppet's words.
EVENTS = ("success", "failure", "noop")

# What has started a run: a caller of puppet-twitch, or Puppet itself (its daemon, a timer, a person).
TWITCH, PUPPET = "twitch", "puppet"


class Options(NamedTuple):
    """What a caller may choose about a run."""

    noop: bool = False
    tags: tuple[str, ...] = ()
    environment: Optional[str] = None

    @property
    def partial(self) -> bool:
        """Whether a run with these options leaves a part of the catalog unapplied."""
        return self.noop or bool(self.tags)

    def to_json(self) -> dict[str, Any]:
        """Return the options as records and answers hold them."""
        return {"noop": self.noop, "tags": list(self.tags), "environment": self.environment}


class Cancelled(NamedTuple):
    """Who has cancelled a run, and when (epoch seconds)."""

    by: str  # the caller
    at: float

    def shown(self) -> str:
        """Return who has cancelled the run, as a reason says it."""
        return f"cancelled by {self.by}"


# The processes that a reason names; the record has more.
MAX_LEFT_NAMED = 5


class Left(NamedTuple):
    """A process that a run has left running. Never with its command line, which may have passwords."""

    name: str
    pid: int
    age_s: int

    def shown(self) -> str:
        """Return the process as a reason names it."""
        return f"{self.name} (pid {self.pid}, {durations.shown(self.age_s)})"


def still_running(left: tuple[Left, ...]) -> str:
    """Return the end of a reason, which names the processes that a run has left running."""
    more = f" and {len(left) - MAX_LEFT_NAMED} more" if len(left) > MAX_LEFT_NAMED else ""
    return f"still running: {', '.join(process.shown() for process in left[:MAX_LEFT_NAMED])}{more}"


class Record(NamedTuple):
    """One run. Times are epoch seconds; None means not yet, or not known."""

    run: str
    state: str  # one of STATES
    asked: float
    caller: str = ""
    client: str = ""  # the address
    options: Options = Options()
    label: Optional[str] = None  # the caller's own name for the run, such as the number of a ticket
    started_by: str = TWITCH
    started: Optional[float] = None  # None while it waits
    pid: Optional[int] = None  # of the process that becomes Puppet
    reported_before: Optional[float] = None  # when Puppet's report or summary before this run was written

    # Until the end, for conclude: the run itself may remove Puppet or the configuration.
    command: Optional[str] = None  # agent or apply
    settings: Mapping[str, str] = {}  # Puppet's, by root/settings.py
    report: Optional[str] = None  # where `puppet apply` writes the report of this run
    keep_runs: Optional[int] = None  # [runs] of the configuration
    keep_bytes: Optional[int] = None

    # From the end on.
    ended: Optional[float] = None
    duration_s: Optional[float] = None
    exit_status: Optional[str] = None  # a number, or the name of a signal
    verdict: Optional[str] = None  # one of VERDICTS
    reason: Optional[str] = None  # our words; earlier already where a run will not begin
    error: Optional[str] = None  # Puppet's words
    unreported: Optional[bool] = None  # no report of this run was found

    # As its report says.
    noop: Optional[bool] = None
    noop_pending: Optional[bool] = None
    environment: Optional[str] = None
    cached_catalog_status: Optional[str] = None
    counts: Optional[Mapping[str, int]] = None  # of resources
    would_change: Optional[int] = None  # the resources that noop has kept from changing
    failed_resources: Optional[tuple[str, ...]] = None
    configuration_version: Optional[str] = None
    transaction_uuid: Optional[str] = None  # of the report in PuppetDB
    puppet_version: Optional[str] = None
    server_used: Optional[str] = None  # with its port; only where the site has a `server_list`
    corrective_change: Optional[bool] = None  # Puppet has corrected what something else had changed
    events: Optional[Mapping[str, int]] = None  # by EVENTS
    phases_s: Optional[Mapping[str, float]] = None  # what the run has spent its time on
    resources: Optional[tuple[Resource, ...]] = None  # failed ones first; not in `Records.newest`
    resources_left_out: Optional[int] = None

    left_running: Optional[tuple[Left, ...]] = None  # at the end of a run that was cut short
    cancelled: Optional[Cancelled] = None  # also of a run that was complete before it could be stopped

    @property
    def good(self) -> bool:
        """Whether the run has ended as it should."""
        return self.verdict in GOOD

    def to_json(self) -> dict[str, Any]:
        """Return the record as its file holds it."""
        fields = {name: value for name, value in self._asdict().items() if value is not None}
        if self.left_running is not None:
            fields["left_running"] = [process._asdict() for process in self.left_running]
        if self.cancelled is not None:
            fields["cancelled"] = self.cancelled._asdict()
        if self.resources is not None:
            fields["resources"] = [resource.to_json() for resource in self.resources]
        return {**fields, "options": self.options.to_json()}


def from_json(value: object) -> Record:
    """Return the record that a file holds; raises `FieldError` where a field has another type."""
    fields = Fields(value)
    if fields.text("state") == RUNNING:
        fields.number("started")  # conclude needs it
    left, resources = fields.optional_objects("left_running"), fields.optional_objects("resources")
    return Record(
        run=fields.text("run"),
        state=fields.text("state"),
        asked=fields.number("asked"),
        caller=fields.optional_text("caller") or "",
        client=fields.optional_text("client") or "",
        options=options_from_json(fields.fields("options")),
        label=fields.optional_text("label"),
        started_by=fields.optional_text("started_by") or TWITCH,
        started=fields.optional_number("started"),
        pid=fields.optional_integer("pid"),
        reported_before=fields.optional_number("reported_before"),
        command=fields.optional_text("command"),
        settings=fields.settings("settings"),
        report=fields.optional_text("report"),
        keep_runs=fields.optional_integer("keep_runs"),
        keep_bytes=fields.optional_integer("keep_bytes"),
        ended=fields.optional_number("ended"),
        duration_s=fields.optional_number("duration_s"),
        exit_status=fields.optional_text("exit_status"),
        verdict=fields.optional_text("verdict"),
        reason=fields.optional_text("reason"),
        error=fields.optional_text("error"),
        unreported=fields.optional_flag("unreported"),
        noop=fields.optional_flag("noop"),
        noop_pending=fields.optional_flag("noop_pending"),
        environment=fields.optional_text("environment"),
        cached_catalog_status=fields.optional_text("cached_catalog_status"),
        counts=fields.counts("counts"),
        would_change=fields.optional_integer("would_change"),
        failed_resources=fields.optional_texts("failed_resources"),
        configuration_version=fields.optional_text("configuration_version"),
        transaction_uuid=fields.optional_text("transaction_uuid"),
        puppet_version=fields.optional_text("puppet_version"),
        server_used=fields.optional_text("server_used"),
        corrective_change=fields.optional_flag("corrective_change"),
        events=fields.counts("events"),
        phases_s=fields.numbers("phases_s"),
        resources=None if resources is None else _resources(resources),
        resources_left_out=fields.optional_integer("resources_left_out"),
        left_running=None if left is None else tuple(map(_left, left)),
        cancelled=cancelled_from_json(fields.fields("cancelled")),
    )


def outcome(run: Union[Record, LastRun]) -> Optional[str]:
    """Return the verdict with its marks: `unchanged; noop; 2 would change`. None if there is none."""
    if not run.verdict:
        return None
    would_change = f"{run.would_change} would change" if run.would_change else ""
    return "; ".join([run.verdict, *filter(None, (*_noop(run), would_change, *_doubts(run)))])


def marks(run: Union[Record, LastRun]) -> tuple[str, ...]:
    """Return what qualifies a verdict, without numbers."""
    return (*_noop(run), *_doubts(run))


def _noop(run: Union[Record, LastRun]) -> tuple[str, ...]:
    return ("noop",) if run.noop else ()


def _doubts(run: Union[Record, LastRun]) -> tuple[str, ...]:
    cached = run.cached_catalog_status not in (None, "not_used")
    return (*(("unreported",) if run.unreported else ()), *(("cached catalog",) if cached else ()))


def _resources(resources: tuple[Fields, ...]) -> tuple[Resource, ...]:
    from twitch import resources as types

    return tuple(map(types.from_json, resources))


def _left(fields: Fields) -> Left:
    return Left(fields.text("name"), fields.integer("pid"), fields.integer("age_s"))


def cancelled_from_json(fields: Optional[Fields]) -> Optional[Cancelled]:
    """Return who has cancelled a run; raises `FieldError` as `from_json` does."""
    return Cancelled(fields.text("by"), fields.number("at")) if fields else None


def options_from_json(fields: Optional[Fields]) -> Options:
    """Return the options that a record or a claim holds; raises `FieldError` as `from_json` does."""
    if fields is None:
        return Options()
    tags = fields.optional_texts("tags") or ()
    return Options(bool(fields.optional_flag("noop")), tags, fields.optional_text("environment"))
