"""Find Puppet, and build the command line and the environment of a run.

The facts here are from running Puppet 7.23 and 8.10, and from lib/puppet/ in its source. No text of
Puppet is ever parsed, because texts are translated and rebranded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Optional

from twitch.errors import PuppetError
from twitch.records import Options

# The vendor's packages (AIO) and OpenVox first: where both are installed, the distribution's package is a
# leftover.
USUAL_PATHS = ("/opt/puppetlabs/bin/puppet", "/usr/bin/puppet")

# Variables that systemd sets for this process, and that Puppet must not inherit: OpenVox >= 8.23 takes its
# rundir from RUNTIME_DIRECTORY, and Puppet would pass NOTIFY_SOCKET and LISTEN_FDS to its children. SO_COOKIE
# and ...PIDFDID are in systemd 262.
SYSTEMD_OWN = {
    *("NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "FDSTORE"),
    *("MAINPID", "MAINPIDFDID", "MANAGERPID", "MANAGERPIDFDID", "SYSTEMD_EXEC_PID"),
    *("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY", "CONFIGURATION_DIRECTORY"),
    *("CREDENTIALS_DIRECTORY", "SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS"),
    *("REMOTE_ADDR", "REMOTE_PORT", "SO_COOKIE"),
}
SYSTEMD_OWN_PREFIXES = ("LISTEN_", "WATCHDOG_", "MEMORY_PRESSURE_", "PUPPET_TWITCH_")


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


def inherited() -> dict[str, str]:
    """Return the environment with which this process was started.

    In the locale C, os.environ has LC_CTYPE=C.UTF-8, because Python sets it (PEP 538, also with -I). A Puppet
    that inherits it reads and writes other bytes than the same run by hand.
    """
    variables = dict(os.environ)
    if "LC_CTYPE" in variables:
        with open("/proc/self/environ", "rb") as file:
            started = dict(line.partition(b"=")[::2] for line in file.read().split(b"\0"))
        del variables["LC_CTYPE"]
        if b"LC_CTYPE" in started:
            variables["LC_CTYPE"] = os.fsdecode(started[b"LC_CTYPE"])
    return variables


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a run: the unit's, without systemd's own variables.

    PATH and LANG are set if they are missing: without PATH the agent breaks ("provider for 'User[puppet]'
    is not functional"), and without a UTF-8 locale Ruby reads manifests as US-ASCII.
    """
    clean = {
        name: value
        for name, value in variables.items()
        if name not in SYSTEMD_OWN and not name.startswith(SYSTEMD_OWN_PREFIXES)
    }
    clean.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    clean.setdefault("LANG", "C.UTF-8")
    return clean


def site_options(inherited: Mapping[str, str]) -> list[str]:
    """Return the words of the site's PUPPET_EXTRA_OPTS, split as systemd splits it in puppet.service.

    Quotes group words, a backslash is an ordinary character, and a quote that is not closed is no error
    (systemd.service(5), "Command lines").
    """
    text = inherited.get("PUPPET_EXTRA_OPTS", "")
    if not text:
        return []
    import shlex  # 0.6 ms, which few sites need

    words = shlex.shlex(text, posix=True)
    words.whitespace_split = True
    words.commenters = words.escape = ""
    options = []
    while True:
        try:
            word = words.get_token()
        except ValueError:  # a quote that is not closed: the word ends with the text
            word, words.token = words.token, ""
            options += [word] if word else []
            return options
        if word is None:
            return options
        options.append(word)


def agent_command(puppet: str, run: str, *, logdest: str, site: Iterable[str], options: Options) -> list[str]:
    """Return the argument vector of an agent run.

    It has no `--test`, which turns show_diff on, because a diff shows the contents of files. The site's own
    options come first, so that they cannot override ours.
    """
    return [
        puppet, "agent", *site,
        # Without these two, Puppet exits 0 beside a running puppet.service, and has done nothing.
        "--onetime", "--no-daemonize",
        "--no-usecacheonfailure",  # without it, a run succeeds although the server is unreachable
        "--no-splay",
        # A run is triggered to fetch a catalog, also where the site's own runs apply the cached one.
        "--no-use_cached_catalog",
        # A one-time run waits for its certificate only if the site has said so, but then without a lock and
        # without an end.
        "--waitforcert=0",
        f"--job-id={run}",  # identifies the report of this run
        *_common(logdest, options),
        # Without this option, Puppet runs the environment production instead.
        *(["--strict_environment_mode"] if options.environment is not None else []),
    ]  # fmt: skip


def apply_command(
    puppet: str, manifest: str, report: str, *, logdest: str, site: Iterable[str], options: Options
) -> list[str]:
    """Return the argument vector of a masterless run, which has its own report file instead of a job id."""
    return [
        puppet, "apply", *site,
        *_common(logdest, options),
        f"--lastrunreport={report}",
        manifest,
    ]  # fmt: skip


def _common(logdest: str, options: Options) -> list[str]:
    # Never a file of ours: Puppet aborts in the middle of its catalog if a line cannot be written to a file
    # (lib/puppet/util/log/destinations.rb; seen with a full disk). Not the console, whatever the site has
    # set: Puppet aborts in the same way when the reader of its output goes away. Syslog is the journal, where
    # the log of every run is found.
    destinations = [name.strip() for name in logdest.split(",") if name.strip() not in ("", "console")]
    if "syslog" not in destinations:
        destinations.append("syslog")
    arguments = [
        "--detailed-exitcodes",  # without it, Puppet exits 0 although resources have failed
        "--color=false",
        "--no-show_diff",
        f"--logdest={','.join(destinations)}",
    ]
    if options.noop:
        arguments.append("--noop")
    if options.tags:
        arguments.append(f"--tags={','.join(options.tags)}")
    if options.environment is not None:
        arguments.append(f"--environment={options.environment}")
    return arguments
