"""Read what Puppet has logged about a run as an error: from the journal, where no report says it.

Puppet's lines get there by syslog, one for each line of a message, as `(SOURCE) MESSAGE` if the source is not
Puppet itself (lib/puppet/util/log/destinations.rb). The level is PRIORITY.
"""

from __future__ import annotations

import contextlib
from typing import Any, Optional

from twitch import log_lines
from twitch.root import packages
from twitch.root.error_text import Entry

# As many errors as are looked at, from the end, and of each so much.
MAX_ENTRIES = 1000
MAX_ENTRY_BYTES = 4096

# journald is asked to write what it has received, because Puppet's last lines are a few milliseconds old.
# On a busy node it takes seconds; without the lines, a run that has failed can look like a good one. A run
# with a report does not wait.
JOURNALD = "/run/systemd/journal/io.systemd.journal"
SYNCHRONIZE = b'{"method":"io.systemd.Journal.Synchronize"}\0'
SYNCHRONIZE_TIMEOUT_S = 10

PRIORITIES = {0: "emerg", 1: "alert", 2: "crit", 3: "err"}


def errors(run: str, pid: Optional[int]) -> list[Entry]:
    """Return the errors that the Puppet of a run has logged, oldest first; none if there is no journal.

    `pid` is its process, if it is known: a daemon that the run has started is in the same unit.
    """
    try:
        packages.add()
        from systemd import journal  # 22 ms, which only a run without a report needs

        _synchronize()
        with contextlib.closing(journal.Reader()) as reader:
            reader.data_threshold = MAX_ENTRY_BYTES
            reader.add_match(f"_SYSTEMD_INVOCATION_ID={run}", "_UID=0", *([f"_PID={pid}"] if pid else []))
            reader.add_match(*(f"PRIORITY={priority}" for priority in PRIORITIES))
            reader.seek_tail()
            found: list[dict[str, Any]] = []
            while len(found) < MAX_ENTRIES and (fields := reader.get_previous()):
                found.append(fields)
    except (ImportError, OSError, ValueError):
        return []
    return _joined([entry for entry in map(_entry, reversed(found)) if entry])


def _synchronize() -> None:
    """Wait until journald has written what it has received so far, or SYNCHRONIZE_TIMEOUT_S."""
    import socket  # 2 ms; conclude needs it for nothing else

    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as journald:
        journald.settimeout(SYNCHRONIZE_TIMEOUT_S)
        journald.connect(JOURNALD)
        journald.sendall(SYNCHRONIZE)
        journald.recv(4096)


def _entry(fields: dict[str, Any]) -> Optional[Entry]:
    """Return an entry of the journal as Puppet logged it; None for one of another program."""
    identifier, priority = str(fields.get("SYSLOG_IDENTIFIER", "")), fields.get("PRIORITY")
    # puppet-agent or puppet-user, in OpenVox as well.
    if not identifier.startswith("puppet-") or identifier == "puppet-twitch":
        return None
    message = fields.get("MESSAGE", "")
    if isinstance(message, bytes):  # it is not UTF-8
        message = message.decode("utf-8", "replace")
    if not isinstance(message, str):  # the field is there twice, which syslog cannot do
        return None
    level = PRIORITIES.get(priority, "err") if isinstance(priority, int) else "err"
    return Entry(level, *log_lines.parsed(message))


def _joined(entries: list[Entry]) -> list[Entry]:
    """Return the entries with the lines of a message of a resource in one, since each had become an entry."""
    joined: list[Entry] = []
    for entry in entries:
        if joined and entry.source.startswith("/") and entry[:2] == joined[-1][:2]:
            joined[-1] = entry._replace(message=f"{joined[-1].message} {entry.message}")
        else:
            joined.append(entry)
    return joined
