"""`puppet-twitch watch`: what is kept up to date when nobody asks, by puppet-twitch-watch.path.

systemd starts it when a lock of Puppet comes or goes, and when the history changes. It puts a run that Puppet
has started itself on record, and writes the textfile of node_exporter. Nothing depends on it.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Optional

from twitch import listener_user, metrics, textfile
from twitch.errors import ConfigError, PuppetError, TwitchError
from twitch.records import RUN_ID
from twitch.root import begun, counts, figures, files, history, memory, report, report_to_record
from twitch.root.node import Node
from twitch.root.ownership import NotOurs
from twitch.root.report import Report
from twitch.root.store import Store

# Debian's place. A site names another file with PUPPET_TWITCH_TEXTFILE, in a drop-in of the unit.
TEXTFILE = os.environ.get("PUPPET_TWITCH_TEXTFILE", "/var/lib/prometheus/node-exporter/puppet-twitch.prom")

# systemd does not watch while this process runs, so it looks again until nothing has changed meanwhile.
MAX_LOOKS = 10
# Puppet's lock goes some milliseconds before Puppet ends; the verdict follows within a fraction of a second.
# If it takes longer than this, conclude was killed, and root writes the verdict when it is next asked.
VERDICT_S = 5
LOOK_S = 0.05


def main() -> None:
    """Put a run of Puppet's own on record, and write the textfile if its directory exists."""
    memory.limit()
    own = Store()
    own.trust()
    for _ in range(MAX_LOOKS):
        before = _stamps(own, None)
        try:
            node = Node(own)
            before = _stamps(own, node)
            _await_verdict(node)
            _record(node)
            text = metrics.text(figures.look(node))
        except (ConfigError, PuppetError) as error:
            print(f"<4>Puppet cannot be read: {error}", file=sys.stderr)
            node, text = None, metrics.text(None)
        _write(text)
        if before == _stamps(own, node):
            return


def _stamps(own: Store, node: Optional[Node]) -> list[object]:
    """Return what changes whenever one of the files changes that `figures.look` reads."""
    paths = [own.root, own.directory, own.history, own.counts_path]
    if node:
        locks = (node.settings.agent_catalog_run_lockfile, node.settings.agent_disabled_lockfile)
        paths += [*locks, node.settings.lastrunreport, node.settings.lastrunfile]
    return [_stamp(path) for path in paths]


def _stamp(path: str) -> object:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_ino, info.st_mtime_ns


def _await_verdict(node: Node) -> None:
    """Wait until a run of ours that has released its lock has its verdict."""
    until = time.monotonic() + VERDICT_S
    while _is_ending(node) and time.monotonic() < until:
        time.sleep(LOOK_S)


def _is_ending(node: Node) -> bool:
    claim = node.store.claims.current()
    if claim is None or claim.ended is not None:
        return False
    return not claim.alive or (node.config.command == "agent" and node.lock_holder() is None)


def _record(node: Node) -> None:
    """Put the run of Puppet's last report on record, unless a record has it already."""
    found = report.read(node.settings.lastrunreport)
    record = report_to_record.of_puppet(found) if found else None
    # One from the future would be the last run of the node until it is deleted.
    if found is None or record is None or not counts.latest([max(record.asked, record.ended or 0)]):
        return
    try:
        with node.store.concluding():
            if not node.store.recorded(record.run) and not _is_ours(node.store, found):
                history.add(
                    node.store, record, listener_user.gid(), node.config.keep_runs, node.config.keep_bytes
                )
                counts.note_success(node.store, counts.success(record))
    except (OSError, NotOurs) as error:
        print(f"<4>a run that Puppet has started cannot be put on record: {error}", file=sys.stderr)


def _is_ours(own: Store, found: Report) -> bool:
    """Return whether puppet-twitch has started the run of a report.

    `puppet apply` knows no job id, but a record has the id of the report of its run.
    """
    job, claim, last = found.job_id or "", own.claims.current(), begun.read(own)
    if RUN_ID.fullmatch(job) and own.recorded(job):
        return True
    if job in (claim.run if claim else None, last.record.run if last else None):
        return True
    return any(record.transaction_uuid == found.transaction_uuid for record in own.newest())


def _write(text: str) -> None:
    directory = os.path.dirname(TEXTFILE)
    if not os.path.isdir(directory):
        return  # node_exporter is not installed, or has its textfiles elsewhere
    try:
        # User prometheus may own the directory above, and could put a link in the place of this one.
        with files.open_directory(directory, for_writing=True) as at:
            textfile.write(TEXTFILE, metrics.for_textfile(text), at)
    except TwitchError as error:
        print(f"<4>{error}", file=sys.stderr)
    except OSError as error:
        print(f"<4>{TEXTFILE} cannot be written: {error.strerror}", file=sys.stderr)
