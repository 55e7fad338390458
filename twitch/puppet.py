"""Puppet itself: where it is, what its settings are, how a run of it is begun.

Facts and their sources: Puppet 7.23 and 8.10 run live, and lib/puppet/ in its source. Its texts
are translated and rebranded, so none is ever parsed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Optional

from twitch.errors import PuppetError

# The vendor's packages (AIO) and OpenVox first: where both are installed, the distribution's is a leftover.
USUAL_PATHS = ("/opt/puppetlabs/bin/puppet", "/usr/bin/puppet")

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

# What systemd says to this process and Puppet must not hear: OpenVox >= 8.23 takes its rundir from
# RUNTIME_DIRECTORY; a Puppet that believes in NOTIFY_SOCKET or LISTEN_FDS hands it to its children.
SYSTEMD_OWN = re.compile(
    r"LISTEN_.*|NOTIFY_SOCKET|WATCHDOG_.*|INVOCATION_ID|JOURNAL_STREAM|CREDENTIALS_DIRECTORY"
    r"|(RUNTIME|STATE|CACHE|LOGS|CONFIGURATION)_DIRECTORY|MAINPID|MANAGERPID|SYSTEMD_EXEC_PID"
    r"|SERVICE_RESULT|EXIT_(CODE|STATUS)|REMOTE_(ADDR|PORT)|MEMORY_PRESSURE_.*|FDSTORE|PUPPET_TWITCH_.*"
)


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


class Options(NamedTuple):
    """What a caller may choose about a run."""

    noop: bool = False
    tags: tuple[str, ...] = ()
    environment: Optional[str] = None


def find(configured: Optional[str] = None) -> str:
    """Return the path of the puppet command; raises `PuppetError` saying what is wrong with it."""
    candidates = (configured,) if configured else USUAL_PATHS
    for path in candidates:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    for path in candidates:
        if os.path.exists(path):
            raise PuppetError(f"{path} is not an executable file")
    raise PuppetError(f"no puppet at {' or '.join(candidates)}; install it, or set [puppet] path")


# ---- settings


def settings(puppet: str, cache: str, environment: Mapping[str, str]) -> Settings:
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


# ---- a run


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The unit's environment, less what is systemd's own.

    Without PATH the agent breaks ("provider for 'User[puppet]' is not functional"), and without a
    UTF-8 locale Ruby reads manifests as US-ASCII.
    """
    clean = {name: value for name, value in inherited.items() if not SYSTEMD_OWN.fullmatch(name)}
    clean.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    clean.setdefault("LANG", "C.UTF-8")
    return clean


def site_options(inherited: Mapping[str, str]) -> list[str]:
    """The site's PUPPET_EXTRA_OPTS, in words, as systemd splits `$PUPPET_EXTRA_OPTS` in puppet.service.

    Quotes group words, a backslash is just that, and a quote that is never closed is no error
    (systemd.service(5), "Command lines").
    """
    words = shlex.shlex(inherited.get("PUPPET_EXTRA_OPTS", ""), posix=True)
    words.whitespace_split = True
    words.commenters = words.escape = ""
    found = []
    while True:
        try:
            word = words.get_token()
        except ValueError:  # no closing quotation: what was read of the word so far counts
            word, words.token = words.token, ""
            found += [word] if word else []
            return found
        if word is None:
            return found
        found.append(word)


def agent_command(
    puppet: str, run: str, log: str, *, logdest: str, site: Iterable[str], options: Options
) -> list[str]:
    """The argument vector of an agent run.

    Not `--test`: it turns show_diff on, and a diff shows the contents of files. The site's own
    options come first, so what makes this a run of ours cannot be undone by them.
    """
    return [
        puppet, "agent", *site,
        "--onetime", "--no-daemonize",  # or a running puppet.service makes it exit 0 having done nothing
        "--no-usecacheonfailure",  # or an unreachable server is a run that succeeds
        "--no-splay",
        f"--job-id={run}",  # by which the report is known to be this run's
        *_common(log, logdest=logdest, options=options),
        *(["--strict_environment_mode"] if options.environment is not None else []),  # or it runs production
    ]  # fmt: skip


def apply_command(
    puppet: str, manifest: str, log: str, report: str, *, logdest: str, site: Iterable[str], options: Options
) -> list[str]:
    """The argument vector of a masterless run, which has a report of its own instead of a job id."""
    return [
        puppet, "apply", *site,
        *_common(log, logdest=logdest, options=options),
        f"--lastrunreport={report}",
        manifest,
    ]  # fmt: skip


def _common(log: str, *, logdest: str, options: Options) -> list[str]:
    # Never to a pipe, and not to the console, whatever the site says: when the reader of Puppet's
    # output goes away, Puppet aborts in the middle of its catalog.
    usual = [where.strip() for where in logdest.split(",") if where.strip() not in ("", "console")]
    arguments = [
        "--detailed-exitcodes",  # or failed resources exit 0
        "--color=false",
        "--no-show_diff",
        f"--logdest={','.join([*(usual or ['syslog']), log])}",
    ]
    if options.noop:
        arguments.append("--noop")
    if options.tags:
        arguments.append(f"--tags={','.join(options.tags)}")
    if options.environment is not None:
        arguments.append(f"--environment={options.environment}")
    return arguments
