"""Questions to systemd and to other programs of the node, asked with their own commands."""

from __future__ import annotations

import functools
import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional

from twitch.root import expiry_timer
from twitch.root import unit as root_unit

SOCKET, RUN_SOCKET, LOG_SOCKET = SOCKETS = (
    "puppet-twitch.socket",
    "puppet-twitch-run.socket",
    "puppet-twitch-log.socket",
)
LISTENER, LISTENER_INSTANCE = "puppet-twitch.service", "puppet-twitch@.service"
RUN, LOG = "puppet-twitch-run@.service", "puppet-twitch-log@.service"
WATCH, WATCH_SERVICE = "puppet-twitch-watch.path", "puppet-twitch-watch.service"  # optional
SERVICES = (LISTENER, LISTENER_INSTANCE, RUN, LOG, expiry_timer.SERVICE)

# Only Puppet takes longer than an instant. It has the same limit where a run needs its settings
# (root/settings.py).
COMMAND_TIMEOUT_S = 25

# journald itself sets the user, so no other user's message matches.
BY_SYSTEMD = ("_TRANSPORT=journal", "_UID=0", "SYSLOG_FACILITY=3")


class Account(NamedTuple):
    """The user and the group that the listener's unit runs as; a site may use other names, by drop-ins."""

    user: str = "twitch"
    group: str = "twitch"


def account() -> Account:
    """Return the account of the listener's unit, or the default one where systemd does not answer."""
    user = show(listener(), "User") or Account().user
    return Account(user, show(listener(), "Group") or user)


def listener() -> str:
    """Return the unit that serves: one listener, or with Accept=yes a template for each connection."""
    return LISTENER_INSTANCE if show(SOCKET, "Accept") == "yes" else LISTENER


def credentials(unit: str) -> dict[str, str]:
    """Return LoadCredential= of a unit, name to path. `systemctl show` prints it as [unprintable]."""
    escaped = re.sub("[^A-Za-z0-9]", lambda match: f"_{ord(match[0]):02x}", _loadable(unit))
    path = f"/org/freedesktop/systemd1/unit/{escaped}"
    interface = ["org.freedesktop.systemd1", path, "org.freedesktop.systemd1.Service", "LoadCredential"]
    reply = output(["busctl", "--json=short", "get-property", *interface])
    return dict(json.loads(reply)["data"]) if reply else {}


def show(unit: str, name: str) -> str:
    """Return a property of a unit as `systemctl show -P` prints it, or "" if it has no value."""
    return properties(_loadable(unit)).get(name, "")


@functools.cache
def properties(unit: str) -> dict[str, str]:
    """Return the properties of a unit that have a value; they are read once, because `check` changes nothing.

    For one property, systemctl asks PID 1 for all, too: 50 questions were most of the time of `check`.
    """
    found: dict[str, str] = {}
    name = ""
    for line in (output(["systemctl", "show", unit]) or "").splitlines():
        key, equals, value = line.partition("=")
        if not (equals and re.fullmatch("[A-Z][A-Za-z0-9]*", key)):  # a value of several lines
            found[name] = f"{found.get(name, '')}\n{line}"
            continue
        # A list of addresses has a line for each.
        found[key] = f"{found[key]}\n{value}" if key in found else value
        name = key
    return found


def changed(units: Sequence[str]) -> list[str]:
    """Return those of the units whose files have changed since systemd has read them.

    This is a question of its own, after all units were loaded: PID 1 looks for the directories of drop-ins
    when it loads a unit, and before that it does not know a new directory (seen with systemd 252).
    """
    command = ["systemctl", "show", "-P", "NeedDaemonReload", *map(_loadable, units)]
    answers = (output(command) or "").split()
    return [unit for unit, answer in zip(units, answers) if answer == "yes"]


def complaints(unit: str) -> list[str]:
    """Return the last texts, three at most, with which systemd has logged failures of a unit in this hour.

    A template has those of its instances.
    """
    texts: list[str] = []
    for message in _failures(unit):
        text = message.partition(": ")[2]
        # What systemd ignores is no reason: "Failed to read pids.max for control group …, ignoring: …" (262).
        if ", ignoring" not in text:
            if text in texts:
                texts.remove(text)
            texts.append(text)
    return texts[-3:]


def _failures(unit: str) -> Iterator[str]:
    """Yield the messages about failures of a unit, the oldest first.

    Until it executes the command of the unit, a process that systemd has started logs as systemd does.
    `--unit` would miss its message where journald was late: the process had ended then, and the entry has no
    unit. In the sandbox of the unit, it cannot reach journald; then only its exit status is logged (seen with
    252, 257 and 262).
    """
    _synchronize()
    name = re.escape(unit).replace("@", "@[^ ]+")
    options = ("--quiet", "--boot", "--since=-1h", "--output=json", "--lines=30")
    failures = f"--grep=^{name}: (Failed (at step|to) |Main process exited, )"
    lines = output(["journalctl", *options, failures, *BY_SYSTEMD]) or ""
    # journalctl(1): with --grep and --lines, the newest comes first.
    for line in reversed(lines.splitlines()):
        message = json.loads(line).get("MESSAGE")
        if isinstance(message, str):  # a text that is not UTF-8 is a list
            yield message


def instances(unit: str) -> str:
    """Return the pattern for the instances of a template, as commands take it; another unit as it is."""
    return unit.replace("@.", "@*.")


@functools.cache
def _synchronize() -> None:
    """Wait until journald has stored what it has received: a unit may have failed a moment ago."""
    output(["journalctl", "--sync"])


def unit_of(pid: int) -> str:
    """Return the unit of a process, or "" if it has ended or there is none."""
    return root_unit.cgroup(pid).rpartition("/")[2]


def is_main(pid: int) -> bool:
    """Return whether a process is the main one of a service of the system."""
    directory, _, unit = root_unit.cgroup(pid).rpartition("/")
    service = directory.startswith("/system.slice") and unit.endswith(".service")
    return service and show(unit, "MainPID") == str(pid)


def end_command(pid: int) -> str:
    """Return the command that ends a process, also a stopped one, and waits for its end.

    The main process of a service is stopped by systemd, which may start it again otherwise. A run of Puppet's
    daemon, or of cron, is another process of its unit, and the unit goes on.
    """
    if is_main(pid):
        return f"systemctl stop {shlex.quote(unit_of(pid))}"  # `app@a\\x2db.service`
    return f"kill {pid}; kill -CONT {pid}; timeout 30 tail --pid={pid} -f /dev/null || kill -KILL {pid}"


def drop_in_command(unit: str, section: str, line: str) -> str:
    """Return the command that adds a line to a unit, after its other drop-ins, and lets systemd read it."""
    directory = f"/etc/systemd/system/{unit}.d"
    # A name for each setting, because one fix must not undo another.
    name = re.sub("[^a-z]+", "-", line.rpartition("=")[0].lower())
    lines = f"echo '[{section}]'; echo {shlex.quote(line)};"
    return f"mkdir -p {directory}; {{ {lines} }} >{directory}/zzzz-{name}.conf; systemctl daemon-reload"


def output(command: Sequence[str], stdin: str = "") -> Optional[str]:
    """Return what a command prints, or None if there is no such command or it fails."""
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # a process chooses its own name, for instance
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _loadable(unit: str) -> str:
    """Return an instance in place of a template: systemd knows properties of instances only."""
    return unit.replace("@.", "@check.")
