"""Drop-ins that are not about our units alone, and settings of puppet.service that our runs lack."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from twitch.check import systemd
from twitch.check.findings import NOTE, Finding
from twitch.check.systemd import RUN, RUN_SOCKET, SOCKET

PUPPET = "puppet.service"
# The package's own unit, elsewhere, says how the package's daemon runs.
SITE_PATHS = ("/etc/", "/run/")

# How the daemon starts, stops and is watched. A run is another process, with settings of its own for these.
DAEMON_ONLY = re.compile(
    r"Exec.*|Type|PIDFile|GuessMainPID|BusName|RemainAfterExit|Restart.*|StartLimit.*|SuccessExitStatus"
    r"|Watchdog.*|Timeout.*|RuntimeMaxSec|Kill.*|SendSIG.*|FinalKillSignal|NotifyAccess|NonBlocking"
    r"|Standard.*|Syslog.*|OOMPolicy|RuntimeDirectory.*|StateDirectory.*|LogsDirectory.*"
)


class Setting(NamedTuple):
    """One line of a unit file or drop-in."""

    path: str
    name: str
    value: str


def check() -> Iterator[Finding]:
    """Report settings of our units that a drop-in for all services changes, and what runs do without."""
    for unit in (SOCKET, RUN_SOCKET, systemd.listener(), RUN):
        yield from _overridden(unit)
    yield from _missing_in_runs()


def _overridden(unit: str) -> Iterator[Finding]:
    """Report settings of a unit that a drop-in in service.d, socket.d or puppet-.service.d replaces."""
    # systemd sorts drop-ins by file name, not by directory, so one in service.d may come after ours.
    ours: dict[str, set[str]] = {}
    changes: dict[str, list[str]] = {}
    for setting in _settings(unit):
        directory = os.path.basename(os.path.dirname(setting.path))
        own = not directory.endswith(".d") or directory == f"{unit}.d"
        if own:
            ours.setdefault(setting.name, set()).add(setting.value)
            changes = {  # a later drop-in of the unit itself has the last word
                path: [line for line in lines if line.partition("=")[0] != setting.name]
                for path, lines in changes.items()
            }
        elif setting.value not in ours.get(setting.name, {setting.value}):
            changes.setdefault(setting.path, []).append(f"{setting.name}={setting.value}")
    for path, lines in changes.items():
        if lines:
            override = f"/etc/systemd/system/{unit}.d/zzzz.conf"
            names = dict.fromkeys(line.partition("=")[0] for line in lines)
            again = " ".join(f"{name}={value}" for name in names for value in sorted(ours[name]))
            yield Finding(
                NOTE,
                f"{path} replaces settings of {unit}: {' '.join(lines)}",
                f"remove them there, or write in [Service] of {override}: {again};"
                f" then systemctl daemon-reload{_apply(unit)}",
                by_hand=True,
            )


def _apply(unit: str) -> str:
    """Return the command after which new settings of a unit apply, with a semicolon before it."""
    if unit == RUN:  # the next run has them
        return ""
    return f"; systemctl {'restart' if unit.endswith('.socket') else 'stop'} {unit.replace('@.', '@*.')}"


def _missing_in_runs() -> Iterator[Finding]:
    """Report settings that the site has given to puppet.service, and not to the unit of our runs."""
    if systemd.show(PUPPET, "LoadState") != "loaded":
        return
    runs = {(setting.name, setting.value) for setting in _settings(RUN)}
    missing = [
        setting
        for setting in _settings(PUPPET)
        if setting.path.startswith(SITE_PATHS)
        and setting.value
        and not DAEMON_ONLY.fullmatch(setting.name)
        and (setting.name, setting.value) not in runs
    ]
    if missing:
        lines = list(dict.fromkeys(_shown(setting) for setting in missing))
        yield Finding(
            NOTE,
            f"{missing[0].path} gives {PUPPET} settings that {RUN} lacks: {' '.join(lines)}",
            f"systemctl edit {RUN}: add them in [Service]; with the Puppet module: twitch::run_settings",
            by_hand=True,
        )


def _shown(setting: Setting) -> str:
    """Return a line for a text, without values of the environment: they may be passwords."""
    if setting.name != "Environment":
        return f"{setting.name}={setting.value}"
    names = [word.partition("=")[0] for word in shlex.split(setting.value)]
    return f"Environment={' '.join(f'{name}=…' for name in names)}"


def _settings(unit: str) -> Iterator[Setting]:
    """Yield the lines of [Service] and [Socket] in the files of a unit, in the order in which they apply."""
    paths = [systemd.show(unit, "FragmentPath"), *systemd.show(unit, "DropInPaths").split()]
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:  # removed since systemd has read it; `units` reports changed files
            continue
        section = ""
        for line in re.sub(r"\\\n", " ", text).splitlines():
            line = line.strip()
            if line.startswith("["):
                section = line
            elif section in ("[Service]", "[Socket]") and "=" in line and not line.startswith(("#", ";")):
                name, _, value = line.partition("=")
                yield Setting(path, name.strip(), value.strip())
