"""The optional watch: whether it sees this Puppet, and can write what it is for."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Optional

from twitch.check import systemd
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.check.systemd import WATCH, WATCH_SERVICE
from twitch.root.settings import Settings

TEXTFILE = "/var/lib/prometheus/node-exporter/puppet-twitch.prom"


def check(settings: Optional[Settings]) -> Iterator[Finding]:
    """Report on the watch if it is enabled or started; if not, nothing."""
    enabled = systemd.show(WATCH, "UnitFileState") in ("enabled", "enabled-runtime")
    active = systemd.show(WATCH, "ActiveState")
    if not enabled and active != "active":
        return
    if active != "active":
        text = f"{WATCH} is enabled and not active ({active}), so metrics and the history are out of date"
        yield Finding(FAULT, text, f"systemctl restart {WATCH}")
        return
    result = systemd.show(WATCH_SERVICE, "Result")
    if result != "success":
        fix = f"journalctl -u {WATCH_SERVICE} has the error; fix it, then systemctl start {WATCH_SERVICE}"
        yield Finding(FAULT, f"{WATCH_SERVICE} failed (Result={result})", fix, by_hand=True)
    if settings:
        yield from _watched(settings)
    yield from _textfile()


def _watched(settings: Settings) -> Iterator[Finding]:
    """Report locks of Puppet that are not watched, because the site has another statedir."""
    locks = (settings.agent_catalog_run_lockfile, settings.agent_disabled_lockfile)
    watched = re.findall(r"(\S+) \(PathChanged\)", systemd.show(WATCH, "Paths"))
    missing = [lock for lock in locks if lock not in watched]
    if missing:
        text = f"{WATCH} does not watch {' and '.join(missing)}"
        yield Finding(FAULT, text, _watch_command(locks))
    else:
        yield Finding(GOOD, f"{WATCH} puts runs that Puppet has started itself on record")


def _watch_command(locks: Sequence[str]) -> str:
    directory = f"/etc/systemd/system/{WATCH}.d"
    lines = " ".join(shlex.quote(line) for line in ("[Path]", *(f"PathChanged={lock}" for lock in locks)))
    write = f"mkdir -p {directory}; printf '%s\\n' {lines} >{directory}/zzzz-locks.conf"
    return f"{write}; systemctl daemon-reload; systemctl restart {WATCH}"


def _textfile() -> Iterator[Finding]:
    words = shlex.split(systemd.show(WATCH_SERVICE, "Environment"))
    environment = dict(word.partition("=")[::2] for word in words)
    path = environment.get("PUPPET_TWITCH_TEXTFILE", TEXTFILE)
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        text = f"{directory} does not exist, so no metrics are written"
        # Without node_exporter, the history is what the watch is for.
        yield Finding(GOOD, text) if path == TEXTFILE else Finding(FAULT, text, f"mkdir -p {directory}")
        return
    if os.path.exists(path):
        yield Finding(GOOD, f"metrics for node_exporter are in {path}")
    else:
        fix = f"systemctl start {WATCH_SERVICE}; journalctl -u {WATCH_SERVICE}"
        yield Finding(NOTE, f"{path} does not exist: {WATCH_SERVICE} has not written it", fix, by_hand=True)
