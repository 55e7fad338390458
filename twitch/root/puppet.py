"""Puppet itself: where it is, and how a run of it is begun.

Facts and their sources: Puppet 7.23 and 8.10 run live, and lib/puppet/ in its source. Its texts
are translated and rebranded, so none is ever parsed.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Optional

from twitch.errors import PuppetError

# The vendor's packages (AIO) and OpenVox first: where both are installed, the distribution's is a leftover.
USUAL_PATHS = ("/opt/puppetlabs/bin/puppet", "/usr/bin/puppet")

# What systemd says to this process and Puppet must not hear: OpenVox >= 8.23 takes its rundir from
# RUNTIME_DIRECTORY; a Puppet that believes in NOTIFY_SOCKET or LISTEN_FDS hands it to its children.
SYSTEMD_OWN = re.compile(
    r"LISTEN_.*|NOTIFY_SOCKET|WATCHDOG_.*|INVOCATION_ID|JOURNAL_STREAM|CREDENTIALS_DIRECTORY"
    r"|(RUNTIME|STATE|CACHE|LOGS|CONFIGURATION)_DIRECTORY|MAINPID|MANAGERPID|SYSTEMD_EXEC_PID"
    r"|SERVICE_RESULT|EXIT_(CODE|STATUS)|REMOTE_(ADDR|PORT)|MEMORY_PRESSURE_.*|FDSTORE|PUPPET_TWITCH_.*"
)


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
