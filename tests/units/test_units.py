"""The units as systemd reads them: without a complaint, sandboxed, and out of the known traps.

Each trap takes the service off the network for good; that it does is shown on booted machines in
tests/e2e, that we stay out of it also here, where it takes no machine.
"""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

import pytest

from twitch.config import KEYS
from twitch.listener import activation
from twitch.record_files import HISTORY
from twitch.root import expiry_timer

UNITS = Path(__file__).resolve().parents[2] / "units"
SOCKETS = sorted(UNITS.glob("*.socket"))
SERVICES = sorted(UNITS.glob("*.service"))
PATHS = sorted(UNITS.glob("*.path"))
LOG_READER = UNITS / "puppet-twitch-log@.service"
LISTENERS = [UNITS / "puppet-twitch.service", UNITS / "puppet-twitch@.service"]

# In tenths, as --threshold= takes it; the sandbox's figure in README.
EXPOSURE_THRESHOLD = 5


def read(unit: Path) -> dict[str, dict[str, list[str]]]:
    """A unit as section -> directive -> values, in order."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(section, {}).setdefault(name, []).append(value)
    return found


def name(unit: Path) -> str:
    return unit.name


def test_systemd_has_nothing_to_say_about_them() -> None:
    command: list[str | Path] = ["systemd-analyze", "--man=no", "verify", *SOCKETS, *SERVICES, *PATHS]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert (done.returncode, done.stdout) == (0, "")


# The group systemd-journal is one point more.
EXPOSURE = [*((unit, EXPOSURE_THRESHOLD) for unit in LISTENERS), (LOG_READER, EXPOSURE_THRESHOLD + 1)]


@pytest.mark.parametrize(("unit", "most"), EXPOSURE, ids=[unit.name for unit, _ in EXPOSURE])
def test_listener_and_log_reader_can_do_next_to_nothing(unit: Path, most: int) -> None:
    threshold = f"--threshold={most}"
    command: list[str | Path] = ["systemd-analyze", "--offline=true", threshold, "security", unit]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


def test_both_shapes_have_the_same_sandbox() -> None:
    one, other = ((unit.read_text().partition("# -- the sandbox")[2]) for unit in LISTENERS)
    assert one == other
    assert "PrivateNetwork=yes\n" in one
    assert "RestrictAddressFamilies=AF_UNIX\n" in one
    assert "CapabilityBoundingSet=\n" in one


def test_no_burst_of_changes_fails_the_watch() -> None:
    assert read(UNITS / "puppet-twitch-watch.path")["Path"]["TriggerLimitIntervalSec"] == ["0"]
    assert read(UNITS / "puppet-twitch-watch.service")["Unit"]["StartLimitIntervalSec"] == ["0"]


def test_watch_writes_to_three_directories_only() -> None:
    service = read(UNITS / "puppet-twitch-watch.service")["Service"]
    assert service["ProtectSystem"] == ["strict"]
    assert service["ReadWritePaths"] == [
        "-/run/puppet-twitch -/var/lib/puppet-twitch -/var/lib/prometheus/node-exporter"
    ]
    command = ["systemd-analyze", "--offline=true", "--threshold=17", "security"]
    done = subprocess.run(
        [*command, UNITS / "puppet-twitch-watch.service"], stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0, done.stdout


def test_watch_reads_the_options_of_a_site_as_a_run_does() -> None:
    # They are a part of what Puppet's settings are stored under (root/settings.py).
    units = (read(UNITS / f"puppet-twitch-{name}.service")["Service"] for name in ("run@", "watch"))
    one, other = (unit["EnvironmentFile"] for unit in units)
    assert one == other


@pytest.mark.parametrize("unit", SOCKETS, ids=name)
def test_a_flood_cannot_switch_a_socket_off(unit: Path) -> None:
    # The trigger limit fails the socket for good, and any client can reach it.
    assert read(unit)["Socket"]["TriggerLimitIntervalSec"] == ["0"]


def test_starting_often_cannot_switch_the_listener_off() -> None:
    unit = read(UNITS / "puppet-twitch.service")
    assert unit["Unit"]["StartLimitIntervalSec"] == ["0"]
    assert unit["Service"]["RestartSec"] == ["2s"]


def test_the_socket_can_be_restarted_under_a_running_listener() -> None:
    unit = read(UNITS / "puppet-twitch.service")["Unit"]
    assert "puppet-twitch.socket" in unit["Requires"]
    assert "puppet-twitch.socket" in unit["After"]


@pytest.mark.parametrize("unit", SERVICES, ids=name)
def test_no_service_takes_the_run_socket_with_it(unit: Path) -> None:
    # RuntimeDirectory= deletes the directory, and run.sock in it, when the unit ends.
    assert not [key for key in read(unit)["Service"] if key.startswith("RuntimeDirectory")]


@pytest.mark.parametrize("unit", SERVICES, ids=name)
def test_no_condition_fails_a_service(unit: Path) -> None:
    # A Condition…= that fails on the service leads to trigger-limit-hit on its socket.
    if unit.name == "puppet-twitch-expiry.service":  # no socket starts it
        return
    assert not [key for key in read(unit)["Unit"] if key.startswith(("Condition", "Assert"))]


@pytest.mark.parametrize("unit", [unit for unit in SERVICES if "@" in unit.name], ids=name)
def test_failed_instances_are_not_kept(unit: Path) -> None:
    assert read(unit)["Unit"]["CollectMode"] == ["inactive-or-failed"]


@pytest.mark.parametrize("unit", SERVICES, ids=name)
def test_systemd_logs_nothing_about_starts_that_are_normal(unit: Path) -> None:
    service = read(unit)["Service"]
    assert service["LogLevelMax"] == ["notice"]
    # A traceback has no priority of its own, and would be left out with the default (info).
    assert service["SyslogLevel"] == ["notice"]


def test_a_run_outlives_everything_but_itself() -> None:
    unit = read(UNITS / "puppet-twitch-run@.service")
    assert unit["Service"]["KillMode"] == ["process"]
    assert unit["Service"]["SuccessExitStatus"] == ["2"]
    # A run that did not want to be cut short by systemd must not be: Puppet has its own limit.
    assert "RuntimeMaxSec" not in unit["Service"]
    assert not {"Requires", "BindsTo", "PartOf"} & set(unit["Unit"])


@pytest.mark.parametrize("unit", [*SOCKETS, *SERVICES, *PATHS], ids=name)
def test_isolating_a_target_stops_no_unit(unit: Path) -> None:
    assert read(unit)["Unit"]["IgnoreOnIsolate"] == ["yes"]


def test_a_run_refuses_a_restart_and_not_a_stop() -> None:
    # A restart would end the run, and start an instance without a connection. An operator stops a run.
    unit = read(UNITS / "puppet-twitch-run@.service")["Unit"]
    assert unit["RefuseManualStart"] == ["yes"]
    assert "RefuseManualStop" not in unit


def test_sockets_of_the_foreground_have_the_options_of_the_unit() -> None:
    unit = read(UNITS / "puppet-twitch.socket")["Socket"]
    directives = ("KeepAlive", "KeepAliveTimeSec", "KeepAliveIntervalSec", "KeepAliveProbes")
    values = [unit[directive][0] for directive in (*directives, "ReceiveBuffer", "SendBuffer")]
    assert values == ["yes", "15", "15", "8", "32K", "64K"]
    assert [value for _, _, value in activation.OPTIONS] == [1, 15, 15, 8, 32 * 1024, 64 * 1024]


def test_the_log_reader_is_neither_root_nor_the_listener() -> None:
    service = read(LOG_READER)["Service"]
    assert service["DynamicUser"] == ["yes"]
    assert service["SupplementaryGroups"] == ["systemd-journal"]
    assert "User" not in service
    listener = LISTENERS[0].read_text().partition("# -- the sandbox")[2].splitlines()
    own = {"User", "Group", "TemporaryFileSystem", "BindReadOnlyPaths", "InaccessiblePaths"}
    shared = {line for line in listener[1:] if line[0] != "#" and line.partition("=")[0] not in own}
    assert shared <= set(LOG_READER.read_text().splitlines())


@pytest.mark.parametrize("private", ["run", "log"])
def test_only_root_and_the_listener_reach_the_private_sockets(private: str) -> None:
    socket = read(UNITS / f"puppet-twitch-{private}.socket")["Socket"]
    assert (socket["SocketUser"], socket["SocketGroup"], socket["SocketMode"]) == (
        ["root"],
        ["twitch"],
        ["0660"],
    )


def test_the_shipped_configuration_changes_nothing() -> None:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.read(UNITS / "puppet-twitch.conf")
    sections = {section: dict(parser[section]) for section in parser.sections()}
    assert all(settings == {} for settings in sections.values())
    assert set(sections) == set(KEYS)


def test_hold_ends_after_a_boot_although_its_timer_is_gone() -> None:
    # Wanted by a link that is shipped, because no package enables this unit.
    install = (UNITS.parent / "Makefile").read_text()
    assert "ln -sf ../puppet-twitch-expiry.service $(UNITS)/multi-user.target.wants/" in install
    unit = read(UNITS / "puppet-twitch-expiry.service")
    # One of the two is enough: the file for a boot, the timer also where the disk could not be written.
    assert unit["Unit"]["ConditionPathExists"] == [f"|{HISTORY}/disabled.json", f"|{expiry_timer.TRANSIENT}"]
    assert unit["Unit"]["Before"] == ["puppet.service"]
    assert unit["Service"]["Type"] == ["oneshot"]
