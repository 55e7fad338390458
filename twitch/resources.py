"""What became of the resources of a run, as its record says: what failed, changed, would change, was skipped.

A module of its own, because only conclude, and an answer about one run, need its types.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from twitch.fields import FieldError, Fields

# What became of a resource, in the order of the list. `skipped`: because of a failed dependency, and for no
# other reason. All others are as they should be.
FAILED, FAILED_TO_RESTART, CHANGED, WOULD_CHANGE, SKIPPED = OUTCOMES = (
    "failed",
    "failed to restart",
    "changed",
    "would change",
    "skipped",
)


class Event(NamedTuple):
    """What happened to a property, in Puppet's words. Never with its values, which can be secret."""

    property: Optional[str]  # None: to the resource as a whole
    status: Optional[str]  # Puppet's: success, failure, noop
    message: Optional[str]  # on one line


class Resource(NamedTuple):
    """What became of one resource."""

    resource: str  # its name, on one line
    outcome: str  # one of OUTCOMES
    corrective: bool  # something else than Puppet has changed it before
    file: Optional[str]  # its place in the code
    line: Optional[int]
    events: tuple[Event, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the resource as records and answers hold it."""
        return {**self._asdict(), "events": [event._asdict() for event in self.events]}


def from_json(fields: Fields) -> Resource:
    """Return the resource that a record holds; raises `FieldError` where a field has another type."""
    outcome = fields.text("outcome")
    if outcome not in OUTCOMES:
        raise FieldError("'outcome' is not one of a resource")
    return Resource(
        resource=fields.text("resource"),
        outcome=outcome,
        corrective=bool(fields.optional_flag("corrective")),
        file=fields.optional_text("file"),
        line=fields.optional_integer("line"),
        events=tuple(map(_event, fields.optional_objects("events") or ())),
    )


def _event(fields: Fields) -> Event:
    return Event(
        fields.optional_text("property"), fields.optional_text("status"), fields.optional_text("message")
    )
