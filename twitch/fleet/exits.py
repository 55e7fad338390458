"""Exit statuses of puppet-twitch-fleet: bits, of which Ansible's users know the first two."""

from __future__ import annotations

OK = 0
NOTHING_STARTED = 1  # an invalid command line, no nodes, no PuppetDB
FAILURES = 2  # more than --max-failures allows
UNREACHABLE = 4  # more than --max-unreachable allows
STOPPED = 8  # stopped early: not every node was asked
UNCERTAIN = 16  # unproven, late or lost
CHANGES_PENDING = 32  # only with --noop --exit-pending

# Left before the end: runs go on, and are not followed any more. As shells have them: 128 + the signal.
HUNG_UP = 129
INTERRUPTED = 130
TERMINATED = 143
LEFT = {
    HUNG_UP: "SIGHUP, as when the terminal is closed",
    INTERRUPTED: "a second Ctrl-C",
    TERMINATED: "SIGTERM",
}

BROKEN_PIPE = 141  # 128 + SIGPIPE: standard output has lost its reader
