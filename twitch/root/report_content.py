"""What of a report matters here, however it is written."""

from __future__ import annotations

from collections.abc import Collection
from typing import Optional

from twitch.resources import (
    CHANGED,
    FAILED,
    FAILED_TO_RESTART,
    OUTCOMES,
    SKIPPED,
    WOULD_CHANGE,
    Event,
    Resource,
)
from twitch.root import values
from twitch.root.error_text import MAX_FAILED_NAMED, name, shortened

# The metrics that are read: numbers of resources and of events, and seconds.
METRICS = ("resources", "time", "events")
# The resources of each outcome that are read; of each the events that are read, and those that are kept.
MAX_RESOURCES = 200
MAX_EVENTS_READ, MAX_EVENTS = 50, 5  # some types have an event for each line of a file
# Puppet warns of a resource that it skips because of a failed dependency, and of no other that it skips
# (lib/puppet/transaction.rb, `skip?`). The text is translated; the level and the source are not.
WARNING = "warning"
MAX_WARNED = 1000

# The fields of an event that are read, and two of its states. An audit says what is, and not what was done.
EVENT = ("property", "status", "message")
FAILURE, AUDIT = "failure", "audit"

# The flags of a resource that is not as it should be, or was not looked at.
FLAGS = ("failed_to_restart", "failed", "changed", "out_of_sync", "skipped")


class Content:
    """The values of a report, as texts, while it is read."""

    def __init__(self) -> None:
        self.top: dict[str, str] = {}  # of the report itself
        self.metrics: dict[str, dict[str, float]] = {metric: {} for metric in METRICS}
        self.failed: list[str] = []  # resources that failed, in the order of the report
        self.failure: Optional[str] = None  # the message with which the first of them failed
        self.errors: tuple[Optional[str], ...] = ()  # the messages of the log that say why the run failed
        self.sources: list[str] = []  # of errors that belong to no change
        self.resources: dict[str, list[Resource]] = {outcome: [] for outcome in OUTCOMES}
        self.resources_left_out = 0
        self._warned: set[str] = set()  # the paths of resources of which Puppet has warned

    def metric(self, metric: str, key: str, value: object) -> None:
        """Add a value of a metric, if it is one that is read."""
        number = values.number(value)
        # Puppet measures the time of each type of resource: some hundreds at most.
        if metric in self.metrics and number is not None and len(self.metrics[metric]) < 1000:
            self.metrics[metric][key] = number

    def add_warned(self, source: str) -> None:
        """Add the source of a warning, which can be the path of a resource that is skipped."""
        if len(self._warned) < MAX_WARNED and source.startswith("/"):
            self._warned.add(_one_line(source))

    @property
    def warned(self) -> bool:
        """Whether a resource can have been skipped because of a failed dependency."""
        return bool(self._warned)

    def is_skipped(self, path: Collection[str]) -> bool:
        """Return whether a skipped resource with this `containment_path` has a failed dependency."""
        return _one_line(f"/{'/'.join(path)}") in self._warned

    def wants(self, outcome: str) -> bool:
        """Return whether another resource with this outcome is read; if not, count it."""
        if len(self.resources[outcome]) < MAX_RESOURCES:
            return True
        self.resources_left_out += 1
        return False

    def add(self, found: Resource) -> None:
        """Add a resource that is not as it should be."""
        self.resources[found.outcome].append(found)
        if found.outcome in (FAILED, FAILED_TO_RESTART):
            if len(self.failed) < MAX_FAILED_NAMED:
                self.failed.append(found.resource)
            if self.failure is None:
                failures = (event.message for event in found.events if event.status == FAILURE)
                self.failure = next(failures, None)

    def add_source(self, source: str) -> None:
        """Add the source of an error that belongs to no change."""
        if name(source) not in self.sources:
            self.sources.append(name(source))


def outcome(flags: Collection[str]) -> Optional[str]:
    """Return the outcome of a resource with these of FLAGS; None if it is as it should be.

    One that is skipped has this outcome only if a dependency has failed (`Content.is_skipped`).
    """
    for flag, found in (
        ("failed_to_restart", FAILED_TO_RESTART),
        ("failed", FAILED),
        ("changed", CHANGED),
        # Noop has kept it from changing: Puppet counts each change and each failure as out of sync as well.
        ("out_of_sync", WOULD_CHANGE),
        ("skipped", SKIPPED),
    ):
        if flag in flags:
            return found
    return None


def _one_line(path: str) -> str:
    return " ".join(path.split())


def event(property_name: Optional[str], status: Optional[str], message: Optional[str]) -> Event:
    """Return an event with texts of bounded length, on one line each; its fields are those in EVENT."""
    return Event(
        name(property_name) if property_name else None,
        name(status) if status else None,
        shortened(message) if message else None,
    )


def resource(
    resource_name: Optional[str],
    outcome: str,
    *,
    corrective: bool,
    file: Optional[str],
    line: object,
    events: list[Event],
) -> Resource:
    """Return a resource with texts of bounded length, on one line each, and a few events: failures first."""
    number = values.number(line)
    done = [event for event in events if event.status != AUDIT]
    return Resource(
        resource=name(resource_name or ""),
        outcome=outcome,
        corrective=corrective,
        file=name(file) if file else None,
        line=None if number is None else int(number),
        events=tuple(sorted(done, key=lambda event: event.status != FAILURE)[:MAX_EVENTS]),
    )
