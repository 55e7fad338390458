"""What there is to see of a Puppet run: its outcome, its log, what it leaves, and what its processes have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.lab.machine import Machine

REPORT = "/var/cache/puppet/state/last_run_report.yaml"


class Seen(NamedTuple):
    """All that is compared of a run. Each field is name -> value."""

    outcome: dict[str, Any]  # of each resource, from the report
    log: dict[str, Any]  # what Puppet logged, by its source
    left: dict[str, Any]  # files, and processes that outlive the run
    agent: dict[str, Any]  # the process of the agent
    command: dict[str, Any]  # a process that the agent has started
    agent_environment: dict[str, Any]
    command_environment: dict[str, Any]


def differences(one: Seen, other: Seen, explained: Mapping[str, Mapping[str, str]]) -> str:
    """Return all that differs and is not explained, a line each."""
    found = []
    for field, before, after in zip(Seen._fields, one, other):
        for name in sorted({*before, *after} - {*explained.get(field, ())}):
            if before.get(name) != after.get(name):
                found.append(f"{field}: {name}: {before.get(name)!r} instead of {after.get(name)!r}")
    return "\n".join(found)


def seen(machine: Machine) -> Seen:
    """Return what there is to see of the run that has just ended."""
    report = read_report(machine)
    directory = machine.root / "root/seen"
    listed = machine.sh(f"find {LEFT} -printf '%p %m %u %g %s\\n'", check=False).stdout.splitlines()
    processes = machine.sh("ps -eo args= | grep '^sleep 300[0-9]$'", check=False).stdout.splitlines()
    return Seen(
        {name: outcome(status) for name, status in report["resource_statuses"].items()},
        logged(report["logs"]),
        {"processes": sorted(processes), "files": sorted(listed)},
        process(directory / "agent"),
        process(directory / "exec"),
        environment(directory / "agent"),
        environment(directory / "exec"),
    )


LEFT = "/root/by-hand /root/purged /root/tidied /root/replaced* /root/lines /etc/by-hand.conf"


class ReportLoader(yaml.CSafeLoader):
    """Reads Puppet's report: Ruby's objects as mappings, times as texts."""


ReportLoader.add_multi_constructor(
    "!ruby/", lambda loader, suffix, node: loader.construct_mapping(node, deep=True)
)
ReportLoader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: node.value)


def read_report(machine: Machine) -> dict[str, Any]:
    path = machine.root / REPORT.lstrip("/")
    loaded: dict[str, Any] = yaml.load(path.read_bytes(), ReportLoader)
    return loaded


STATUS = ("failed", "failed_to_restart", "changed", "skipped", "out_of_sync", "noop", "provider_used")
EVENT = ("property", "previous_value", "desired_value", "status", "message")
# Puppet's lock beside a file that it writes, and how long a run took.
VARYING = re.compile(r"[0-9]{8}-[0-9]+-\w+\.lock|in [0-9.]+ seconds")


def outcome(status: dict[str, Any]) -> dict[str, Any]:
    """Return what became of a resource."""
    events = [{key: VARYING.sub("", str(event.get(key))) for key in EVENT} for event in status["events"]]
    return {**{key: status.get(key) for key in STATUS}, "events": events}


def logged(entries: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the messages of each source, a resource by its name; without those of pluginsync."""
    messages: dict[str, list[str]] = {}
    for entry in entries:
        source = re.sub(r"^/Stage\[main\]/Main/(\w+\[.*\])(/\w+)?$", r"\1", entry["source"])
        if not source.startswith("/File[/var/cache/puppet/lib"):
            messages.setdefault(source, []).append(
                f"{entry['level']}: {VARYING.sub('', str(entry['message']))}"
            )
    return messages


FILES = (
    *("cwd", "namespaces", "oom_score_adj", "timerslack_ns", "personality", "coredump_filter"),
    *("io", "scheduling"),
)


def process(directory: Path) -> dict[str, str]:
    """Return what a process has from its parent, by by_hand/probe."""
    found = {name: (directory / name).read_text().strip() for name in FILES}
    status = dict(line.split(":", 1) for line in (directory / "status").read_text().splitlines())
    names = ("Umask", "Groups", "SigBlk", "SigIgn", "NoNewPrivs", "Seccomp", "Cpus_allowed_list")
    capabilities = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    found.update({name: status[name].strip() for name in (*names, *capabilities)})
    for line in (directory / "limits").read_text().splitlines()[1:]:
        found[line[:26].strip()] = " ".join(line[26:].split()[:2])
    # Field 3 of proc(5) is the first one after the name, which is in parentheses.
    fields = (directory / "stat").read_text().rpartition(")")[2].split()
    pid = (directory / "stat").read_text().split()[0]
    found["session"] = "its own" if fields[3] == pid else "of another process"
    found["terminal"] = "none" if fields[4] == "0" else "some"
    found["nice"] = fields[16]
    return {**found, **descriptors((directory / "fd").read_text())}


def descriptors(listing: str) -> dict[str, str]:
    """Return where the standard descriptors lead, and which other files are open.

    Other pipes and sockets are Ruby's own.
    """
    found: dict[str, str] = {}
    for number, target in re.findall(r" (\d+) -> (.+)", listing):
        kind = target.partition(":[")[0]
        if int(number) <= 2:
            found[f"fd {number}"] = re.sub(r"/dev/pts/.*", "a terminal", kind)
        elif target.startswith("/") and not target.endswith(("/root/probe", ".jsonl")):
            found[f"file {target}"] = "open"
    return found


def environment(directory: Path) -> dict[str, str]:
    """Return the environment of a process."""
    text = (directory / "environ").read_text(errors="surrogateescape")
    return dict(variable.split("=", 1) for variable in text.split("\0") if variable)
