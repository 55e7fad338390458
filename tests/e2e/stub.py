"""A node in a known state, and a Puppet that waits for its cue.

`real_puppet` is Puppet itself, applying a manifest; with HOLD in it, the run lasts until `release`.
`stub_puppet` is a shell script with the name puppet, for races and floods, where dozens of real
runs would only be slow: it prints its settings, logs when it began and ended, and waits for the same
cue. It leaves no report.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.lab.curl import Reply
from tests.lab.machine import Machine

CONFIG = "/etc/puppet-twitch/puppet-twitch.conf"
RUNTIME = "/run/puppet-twitch"
HISTORY = "/var/lib/puppet-twitch"
SHARE = "/usr/share/puppet-twitch"

# Grants with which anonymous callers get reasons in answers.
WITH_REASONS = "anonymous = trigger status logs"

# Runs are held while there is no such file.
CUE = "/root/cue"
HELD = "/root/held"

HOLD = f"""\
exec {{ 'hold':
  command  => 'touch {HELD}; until test -e {CUE}; do sleep 0.05; done',
  provider => shell,
  path     => '/usr/bin:/bin',
  timeout  => 0,
}}
"""

STUB = "/root/stub"
STUB_LOCK = f"{STUB}/agent_catalog_run.lock"
STUB_DISABLED = f"{STUB}/agent_disabled.lock"
STUB_SCRIPT = f"""\
#!/bin/sh
case $* in
"config print "*agent_catalog_run_lockfile*) exec cat {STUB}/settings ;;
"config print "*) exec /usr/bin/puppet "$@" ;;
esac
for word; do
    case $word in --job-id=*) run=${{word#--job-id=}} ;; esac
done
echo "began $run" >>{STUB}/log
touch {HELD}
until test -e {CUE}; do sleep 0.05; done
echo "ended $run" >>{STUB}/log
"""
STUB_SETTINGS = f"""\
agent_catalog_run_lockfile = {STUB_LOCK}
agent_disabled_lockfile = {STUB_DISABLED}
config = {STUB}/puppet.conf
lastrunfile = {STUB}/last_run_summary.yaml
lastrunreport = {STUB}/last_run_report.yaml
logdest = syslog
runtimeout = 1h
"""

# As needed, because a reload takes as long as all else that CLEAR does, and few tests write a drop-in.
RELOAD = (
    "if systemctl show --property=NeedDaemonReload 'puppet*' | grep -q yes; then systemctl daemon-reload; fi"
)

# settings.json stays, because asking Puppet takes a second: the handler knows when it is outdated.
CLEAR = f"""\
touch {CUE}
systemctl stop puppet-twitch-watch.path puppet-twitch-watch.service \\
    puppet-twitch.socket puppet-twitch-run.socket puppet-twitch-log.socket puppet-twitch.service \\
    'puppet-twitch@*.service' 'puppet-twitch-run@*.service' 'puppet-twitch-log@*.service'
rm -rf /etc/systemd/system/puppet-twitch*.d {STUB} {HELD}
rm -f /var/cache/puppet/state/agent_*.lock
find {RUNTIME} -mindepth 1 ! -name settings.json -delete
rm -rf {HISTORY}/runs {HISTORY}/begun.json
cp /root/puppet-twitch/units/puppet-twitch.conf {CONFIG}
{RELOAD}
systemctl reset-failed
systemctl start puppet-twitch.socket
"""

# In these states: a unit that has ended is listed as long as a process that its run has left behind.
RUN_UNITS = (
    "systemctl list-units --plain --no-legend --state=activating,active,deactivating"
    " 'puppet-twitch-run@*' | cut -d' ' -f1"
)

# How the nodes were when they were last cleared: `Machine.changes`.
_CLEARED: dict[Machine, int] = {}


def clear(node: Machine) -> None:
    """Put the node back to the state after an installation: the sockets, and nothing else of ours."""
    # A fixture clears its node before and after a test: nothing has happened between two tests.
    if _CLEARED.get(node) != node.changes:
        node.sh(CLEAR, timeout_s=180)  # systemd gives a run 90 s to end
        _CLEARED[node] = node.changes


@contextmanager
def kept(node: Machine, *paths: str) -> Iterator[None]:
    """Put these files back at the end, those that have changed: Puppet is asked again after each change."""
    before = _texts(node, paths)
    try:
        yield
    finally:
        after = _texts(node, paths)
        for path, text in before.items():
            if text is None:
                node.run("rm", "-rf", path)
            elif text != after[path]:
                node.write(path, text)


def _texts(node: Machine, paths: Sequence[str]) -> dict[str, str | None]:
    return {path: node.read(path) if node.exists(path) else None for path in paths}


def real_puppet(node: Machine, manifest: str, *, access: str = "") -> None:
    """Make runs `puppet apply` of a manifest; see `hold` for one with HOLD in it."""
    release(node)
    node.write("/root/site.pp", manifest)
    _configure(node, access, "command = apply\nmanifest = /root/site.pp")


def stub_puppet(node: Machine, *, access: str = "") -> None:
    """Make runs use the stub."""
    release(node)
    node.write(f"{STUB}/puppet", STUB_SCRIPT, 0o755)
    node.write(f"{STUB}/settings", STUB_SETTINGS)
    _configure(node, access, f"path = {STUB}/puppet")


def _configure(node: Machine, access: str, puppet: str) -> None:
    cooldown = "" if "cooldown" in access else "cooldown = 0"
    node.write(CONFIG, f"[access]\n{cooldown}\n{access}\n[puppet]\n{puppet}\n")


# -- runs ---------------------------------------------------------------------------------------


def trigger(node: Machine, query: str = "") -> Reply:
    """Trigger a run."""
    return node.curl(f"/puppet/twitch{query}")


def started(node: Machine, query: str = "") -> str:
    """Trigger a run, which must be answered 202; return its id."""
    reply = trigger(node, query)
    assert reply.status == 202, reply
    return str(reply.headers["Puppet-Run"])


def started_when_fixed(node: Machine) -> str:
    """Trigger a run after a fault was fixed: the listener remembers answers, refusals too, for a second."""

    def run() -> str:
        reply = trigger(node)
        return str(reply.headers["Puppet-Run"]) if reply.status == 202 else ""

    return node.wait(run)


def runs_again(node: Machine) -> None:
    """See that the next trigger is a run of the stub, from beginning to end, and that nothing has failed."""
    before = len(stub_log(node))
    run = started_when_fixed(node)
    end_of(node, run)
    assert stub_log(node)[before:] == in_order(run)
    assert node.curl("/puppet/status").body == "idle\n"
    assert node.sh("systemctl --failed --no-legend").stdout == ""


def hold(node: Machine, query: str = "") -> str:
    """Start a run that lasts until `release`; return its id when Puppet is running."""
    hold_runs(node)
    run = started(node, query)
    node.wait(f"test -e {HELD}")
    return run


def hold_runs(node: Machine) -> None:
    """Hold every run from now on, until `release`."""
    node.run("rm", "-f", CUE, HELD)


def release(node: Machine) -> None:
    """Let runs that are held go on, and hold no later ones."""
    node.run("touch", CUE)


def end_of(node: Machine, run: str) -> dict[str, Any]:
    """Wait until a run has its verdict and its unit is gone; return its record."""
    reply = node.curl(f"/puppet/runs/{run}?wait=180", timeout_s=240)
    assert reply.headers["Puppet-Verdict"], reply
    node.wait(lambda: not unit_of(node, run))
    return record(node, run)


def record(node: Machine, run: str) -> dict[str, Any]:
    """Return the record of a run, which is in /run or already on the disk."""
    records = (f"{top}/runs/{run}.json" for top in (RUNTIME, HISTORY))
    content: dict[str, Any] = json.loads(
        node.sh(" 2>/dev/null || ".join(f"cat {path}" for path in records)).stdout
    )
    return content


def await_no_run(node: Machine) -> None:
    """Wait until no run, question or conclude is left."""
    node.wait(f'test -z "$({RUN_UNITS})"')


def unit_of(node: Machine, run: str) -> str:
    """Return the name of the unit of a run that is running or being concluded; '' if it has ended."""
    units = node.sh(
        f"for unit in $({RUN_UNITS}); do"
        f' test "$(systemctl show -P InvocationID "$unit")" = {run} && echo "$unit"; done; true'
    )
    return units.stdout.strip()


def pid_of(node: Machine, run: str) -> int:
    """Return the main process of a run."""
    return int(node.run("systemctl", "show", "-P", "MainPID", unit_of(node, run)).stdout)


def stub_log(node: Machine) -> list[str]:
    """Return the stub's log: lines `began ID` and `ended ID`."""
    return node.sh(f"cat {STUB}/log 2>/dev/null || true").stdout.splitlines()


def in_order(*runs: str) -> list[str]:
    """Return the stub's log of these runs, one after the other."""
    return [f"{word} {run}" for run in runs for word in ("began", "ended")]


def state(node: Machine, unit: str, *properties: str) -> dict[str, str]:
    """Return properties of a unit."""
    result = node.run("systemctl", "show", unit, *(f"--property={name}" for name in properties))
    return dict(line.split("=", 1) for line in result.stdout.splitlines())


def drop_in(node: Machine, unit: str, text: str) -> None:
    """Write a drop-in for a unit, as an operator would."""
    node.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
    node.run("systemctl", "daemon-reload")


def per_connection(node: Machine) -> None:
    """Switch to a listener for each connection, as the comment of the shipped drop-in says."""
    node.sh("\n".join(["set -e", *_recipe(node)]))


def one_listener(node: Machine) -> None:
    """Switch back to one listener: remove the drop-in, then the same last three commands."""
    node.sh("\n".join(["set -e", "rm -r /etc/systemd/system/puppet-twitch.socket.d", *_recipe(node)[-3:]]))


def _recipe(node: Machine) -> list[str]:
    lines = node.read(f"{SHARE}/per-connection.conf").splitlines()
    commands = [line[len("#   ") :] for line in lines if line.startswith("#   ")]
    assert len(commands) == 5
    return commands


# -- HTTP from outside --------------------------------------------------------------------------

VERSION = b"GET /version HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"


def exchange(connection: socket.socket, request: bytes = VERSION) -> bytes:
    """Send a request over a new connection; return everything received until its end."""
    with connection:
        connection.settimeout(60)
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))
