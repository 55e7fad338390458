"""Puppet's settings: where it keeps its locks, its last report and its certificate, how long a run may last.

Puppet itself is asked for them, because only Puppet knows what a site has set, and where.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

from twitch.errors import PuppetError
from twitch.root import files
from twitch.root.puppet import site_options

SETTINGS = (
    "agent_catalog_run_lockfile",
    "agent_disabled_lockfile",
    "certname",
    "config",
    "hostcert",
    "lastrunfile",
    "lastrunreport",
    "localcacert",
    "logdest",
    "pidfile",
    "resourcefile",
    "runtimeout",
    "write_catalog_summary",
)
# Options in PUPPET_EXTRA_OPTS that change one of SETTINGS, in a run as well as in `puppet config print`.
MOVING = {
    *("--config", "--confdir", "--vardir", "--statedir", "--publicdir", "--rundir", "--pidfile"),
    *("--lastrunfile", "--lastrunreport", "--resourcefile", "--runtimeout"),
    *("--agent_catalog_run_lockfile", "--agent_disabled_lockfile"),
    *("--certname", "--ssldir", "--certdir", "--hostcert", "--localcacert"),
}
# `puppet config print` takes 1.0 s on an idle machine (measured), and much longer on a small, busy one.
SETTINGS_TIMEOUT_S = 25


class Settings(NamedTuple):
    """The values of `puppet config print --section agent`; paths are absolute."""

    agent_catalog_run_lockfile: str
    agent_disabled_lockfile: str
    config: str
    lastrunfile: str
    lastrunreport: str
    logdest: str  # "" if the site has set none
    runtimeout: str
    certname: str = ""
    hostcert: str = ""
    localcacert: str = ""
    pidfile: str = ""  # of the daemon
    resourcefile: str = ""  # the list of the resources in the agent's catalog
    write_catalog_summary: str = ""  # `false` if the agent writes no such list

    @property
    def runtimeout_s(self) -> Optional[int]:
        """Return the seconds after which Puppet ends a run by itself; None if it never does."""
        number = re.fullmatch(r"([0-9]+)([smhdy]?)", self.runtimeout)
        if not number or int(number[1]) == 0:
            return None
        unit_s = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}
        return int(number[1]) * unit_s[number[2]]


def load(puppet: str, cache: str, environment: Mapping[str, str]) -> Settings:
    """Return Puppet's settings, from `cache` if neither puppet.conf nor Puppet has changed since.

    Asking Puppet takes a second, which the cache saves. Raises `PuppetError`.
    """
    moving = _moving(site_options(environment))
    try:
        with open(cache, encoding="utf-8") as file:
            stored = json.load(file)
        cached = Settings(**stored["settings"])
        # A version before this one has asked for fewer settings.
        complete = stored["settings"].keys() == set(SETTINGS)
        if complete and stored["stamps"] == _stamps(puppet, cached.config) and stored["moved"] == moving:
            return cached
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass  # no cache yet, an invalid one, or one of another version
    began = time.time()
    printed = _ask(puppet, moving, environment)
    # A file that changed while Puppet read it: the settings may be those from before, so they are used
    # but not kept.
    if not _changed_since(began, puppet, printed.config):
        stamps = _stamps(puppet, printed.config)
        fields = {"settings": printed._asdict(), "stamps": stamps, "moved": moving}
        with contextlib.suppress(OSError):  # a full /run costs the next question a second, not this run
            files.write_json(cache, fields, 0o600)
    return printed


def _moving(site: Sequence[str]) -> list[str]:
    """Return the site's options that change SETTINGS, each with its value as one word."""
    pairs = zip(site, [*site[1:], ""])
    return [
        word if "=" in word else f"{word}={following}"
        for word, following in pairs
        if word.partition("=")[0] in MOVING
    ]


def _ask(puppet: str, moving: Sequence[str], environment: Mapping[str, str]) -> Settings:
    import subprocess  # not needed with cached settings

    from twitch.root import memory

    # Puppet colours its errors on a pipe as well, where `color` in puppet.conf is not false.
    command = [puppet, "config", "print", "--color=false", "--section", "agent", *moving, *SETTINGS]
    try:
        with memory.unlimited():
            done = subprocess.run(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SETTINGS_TIMEOUT_S,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise PuppetError(f"{puppet} config print did not end in {SETTINGS_TIMEOUT_S} s") from error
    except OSError as error:
        raise PuppetError(f"{puppet} cannot be executed: {error.strerror}") from error
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if any("\0" in line for line in lines):
        raise PuppetError(f"{puppet} config print prints a NUL byte, which no path can have")
    values = {name: value for name, mark, value in (line.partition(" = ") for line in lines) if mark}
    try:
        # No run depends on the settings that have a default; they make a reason or the status clearer.
        asked = (name for name in SETTINGS if name in values or name not in Settings._field_defaults)
        return Settings(**{name: values[name].strip() for name in asked})
    except KeyError as error:
        errors = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise PuppetError(
            f"{puppet} config print does not tell {error.args[0]}: {errors[0] if errors else 'no error text'}"
        ) from error


def _changed_since(moment: float, *paths: str) -> bool:
    with contextlib.suppress(OSError):
        return any(os.stat(path).st_ctime >= moment for path in paths)
    return False


def _stamps(puppet: str, config: str) -> list[list[object]]:
    """Return what changes with either file: path, inode, size and ctime.

    Not the mtime, which a `puppet.conf` that is restored from a backup keeps.
    """
    stamps: list[list[object]] = []
    for path in (puppet, config):
        try:
            info = os.stat(path)
            stamps.append([path, info.st_ino, info.st_size, info.st_ctime_ns])
        except OSError:
            stamps.append([path])
    return stamps
