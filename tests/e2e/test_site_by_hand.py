"""What a triggered run does is what the same run by hand would have done, and the daemon's.

One catalog with many kinds of resources (by_hand/site.pp) is run from a login shell, by puppet.service and
by a trigger; masterless, from a login shell, in a plain unit and by a trigger. Compared are the outcome of
each resource, Puppet's log, what is left behind, and what the agent and its commands have from their parent:
environment, limits, umask, signals, descriptors and more. All that differs is in BY_HAND and BY_THE_DAEMON,
with the reason why it cannot be the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.lab.curl import Reply
from tests.lab.machine import Machine
from tests.lab.server import ENVIRONMENTS, PuppetServer

HERE = Path(__file__).parent / "by_hand"
MODULE = "modules/by_hand/lib"
MANIFEST = (HERE / "site.pp").read_text()
PROBE = "exec { '/root/probe /root/seen/exec': }\nnotify { 'facts': message => $facts['by_hand'] }\n"

CONFIG = "/etc/puppet-twitch/puppet-twitch.conf"
ACCESS = "[access]\nanonymous = trigger status logs\ncooldown = 0\n"
REPORT = "/var/cache/puppet/state/last_run_report.yaml"
LOCK = "/var/cache/puppet/state/agent_catalog_run.lock"
CHILDREN = [f"sleep {seconds}" for seconds in range(3000, 3005)]

AGENT = "puppet agent --onetime --no-daemonize --detailed-exitcodes"
APPLY = "puppet apply --detailed-exitcodes /root/site.pp"

# A login shell on a terminal, as getty@.service starts one: it does not ignore SIGPIPE, and what it leaves
# behind lives on.
LOGIN = (
    *("systemd-run", "--wait", "--pipe", "--collect", "--quiet", "--property=PAMName=login"),
    *("--property=IgnoreSIGPIPE=no", "--property=KillMode=process"),
    *("script", "--quiet", "--return", "/dev/null", "--command"),
)
# A unit with the settings of puppet.service, for runs without a server.
UNIT = (
    *("systemd-run", "--wait", "--collect", "--quiet", "--property=KillMode=process"),
    "--property=EnvironmentFile=-/etc/default/puppet",
)

# What a site may set for puppet.service, and then for our runs in the same way.
SITE = """\
[Service]
Environment=http_proxy=http://proxy.example.com:3128 no_proxy=puppet FACTER_site=north LANG=C "SPACES=a b"
UMask=0027
LimitNOFILE=4096:8192
LimitCORE=infinity
LimitNICE=10
Nice=5
OOMScoreAdjust=100
CPUSchedulingPolicy=batch
IOSchedulingClass=idle
CPUAffinity=0
TimerSlackNSec=1ms
WorkingDirectory=/root
PrivateTmp=yes
CapabilityBoundingSet=~CAP_SYS_TIME
"""
DROP_INS = [
    f"/etc/systemd/system/{unit}.service.d/by-hand.conf" for unit in ("puppet", "puppet-twitch-run@")
]  # fmt: skip


class Seen(NamedTuple):
    """All that is compared of a run. Each field is name -> value."""

    outcome: dict[str, Any]  # of each resource, from the report
    log: dict[str, Any]  # what Puppet logged, by its source
    left: dict[str, Any]  # files, and processes that outlive the run
    agent: dict[str, Any]  # the process of the agent
    command: dict[str, Any]  # a process that the agent has started
    agent_environment: dict[str, Any]
    command_environment: dict[str, Any]


# Field of Seen -> name -> why it is not the same.
TERMINAL = "a run that needs a terminal by hand would hang elsewhere, so services have none"
SIGPIPE = (
    "systemd ignores SIGPIPE in services; Python as well, so IgnoreSIGPIPE=no of a site does not reach Puppet"
)
SHELL = "of a login, with HOME and the rest: services of the system have no such variables"
DEFAULT = "from EnvironmentFile=, for the daemon as well"
OWN_UNIT = (
    "names a unit: that of the daemon for the daemon's runs; a run's own would be wrong for what it starts"
)
LOGIN_DIRECTORY = "the directory of the caller of a command; services have /"
LOGIN_GROUPS = "a login adds the user's groups; services have only what User= or SupplementaryGroups= add"
DAEMON_FORKS = "the daemon forks for each run, so the run is in the daemon's session"
RUBY_MASK = "Ruby blocks all signals around a fork, and the daemon's commands inherit that"

PROCESS_BY_HAND = {
    "fd 0": TERMINAL,
    "fd 1": TERMINAL,
    "fd 2": TERMINAL,
    "terminal": TERMINAL,
    "session": TERMINAL,
    "SigIgn": SIGPIPE,
    "cwd": LOGIN_DIRECTORY,
    "Groups": LOGIN_GROUPS,
}
ENVIRONMENT_BY_HAND = {
    **dict.fromkeys(("HOME", "LOGNAME", "MAIL", "PWD", "SHELL", "SHLVL", "TERM", "USER", "_"), SHELL),
    "DAEMON_OPTS": DEFAULT,
}
BY_HAND = {
    "log": {"Exec[closed-pipe]": SIGPIPE},
    "agent": PROCESS_BY_HAND,
    "command": PROCESS_BY_HAND,
    "agent_environment": ENVIRONMENT_BY_HAND,
    "command_environment": ENVIRONMENT_BY_HAND,
}
ENVIRONMENT_BY_THE_DAEMON = dict.fromkeys(
    ("INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"),
    OWN_UNIT,
)
BY_THE_DAEMON = {
    "agent": {"session": DAEMON_FORKS},
    "command": {"SigBlk": RUBY_MASK},
    "agent_environment": ENVIRONMENT_BY_THE_DAEMON,
    "command_environment": ENVIRONMENT_BY_THE_DAEMON,
}


# ---- the tests


@pytest.fixture
def node(agent: Machine, server: PuppetServer) -> Iterator[Machine]:
    """Return an enrolled node that knows the package, the probe and the way back to the beginning."""
    prepare(agent)
    agent.write(CONFIG, ACCESS)
    server.machine.copy(HERE / "lib", f"{ENVIRONMENTS}/production/{MODULE}")
    yield agent
    server.manifest("production", "")
    server.machine.run("rm", "-r", f"{ENVIRONMENTS}/production/modules/by_hand")
    agent.sh(f"sh /root/by-hand-reset; rm -f {' '.join(DROP_INS)}; systemctl daemon-reload")


@pytest.fixture
def masterless(node: Machine) -> Machine:
    """Return the node, set up for `puppet apply`."""
    node.write("/root/site.pp", MANIFEST)
    node.copy(HERE / "lib", f"{ENVIRONMENTS}/production/{MODULE}")
    node.write(CONFIG, f"{ACCESS}[puppet]\ncommand = apply\nmanifest = /root/site.pp\n")
    return node


def test_triggered_agent_run_is_like_one_by_hand_and_the_daemons(node: Machine, server: PuppetServer) -> None:
    server.manifest("production", MANIFEST)
    reset(node)
    status = login(node, AGENT)
    by_hand = seen(node)
    reset(node)
    daemon(node)
    by_the_daemon = seen(node)
    reset(node)
    reply = trigger(node)
    triggered = seen(node)
    assert triggered.left["processes"] == CHILDREN
    assert differences(by_hand, triggered, BY_HAND) == []
    assert differences(by_the_daemon, triggered, BY_THE_DAEMON) == []
    # 6: some resources have changed, and some have failed.
    assert (status, exit_status(node, reply)) == (6, "6")
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")


def test_triggered_masterless_run_is_like_one_by_hand_and_in_a_unit(masterless: Machine) -> None:
    reset(masterless)
    status = login(masterless, APPLY)
    by_hand = seen(masterless)
    reset(masterless)
    in_a_unit = masterless.run(*UNIT, *APPLY.split(), check=False, timeout_s=120).returncode
    by_the_unit = seen(masterless)
    reset(masterless)
    reply = trigger(masterless)
    triggered = seen(masterless)
    assert triggered.left["processes"] == CHILDREN
    assert differences(by_hand, triggered, BY_HAND) == []
    assert differences(by_the_unit, triggered, BY_THE_DAEMON) == []
    assert (status, in_a_unit, exit_status(masterless, reply)) == (6, 6, "6")
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")


def test_settings_of_a_site_reach_a_triggered_run_as_the_daemons(node: Machine, server: PuppetServer) -> None:
    server.manifest("production", PROBE)
    for path in DROP_INS:
        node.write(path, SITE)
    node.run("systemctl", "daemon-reload")
    reset(node)
    daemon(node)
    by_the_daemon = seen(node)
    reset(node)
    reply = trigger(node)
    triggered = seen(node)
    assert differences(by_the_daemon, triggered, BY_THE_DAEMON) == []
    assert (triggered.command["Umask"], triggered.command["Max open files"]) == ("0027", "4096 8192")
    assert triggered.command_environment["SPACES"] == "a b"
    # The umask of the site is for Puppet: the listener can still read the record.
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (200, "changed")


def differences(one: Seen, other: Seen, explained: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return all that differs and is not explained."""
    found = []
    for field, before, after in zip(Seen._fields, one, other):
        for name in sorted({*before, *after} - {*explained.get(field, ())}):
            if before.get(name) != after.get(name):
                found.append(f"{field}: {name}: {before.get(name)!r} instead of {after.get(name)!r}")
    return found


