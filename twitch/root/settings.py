"""Puppet's settings: where it keeps its locks, its last report and its summary, and how long it may run.

They are asked of Puppet itself, because only it knows what a site has set and where.
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
from twitch.root.puppet import site_options

SETTINGS = (
    "agent_catalog_run_lockfile",
    "agent_disabled_lockfile",
    "config",
    "lastrunfile",
    "lastrunreport",
    "logdest",
    "runtimeout",
)
# Options of a run by which a site can move the files that these settings name.
MOVING = re.compile(
    "--(config|confdir|vardir|statedir|publicdir|lastrunfile|lastrunreport|runtimeout"
    "|agent_catalog_run_lockfile|agent_disabled_lockfile)"
)
# 1.0 s measured on an idle machine; a small one that is busy can be much slower.
SETTINGS_TIMEOUT_S = 25


class Settings(NamedTuple):
    """What `puppet config print --section agent` says; paths are absolute."""

    agent_catalog_run_lockfile: str
    agent_disabled_lockfile: str
    config: str
    lastrunfile: str
    lastrunreport: str
    logdest: str  # "" if the site has set none
    runtimeout: str

    @property
    def runtimeout_s(self) -> Optional[int]:
        """Seconds after which Puppet ends a run by itself; None if never."""
        number = re.fullmatch(r"([0-9]+)([smhdy]?)", self.runtimeout)
        if not number or int(number[1]) == 0:
            return None
        unit_s = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}
        return int(number[1]) * unit_s[number[2]]


def load(puppet: str, cache: str, environment: Mapping[str, str]) -> Settings:
    """Return Puppet's settings, from `cache` if neither puppet.conf nor Puppet has changed since.

    Asking Puppet takes a second; reading the cache takes none. Raises `PuppetError`.
    """
    moved = _moved(site_options(environment))
    try:
        with open(cache, encoding="utf-8") as file:
            stored = json.load(file)
        known = Settings(**stored["settings"])
        if stored["stamps"] == _stamps(puppet, known.config) and stored["moved"] == moved:
            return known
    except (OSError, ValueError, TypeError, KeyError):
        pass  # none yet, or of another version: ask
    began = time.time()
    asked = _ask(puppet, moved, environment)
    if _changed_since(began, puppet, asked.config):
        return asked  # what was read may be of before
    temporary = f"{cache}.{os.getpid()}"
    try:
        with open(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            stamps = _stamps(puppet, asked.config)
            json.dump({"settings": asked._asdict(), "stamps": stamps, "moved": moved}, file)
        os.rename(temporary, cache)
    except OSError:
        # A full /run costs the next question a second, not the run.
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    return asked


def _moved(site: Sequence[str]) -> list[str]:
    """Those of the site's own options that change SETTINGS, each with its value as one word."""
    pairs = zip(site, [*site[1:], ""])
    return [
        word if "=" in word else f"{word}={following}"
        for word, following in pairs
        if MOVING.fullmatch(word.partition("=")[0])
    ]


def _ask(puppet: str, moved: Sequence[str], environment: Mapping[str, str]) -> Settings:
    import subprocess  # which a run with cached settings does not need

    command = [puppet, "config", "print", "--section", "agent", *moved, *SETTINGS]
    try:
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
    values = {name: value for name, mark, value in (line.partition(" = ") for line in lines) if mark}
    try:
        return Settings(**{name: values[name].strip() for name in SETTINGS})
    except KeyError as error:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise PuppetError(
            f"{puppet} config print does not tell {error.args[0]}: {said[0] if said else 'no error text'}"
        ) from error


def _changed_since(moment: float, *paths: str) -> bool:
    with contextlib.suppress(OSError):
        return any(os.stat(path).st_ctime >= moment for path in paths)
    return False


def _stamps(puppet: str, config: str) -> list[list[object]]:
    """Path, inode, size and change time: `puppet.conf` restored from a backup keeps its mtime."""
    stamps: list[list[object]] = []
    for path in (puppet, config):
        try:
            info = os.stat(path)
            stamps.append([path, info.st_ino, info.st_size, info.st_ctime_ns])
        except OSError:
            stamps.append([path])
    return stamps
