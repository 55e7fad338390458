"""What can become of a node in a fleet run: each node has exactly one outcome at the end."""

from __future__ import annotations

from enum import Enum


class Outcome(str, Enum):
    """What became of a node; the value is what people read, and what the JSON lines have."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    PENDING = "pending"  # a noop run that would change something
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    NOT_ATTEMPTED = "not attempted"
    UNPROVEN = "unproven"  # the node said that the run is complete, and PuppetDB has no report of it
    LATE = "late"  # still under way after --timeout; the run goes on
    LOST = "lost"  # started, and then the node could not be reached any more
    DISABLED = "disabled"
    REFUSED = "refused"  # 401 or 403, or another 4xx: the request will not be granted
    UNREACHABLE = "unreachable"  # nothing was started: DNS, connection, TLS, or no answer of puppet-twitch
    NOT_STARTED = "not started"  # stopped before its turn came, or Puppet was busy to the end

    @property
    def option(self) -> str:
        """Return the name as `--only` takes it, without a space."""
        return self.value.replace(" ", "-")


GOOD = frozenset({Outcome.UNCHANGED, Outcome.CHANGED, Outcome.PENDING})

# What counts as a failure in --max-failures: a verdict that is not good, and what the operator has to fix.
FAILURES = frozenset({Outcome.FAILED, Outcome.INTERRUPTED, Outcome.NOT_ATTEMPTED, Outcome.REFUSED})

# It is not known whether the run did what it should.
UNCERTAIN = frozenset({Outcome.UNPROVEN, Outcome.LATE, Outcome.LOST})
