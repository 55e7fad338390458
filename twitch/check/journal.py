"""The journal, which is the log of the runs: whether journald stores anything."""

from __future__ import annotations

import re
from collections.abc import Iterator

from twitch.check import systemd
from twitch.check.findings import FAULT, Finding

# The last drop-in in the order of systemd, unless a site has named one after it.
DROP_IN = "/etc/systemd/journald.conf.d/zzzz-storage.conf"


def check() -> Iterator[Finding]:
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
