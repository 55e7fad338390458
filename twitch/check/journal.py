"""The journal, which is the log of the runs: whether journald stores anything."""

from __future__ import annotations

import grp
import os
import re
import stat
from collections.abc import Iterator

from twitch.check import systemd
from twitch.check.findings import FAULT, Finding

# The last drop-in in the order of systemd, unless a site has named one after it.
DROP_IN = "/etc/systemd/journald.conf.d/zzzz-storage.conf"


# Where journald writes to (journald.conf(5)), by the id of the machine.
TOPS = ("/run/log/journal", "/var/log/journal")
GROUP = "systemd-journal"


def check() -> Iterator[Finding]:
    """Report a journal that the log reader cannot read, or that journald does not store."""
    yield from _stored()
    yield from _readable()


def _stored() -> Iterator[Finding]:
    """Report a journald that stores nothing: no log, and no error of a run without a report, can be read."""
    settings = systemd.output(["systemd-analyze", "cat-config", "systemd/journald.conf"]) or ""
    stored = re.findall(r"^Storage=(\w*)", settings, re.MULTILINE)
    if stored and stored[-1] == "none":
        text = "journald stores nothing (Storage=none in journald.conf), so no log of a run can be read"
        fix = (
            f"mkdir -p /etc/systemd/journald.conf.d; {{ echo '[Journal]'; echo Storage=auto; }} >{DROP_IN};"
            " systemctl restart systemd-journald.service"
        )
        yield Finding(FAULT, text, fix)


def _readable() -> Iterator[Finding]:
    """Report a file of the journal that its group cannot read.

    systemd gives the files to this group at boot; those of a journal that began later are root's.
    """
    try:
        gid = grp.getgrnam(GROUP).gr_gid
        machine = systemd.output(["systemd-machine-id-setup", "--print"]) or ""
    except KeyError:
        return  # `drop_ins` and systemd itself say why the log reader does not start
    for top in TOPS:
        path = f"{top}/{machine.strip()}/system.journal"
        try:
            info, directory = os.stat(path), os.stat(os.path.dirname(path))
        except OSError:
            continue  # this one is not stored
        open_file = info.st_gid == gid and info.st_mode & stat.S_IRGRP
        open_directory = directory.st_mode & stat.S_IXOTH or directory.st_gid == gid
        if not open_file or not open_directory:
            text = f"{path} cannot be read by group {GROUP}, so the logs of runs cannot be read"
            yield Finding(FAULT, text, f"systemd-tmpfiles --create --prefix={top}")