# ---- the ways to run Puppet


def prepare(machine: Machine) -> None:
    machine.write("/root/probe", (HERE / "probe").read_text(), 0o755)
    machine.write("/root/by-hand-reset", (HERE / "reset.sh").read_text())
    machine.write("/etc/default/locale", "LANG=C.UTF-8\n")  # for logins; systemd has the same default
    machine.sh((HERE / "package.sh").read_text(), timeout_s=120)


def reset(machine: Machine) -> None:
    machine.sh("sh /root/by-hand-reset")


def login(machine: Machine, command: str) -> int:
    """Run a command in root's login shell; return its exit status."""
    return machine.run(
        *LOGIN, f"su --login root --command '{command}'", check=False, timeout_s=120
    ).returncode


def daemon(machine: Machine) -> None:
    """Let the daemon do the run with which it begins."""
    machine.run("systemctl", "start", "puppet.service")
    machine.wait(f"test -s {REPORT} && ! test -s {LOCK}", 120)


def trigger(machine: Machine) -> Reply:
    """Trigger a run and wait for its end."""
    return machine.curl("/puppet/twitch?async=false", timeout_s=120)


def exit_status(machine: Machine, reply: Reply) -> str:
    """Return the exit status of a run, as our event in the journal has it."""
    run = reply.headers["Puppet-Run"]
    events = machine.wait(lambda: machine.journal("_UID=0", f"TWITCH_RUN={run}", "TWITCH_VERDICT=failed"))
    return str(events[-1]["TWITCH_EXIT_STATUS"])


# ---- what is seen of a run


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


class ReportLoader(yaml.SafeLoader):
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
