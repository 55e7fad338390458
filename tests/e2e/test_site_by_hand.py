"""What a triggered run does is what the same run by hand would have done, and the daemon's.

One catalog with many kinds of resources (by_hand/site.pp) is run from a login shell, by puppet.service and
by a trigger; masterless, from a login shell, in a plain unit and by a trigger. Compared are the outcome of
each resource, Puppet's log, what is left behind, and what the agent and its commands have from their parent:
environment, limits, umask, signals, descriptors and more. All that differs is in BY_HAND and BY_THE_DAEMON,
with the reason why it cannot be the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Callable, TypeVar

import pytest

from tests.e2e import stub
from tests.e2e.run_seen import REPORT, Seen, differences, seen
from tests.e2e.systems import every_agent
from tests.lab.curl import Reply
from tests.lab.machine import Machine
from tests.lab.server import ENVIRONMENTS, PuppetServer

HERE = Path(__file__).parent / "by_hand"
MODULE = "modules/by_hand/lib"
MANIFEST = (HERE / "site.pp").read_text()
PROBE = "exec { '/root/probe /root/seen/exec': }\nnotify { 'facts': message => $facts['by_hand'] }\n"

CONFIG = "/etc/puppet-twitch/puppet-twitch.conf"
ACCESS = "[access]\nanonymous = trigger status logs\ncooldown = 0\n"
LOCK = "/var/cache/puppet/state/agent_catalog_run.lock"
CHILDREN = [f"sleep {seconds}" for seconds in range(3000, 3005)]

AGENT = "puppet agent --onetime --no-daemonize --detailed-exitcodes"
APPLY = "puppet apply --detailed-exitcodes /root/site.pp"

# A login shell on a terminal: it does not ignore SIGPIPE, and what it leaves behind lives on.
LOGIN = (
    *("systemd-run", "--wait", "--pipe", "--collect", "--quiet"),
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


# What a way to run Puppet returns.
Result = TypeVar("Result")

# Field of Seen -> name -> why it is not the same.
TERMINAL = "a run that needs a terminal by hand would hang elsewhere, so services have none"
SIGPIPE = (
    "systemd ignores SIGPIPE in services; Python as well, so IgnoreSIGPIPE=no of a site does not reach Puppet"
)
SHELL = "of a login, with HOME and the rest: services of the system have no such variables"
PATH = "of a login, from /etc/login.defs: systemd has another one with the same programs"
DEFAULT = "from EnvironmentFile=, for the daemon as well"
OWN_UNIT = (
    "names a unit: that of the daemon for the daemon's runs; a run's own would be wrong for what it starts"
)
LOGIN_DIRECTORY = "the directory of the caller of a command; services have /"
LOGIN_GROUPS = "a login adds the user's groups; services have only what User= or SupplementaryGroups= add"
DAEMON_FORKS = "the daemon forks for each run, so the run is in the daemon's session"
RUBY_MASK = "Ruby blocks all signals around a fork, and now and then a command inherits that, in any run"

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
    "PATH": PATH,
    "DAEMON_OPTS": DEFAULT,
}
BY_HAND = {
    "log": {"Exec[closed-pipe]": SIGPIPE},
    "agent": PROCESS_BY_HAND,
    "command": {**PROCESS_BY_HAND, "SigBlk": RUBY_MASK},
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
    server.machine.copy(HERE / "lib", f"{ENVIRONMENTS}/production/{MODULE}")
    yield from prepared(agent)
    server.manifest("production", "")
    server.machine.run("rm", "-r", f"{ENVIRONMENTS}/production/modules/by_hand")


@pytest.fixture
def masterless(node12: Machine) -> Iterator[Machine]:
    """Return such a node that is set up for `puppet apply`."""
    for machine in prepared(node12):
        machine.write("/root/site.pp", MANIFEST)
        machine.copy(HERE / "lib", f"{ENVIRONMENTS}/production/{MODULE}")
        machine.write(CONFIG, f"{ACCESS}[puppet]\ncommand = apply\nmanifest = /root/site.pp\n")
        yield machine
        machine.run("rm", "-r", f"{ENVIRONMENTS}/production/modules/by_hand")


def prepared(machine: Machine) -> Iterator[Machine]:
    """Give a machine what site.pp needs, and put it back at the end."""
    machine.write(CONFIG, ACCESS)
    machine.write("/root/probe", (HERE / "probe").read_text(), 0o755)
    machine.write("/root/by-hand-reset", (HERE / "reset.sh").read_text())
    machine.write("/etc/default/locale", "LANG=C.UTF-8\n")  # for logins; systemd has the same default
    machine.sh((HERE / "package.sh").read_text(), timeout_s=120)
    yield machine
    reset(machine)
    machine.sh(f"rm -f {' '.join(DROP_INS)} /etc/default/locale && rm -r /etc/apt && mv /root/apt /etc/apt")
    stub.clear(machine)


@every_agent
def test_triggered_agent_run_is_like_one_by_hand_and_the_daemons(node: Machine, server: PuppetServer) -> None:
    server.manifest("production", MANIFEST)
    status, by_hand = observed(node, lambda machine: login(machine, AGENT))
    _, by_the_daemon = observed(node, daemon)
    reply, triggered = observed(node, trigger)
    assert triggered.left["processes"] == CHILDREN
    assert differences(by_hand, triggered, BY_HAND) == ""
    assert differences(by_the_daemon, triggered, BY_THE_DAEMON) == ""
    # 6: some resources have changed, and some have failed.
    assert (status, exit_status(node, reply)) == (6, "6")
    # One resource of the catalog has `noop => true`.
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed; 1 would change")


def test_triggered_masterless_run_is_like_one_by_hand_and_in_a_unit(masterless: Machine) -> None:
    status, by_hand = observed(masterless, lambda machine: login(machine, APPLY))
    done, by_the_unit = observed(
        masterless, lambda machine: machine.run(*UNIT, *APPLY.split(), check=False, timeout_s=120)
    )
    reply, triggered = observed(masterless, trigger)
    assert triggered.left["processes"] == CHILDREN
    assert differences(by_hand, triggered, BY_HAND) == ""
    assert differences(by_the_unit, triggered, BY_THE_DAEMON) == ""
    assert (status, done.returncode, exit_status(masterless, reply)) == (6, 6, "6")
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed; 1 would change")


@every_agent
def test_settings_of_a_site_reach_a_triggered_run_as_the_daemons(node: Machine, server: PuppetServer) -> None:
    server.manifest("production", PROBE)
    for path in DROP_INS:
        node.write(path, SITE)
    node.run("systemctl", "daemon-reload")
    _, by_the_daemon = observed(node, daemon)
    reply, triggered = observed(node, trigger)
    assert differences(by_the_daemon, triggered, BY_THE_DAEMON) == ""
    assert (triggered.command["Umask"], triggered.command["Max open files"]) == ("0027", "4096 8192")
    assert triggered.command_environment["SPACES"] == "a b"
    # The umask of the site is for Puppet: the listener can still read the record.
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (200, "changed")


# ---- the ways to run Puppet


def observed(machine: Machine, run: Callable[[Machine], Result]) -> tuple[Result, Seen]:
    """Run Puppet from the same beginning; return what became of the run, and what it and its catalog show."""
    reset(machine)
    result = run(machine)
    return result, seen(machine)


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
