"""What of a report matters here, however it is written."""

from __future__ import annotations

from typing import Optional

from twitch.root import values
from twitch.root.failures import name

# The metrics that are read: numbers of resources, and seconds.
METRICS = ("resources", "time")


class Content:
    """The values of a report, as texts, while it is read."""

    def __init__(self) -> None:
        self.top: dict[str, str] = {}  # of the report itself
        self.metrics: dict[str, dict[str, float]] = {metric: {} for metric in METRICS}
        self.failed: list[str] = []  # resources that failed, in the order of the report
        self.failure: Optional[str] = None  # the message with which the first of them failed
        self.errors: tuple[Optional[str], ...] = ()  # the messages of the log that say why the run failed
        self.sources: list[str] = []  # of errors that belong to no change

    def metric(self, metric: str, key: str, value: object) -> None:
        """Add a value of a metric, if it is one that is read."""
        number = values.number(value)
        # Puppet measures the time of each type of resource: some hundreds at most.
        if metric in self.metrics and number is not None and len(self.metrics[metric]) < 1000:
            self.metrics[metric][key] = number

    def add_events(self, events: object) -> None:
        """Add the events of a failed resource: the first failure has the message that is looked for."""
        for event in events if isinstance(events, list) else []:
            fields = values.mapping(event)
            if fields.get("status") == "failure" and self.failure is None:
                self.failure = values.text(fields.get("message"))

    def add_source(self, source: str) -> None:
        """Add the source of an error that belongs to no change."""
        if name(source) not in self.sources:
            self.sources.append(name(source))
