"""Exit statuses of puppet-twitch-fleet: bits, of which Ansible's users know the first two."""

from __future__ import annotations

OK = 0
NOTHING_STARTED = 1  # an invalid command line, no nodes, no PuppetDB
FAILURES = 2  # more than --max-failures allows
UNREACHABLE = 4  # more than --max-unreachable allows
STOPPED = 8  # stopped early: not every node was asked
UNCERTAIN = 16  # unproven, late or lost
CHANGES_PENDING = 32  # only with --noop --exit-pending
LEFT = 130  # interrupted twice, or ended by SIGTERM: runs go on, and are not followed any more
