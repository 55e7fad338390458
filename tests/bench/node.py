"""The machine that is measured: puppet-twitch, its peer, and a stub that both run in place of Puppet.

The peer is Debian's `webhook` (adnanh/webhook), a daemon in Go that runs a command for a request.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.lab.machine import Machine

PORT, PEER_PORT = 2023, 9000
TRIGGER, PEER_TRIGGER, PEER_TRIGGER_AND_WAIT = "/puppet/twitch", "/hooks/puppet", "/hooks/puppet-and-wait"
CONFIG = "/etc/puppet-twitch/puppet-twitch.conf"
LISTENER = "puppet-twitch.service"
END_WITHIN_S = 60
TLS = "/etc/bench-tls"

STUB = "/run/stub"
# The stub does in a few milliseconds what Puppet does: it prints its settings, takes and releases its
# lock, and writes its report. `began` has a line for each run: the time of its execution, plus what sh
# and date take to start.
SCRIPT = f"""\
#!/bin/sh
if test "$1" = config; then
    exec cat {STUB}/settings
fi
date +%s.%N >>{STUB}/began
for word; do
    case $word in --job-id=*) run=${{word#--job-id=}} ;; esac
done
echo $$ >{STUB}/agent_catalog_run.lock
while test -e {STUB}/hold; do sleep 0.05; done
echo "--- !ruby/object:Puppet::Transaction::Report
time: '$(date +%Y-%m-%dT%H:%M:%S.000000000+00:00)'
status: unchanged
transaction_completed: true
environment: production
job_id: ${{run:-none}}" >{STUB}/last_run_report.yaml
rm {STUB}/agent_catalog_run.lock
"""
SETTINGS = f"""\
agent_catalog_run_lockfile = {STUB}/agent_catalog_run.lock
agent_disabled_lockfile = {STUB}/agent_disabled.lock
config = {STUB}/puppet.conf
lastrunfile = {STUB}/last_run_summary.yaml
lastrunreport = {STUB}/last_run_report.yaml
logdest = syslog
runtimeout = 1h
"""
HOOKS = [
    {"id": "puppet", "execute-command": f"{STUB}/puppet"},
    {
        "id": "puppet-and-wait",
        "execute-command": f"{STUB}/puppet",
        "include-command-output-in-response": True,
    },
]
# By command line or by user; the brackets keep pgrep itself out of the result.
OURS = "{ pgrep -f '[/]usr/lib/puppet-twitch'; pgrep -u twitch; } | sort -u"
PEERS = "pgrep -x webhook"


def prepare(node: Machine, *, peer: bool = True) -> None:
    """Make both run the stub as root, and start the peer, which stays; or make only ours run it."""
    node.write(f"{STUB}/puppet", SCRIPT, 0o755)
    node.write(f"{STUB}/settings", SETTINGS)
    node.write(CONFIG, f"[access]\ncooldown = 0\n[puppet]\npath = {STUB}/puppet\n")
    if not peer:
        return
    node.write("/etc/webhook.conf", json.dumps(HOOKS))
    node.run("systemctl", "start", "webhook.service")
    node.wait(f"ss -Hltn sport = :{PEER_PORT} | grep -q .")


def use_real_puppet(node: Machine) -> None:
    """Make runs `puppet apply` of an empty manifest."""
    node.write("/root/site.pp", "")
    node.write(CONFIG, "[access]\ncooldown = 0\n[puppet]\ncommand = apply\nmanifest = /root/site.pp\n")


def use_tls(node: Machine, files: Mapping[str, str], client: str, access: str = "") -> None:
    """Let the listener speak TLS with these files: cert, key, ca, crl; `client` is optional or required.

    `access` are lines of [access].
    """
    for name, text in files.items():
        node.write(f"{TLS}/{name}", text, 0o600 if name == "key" else 0o644)
    node.write(
        f"/etc/systemd/system/{LISTENER}.d/tls.conf",
        f"[Service]\nLoadCredential=cert:{TLS}/cert\nLoadCredential=key:{TLS}/key\n",
    )
    tls = f"[tls]\nenabled = yes\nclient = {client}\nca = {TLS}/ca\ncrl = {TLS}/crl\n"
    node.write(CONFIG, f"[access]\ncooldown = 0\n{access}\n[puppet]\npath = {STUB}/puppet\n{tls}")
    node.sh(f"systemctl daemon-reload && systemctl stop {LISTENER}")


def use_plain(node: Machine) -> None:
    """Undo `use_tls`."""
    node.write(CONFIG, f"[access]\ncooldown = 0\n[puppet]\npath = {STUB}/puppet\n")
    node.sh(
        f"rm -rf /etc/systemd/system/{LISTENER}.d {TLS} && systemctl daemon-reload"
        f" && systemctl stop {LISTENER}"
    )


def inside(node: Machine, path: str) -> Path:
    """Return the path of a file of the machine, from outside: entering it would change the figures."""
    return Path(f"/proc/{node.leader}/root{path}")


def await_end(node: Machine, run: str) -> None:
    """Wait until a run has its verdict and its unit is gone."""
    await_record(node, run)
    await_quiet(node)


def await_record(node: Machine, run: str) -> dict[str, Any]:
    """Wait until a run has its verdict; return its record, which is in /run or already on the disk."""
    records = [inside(node, f"{top}/puppet-twitch/runs/{run}.json") for top in ("/run", "/var/lib")]
    until = time.monotonic() + END_WITHIN_S
    while time.monotonic() < until:
        for record in records:
            with contextlib.suppress(FileNotFoundError):
                content: dict[str, Any] = json.loads(record.read_text())
                if content["state"] == "finished":
                    return content
        time.sleep(0.002)
    raise TimeoutError(f"run {run} did not end in {END_WITHIN_S} s")


def await_quiet(node: Machine) -> None:
    """Wait until no run and no handler is left."""
    node.wait("! systemctl list-units --plain --no-legend 'puppet-twitch-run@*' | grep -q .")


def began(node: Machine) -> list[float]:
    """Return when each run of the stub was executed, in epoch seconds."""
    try:
        return [float(line) for line in inside(node, f"{STUB}/began").read_text().split()]
    except FileNotFoundError:
        return []


def stop_listener(node: Machine) -> None:
    """Stop the listener; the socket goes on listening."""
    node.run("systemctl", "stop", LISTENER, "puppet-twitch@*.service")


def memory_mib(
    node: Machine, field: str = "VmRSS", pids: str = f"systemctl show -P MainPID {LISTENER}"
) -> float:
    """Return resident memory of processes, or its peak (VmHWM); shared pages count in full."""
    script = f"for pid in $({pids}); do grep -h ^{field}: /proc/$pid/status; done"
    lines = node.sh(script, check=False).stdout.splitlines()
    return sum(int(line.split()[1]) for line in lines) / 1024


def count(node: Machine, pids: str) -> float:
    """Return how many processes there are."""
    return float(len(node.sh(f"{pids} || true").stdout.split()))


def cpu_s(node: Machine) -> float:
    """Return the CPU time that the whole machine has used, its systemd and journald included."""
    statistics = inside(node, "/sys/fs/cgroup/cpu.stat").read_text().split()
    return int(statistics[statistics.index("usage_usec") + 1]) / 1e6


def questions(node: Machine) -> int:
    """Return how many handlers have been started so far."""
    return int(node.run("systemctl", "show", "-P", "NAccepted", "puppet-twitch-run.socket").stdout)


def set_shape(node: Machine, *, per_connection: bool) -> None:
    """Switch to a listener for each connection, or back to one for all."""
    directory = "/etc/systemd/system/puppet-twitch.socket.d"
    example = "/usr/share/puppet-twitch/per-connection.conf"
    change = f"mkdir -p {directory} && cp {example} {directory}/" if per_connection else f"rm -rf {directory}"
    node.sh(f"{change} && systemctl daemon-reload && systemctl stop {LISTENER}")
    node.run("systemctl", "restart", "puppet-twitch.socket")
