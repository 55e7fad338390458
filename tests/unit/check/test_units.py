"""The units: loaded, listening, with matching users; and filters of addresses."""

from __future__ import annotations

import grp
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import pytest

from tests.unit.check.levels import of_level
from twitch.check import port, systemd, units
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.check.systemd import Account
from twitch.config import Config

ACCOUNT = Account("root", "root")

SOCKET = {"ActiveState": "active", "SubState": "listening", "UnitFileState": "enabled", "Result": "success"}
RUN_SOCKET = {"SocketUser": "root", "SocketGroup": "root", "SocketMode": "0660"}


class FakeUnits:
    """The properties of the units in a test: at first those of a node without faults."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run_socket: Path) -> None:
        self.run_socket = run_socket
        self.container = False
        self.answers = True
        loaded = {"LoadState": "loaded", "Result": "success"}
        self.properties: dict[str, dict[str, str]] = {
            "puppet-twitch.socket": {**loaded, **SOCKET, "Listen": "[::]:2023 (Stream)"},
            "puppet-twitch-run.socket": {
                **loaded,
                **SOCKET,
                **RUN_SOCKET,
                "Listen": "/run/x (SequentialPacket)",
            },
            "puppet-twitch-log.socket": {
                **loaded,
                **SOCKET,
                **RUN_SOCKET,
                "Listen": "/run/y (SequentialPacket)",
            },
            "puppet-twitch-log@.service": dict(loaded),
            "puppet-twitch.service": dict(loaded),
            "puppet-twitch@.service": dict(loaded),
            "puppet-twitch-run@.service": dict(loaded),
            "puppet-twitch-expiry.service": dict(loaded),
            "puppet-twitch-watch.path": {"ActiveState": "inactive"},
            "puppet-twitch-watch.service": {},
        }
        self.set("puppet-twitch-run@.service", Environment="PUPPET_TWITCH_USER=root PUPPET_TWITCH_GROUP=root")
        monkeypatch.setattr(systemd, "show", lambda unit, name: self.properties[unit].get(name, ""))
        monkeypatch.setattr(systemd, "changed", self.changed)
        self.complaints: dict[str, list[str]] = {}
        monkeypatch.setattr(systemd, "output", self.output)
        monkeypatch.setattr(port, "openers", lambda: iter([]))
        monkeypatch.setattr(systemd, "complaints", lambda unit: self.complaints.get(unit, []))
        self.set("puppet-twitch-log@.service", Environment="PUPPET_TWITCH_USER=root")
        private = {
            systemd.RUN_SOCKET: (os.fspath(run_socket), "root"),
            systemd.LOG_SOCKET: (os.fspath(run_socket.parent / "log.sock"), "the log reader"),
        }
        monkeypatch.setattr(units, "PRIVATE", private)

    def set(self, unit: str, **properties: str) -> None:
        """Set properties of a unit."""
        self.properties[unit].update(properties)

    def changed(self, units: Sequence[str]) -> list[str]:
        return [unit for unit in units if self.properties[unit].get("NeedDaemonReload") == "yes"]

    def output(self, command: Sequence[str]) -> Optional[str]:
        if command[0] == "systemctl":
            return "252" if self.answers else None
        return "" if self.container else None


@pytest.fixture
def fake(root: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeUnits:
    for name in ("run.sock", "log.sock"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o660)
    return FakeUnits(monkeypatch, tmp_path / "run.sock")


def faults(fake: FakeUnits) -> list[Finding]:
    return of_level(units.check(ACCOUNT), FAULT)


def test_units_without_faults(fake: FakeUnits) -> None:
    assert list(units.check(ACCOUNT)) == [
        Finding(GOOD, "puppet-twitch.socket is listening: [::]:2023 (Stream)"),
        Finding(GOOD, "puppet-twitch-run.socket is listening: /run/x (SequentialPacket)"),
        Finding(GOOD, "puppet-twitch-log.socket is listening: /run/y (SequentialPacket)"),
    ]


def test_without_systemd_nothing_else_is_reported(fake: FakeUnits) -> None:
    fake.answers = False
    fix = "run puppet-twitch check on a machine that was booted with systemd"
    assert list(units.check(ACCOUNT)) == [
        Finding(FAULT, "systemd does not answer systemctl", fix, by_hand=True)
    ]


def test_units_that_are_not_loaded_are_all_that_is_reported(fake: FakeUnits) -> None:
    fake.set("puppet-twitch.socket", LoadState="masked", ActiveState="inactive")
    fake.set("puppet-twitch@.service", LoadState="not-found")
    fake.set("puppet-twitch-run@.service", LoadState="bad-setting")
    assert list(units.check(ACCOUNT)) == [
        Finding(
            FAULT,
            "puppet-twitch.socket is masked",
            "systemctl unmask puppet-twitch.socket; systemctl unmask --runtime puppet-twitch.socket; "
            "systemctl restart puppet-twitch.socket",
        ),
        Finding(
            FAULT,
            "puppet-twitch@.service is not loaded (LoadState=not-found)",
            "reinstall puppet-twitch; then systemctl daemon-reload",
            by_hand=True,
        ),
        Finding(
            FAULT,
            "puppet-twitch-run@.service is not loaded (LoadState=bad-setting)",
            "systemd-analyze verify puppet-twitch-run@check.service names the line; correct it; "
            "then systemctl daemon-reload",
            by_hand=True,
        ),
    ]


def test_a_socket_that_does_not_listen_is_a_fault(fake: FakeUnits) -> None:
    fake.set("puppet-twitch.socket", ActiveState="failed", Result="trigger-limit-hit")
    text = "puppet-twitch.socket does not listen (ActiveState=failed, Result=trigger-limit-hit)"
    assert faults(fake) == [Finding(FAULT, text, "systemctl restart puppet-twitch.socket")]


def test_a_socket_whose_address_is_not_there_is_not_restarted_in_vain(fake: FakeUnits) -> None:
    fake.set("puppet-twitch.socket", ActiveState="failed", Result="resources")
    fake.complaints["puppet-twitch.socket"] = ["Failed to listen on sockets: Cannot assign requested address"]
    (fault,) = faults(fake)
    assert fault.text.endswith("; systemd says: Failed to listen on sockets: Cannot assign requested address")
    assert (fault.fix, fault.by_hand) == ("fix that cause; then systemctl restart puppet-twitch.socket", True)


def test_a_socket_whose_port_is_taken_gets_it_back(fake: FakeUnits, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.set("puppet-twitch.socket", ActiveState="failed", Result="resources")
    fake.complaints["puppet-twitch.socket"] = ["Failed to listen on sockets: Address already in use"]
    monkeypatch.setattr(port, "openers", lambda: iter([port.Opener("[::]:2023", 4711, "nc")]))
    monkeypatch.setattr(systemd, "end_command", lambda pid: f"kill {pid}")
    (fault,) = faults(fake)
    assert (fault.fix, fault.by_hand) == ("kill 4711; systemctl restart puppet-twitch.socket", False)


def test_a_listener_that_failed_is_a_fault(fake: FakeUnits) -> None:
    fake.set("puppet-twitch.service", Result="exit-code")
    fix = (
        "fix that cause, journalctl -u puppet-twitch.service has all lines; "
        "then systemctl restart puppet-twitch.service"
    )
    failed = Finding(FAULT, "puppet-twitch.service failed (Result=exit-code)", fix, by_hand=True)
    assert faults(fake) == [failed]
    fake.complaints["puppet-twitch.service"] = [
        "Failed to set up mount namespacing: No such file",
        "Failed at X",
    ]
    text = (
        "puppet-twitch.service failed (Result=exit-code); systemd says: "
        "Failed to set up mount namespacing: No such file; Failed at X"
    )
    assert faults(fake) == [failed._replace(text=text)]


def test_a_listener_that_is_just_started_again_has_failed(fake: FakeUnits) -> None:
    fake.set("puppet-twitch.service", ActiveState="activating", NRestarts="0")
    assert faults(fake) == []  # its first start
    fake.set("puppet-twitch.service", ActiveState="activating", NRestarts="3")
    fake.complaints["puppet-twitch.service"] = ["Failed to set up mount namespacing: No such file"]
    (fault,) = faults(fake)
    assert fault.text == (
        "puppet-twitch.service failed, and systemd starts it again; systemd says: "
        "Failed to set up mount namespacing: No such file"
    )
    fake.set("puppet-twitch.service", ActiveState="active")  # it has recovered
    assert faults(fake) == []


def test_a_run_that_could_not_start_is_noted(fake: FakeUnits) -> None:
    # Puppet's own failures are no failures to start.
    exited = "Main process exited, code=exited, status=1/FAILURE"
    fake.complaints["puppet-twitch-run@.service"] = ["Failed to load environment files: No such file", exited]
    fake.complaints["puppet-twitch@.service"] = [exited]
    text = (
        "puppet-twitch-run@.service could not start in the last hour; systemd says: "
        "Failed to load environment files: No such file"
    )
    fix = "fix that cause; journalctl -u 'puppet-twitch-run@*.service' has all lines"
    assert of_level(units.check(ACCOUNT), NOTE) == [Finding(NOTE, text, fix, by_hand=True)]
    # A status of systemd is one.
    fake.complaints["puppet-twitch@.service"] = ["Main process exited, code=exited, status=200/CHDIR"]
    texts = [finding.text for finding in of_level(units.check(ACCOUNT), NOTE)]
    assert [text.partition(" ")[0] for text in texts] == [
        "puppet-twitch@.service",
        "puppet-twitch-run@.service",
    ]


def test_a_socket_that_does_not_start_at_boot_is_noted(fake: FakeUnits) -> None:
    fake.set("puppet-twitch.socket", UnitFileState="disabled")
    text, fix = "puppet-twitch.socket does not start at boot", "systemctl enable puppet-twitch.socket"
    assert of_level(units.check(ACCOUNT), NOTE) == [Finding(NOTE, text, fix)]


def test_a_port_that_an_operator_has_closed_is_no_fault(fake: FakeUnits) -> None:
    fake.set("puppet-twitch.socket", UnitFileState="disabled", ActiveState="inactive")
    text = "puppet-twitch.socket is disabled: the port is closed"
    fix = "systemctl enable --now puppet-twitch.socket"
    assert of_level(units.check(ACCOUNT), NOTE) == [Finding(NOTE, text, fix)]
    assert faults(fake) == []
    fake.set("puppet-twitch.socket", UnitFileState="disabled", ActiveState="failed")
    assert len(faults(fake)) == 1


def test_a_listener_with_too_few_descriptors_is_a_fault(fake: FakeUnits) -> None:
    fake.set("puppet-twitch.service", LimitNOFILE="8")
    (fault,) = faults(fake)
    assert (
        fault.text
        == "LimitNOFILE=8 of puppet-twitch.service is too low, so it refuses connections; it needs 512"
    )
    assert fault.fix.endswith("; systemctl daemon-reload; systemctl stop puppet-twitch.service")
    for enough in ("512", "infinity"):
        fake.set("puppet-twitch.service", LimitNOFILE=enough)
        assert faults(fake) == []


def test_changed_unit_files_are_noted(fake: FakeUnits) -> None:
    fake.set("puppet-twitch.socket", NeedDaemonReload="yes")
    fake.set("puppet-twitch-run@.service", NeedDaemonReload="yes")
    text = "systemd has not read the changed unit files of puppet-twitch.socket, puppet-twitch-run@.service"
    assert of_level(units.check(ACCOUNT), NOTE) == [Finding(NOTE, text, "systemctl daemon-reload")]


# ---- the run socket


def test_a_run_socket_that_is_gone_is_a_fault(fake: FakeUnits) -> None:
    fake.run_socket.unlink()
    text = f"{fake.run_socket} does not exist, so the listener cannot reach root"
    assert faults(fake) == [Finding(FAULT, text, "systemctl restart puppet-twitch-run.socket")]


def test_a_log_socket_that_is_gone_is_a_fault(fake: FakeUnits) -> None:
    path = fake.run_socket.parent / "log.sock"
    path.unlink()
    text = f"{path} does not exist, so the listener cannot reach the log reader"
    assert faults(fake) == [Finding(FAULT, text, "systemctl restart puppet-twitch-log.socket")]


def test_a_run_socket_of_a_stopped_unit_is_not_reported_twice(fake: FakeUnits) -> None:
    fake.run_socket.unlink()
    fake.set("puppet-twitch-run.socket", ActiveState="inactive")
    assert [fault.text for fault in faults(fake)] == [
        "puppet-twitch-run.socket does not listen (ActiveState=inactive, Result=success)"
    ]


@pytest.mark.parametrize("mode", [0o666, 0o600])
def test_a_run_socket_with_another_mode_is_a_fault(fake: FakeUnits, mode: int) -> None:
    fake.run_socket.chmod(mode)
    text = f"{fake.run_socket} has owner root, mode {mode:o}; it must have owner root, mode 660"
    assert faults(fake) == [Finding(FAULT, text, "systemctl restart puppet-twitch-run.socket")]


def test_a_run_socket_of_another_group_is_a_fault(fake: FakeUnits) -> None:
    os.chown(fake.run_socket, 0, grp.getgrnam("daemon").gr_gid)
    text = f"{fake.run_socket} has group daemon, not root, so the listener cannot reach root"
    restart = "systemctl restart puppet-twitch-run.socket"
    assert faults(fake) == [Finding(FAULT, text, restart)]
    # A unit that asks for that group needs a drop-in first.
    fake.set("puppet-twitch-run.socket", SocketGroup="daemon")
    directory = "/etc/systemd/system/puppet-twitch-run.socket.d"
    fix = (
        f"mkdir -p {directory}; {{ echo '[Socket]'; echo SocketGroup=root; }}"
        f" >{directory}/zzzz-socketgroup.conf; systemctl daemon-reload; {restart}"
    )
    assert faults(fake) == [Finding(FAULT, text, fix)]


# ---- the listener that root expects


@pytest.mark.parametrize(
    ("environment", "text", "line", "name"),
    [
        pytest.param(
            "PUPPET_TWITCH_USER=other PUPPET_TWITCH_GROUP=root",
            "user to be other, but it is root",
            "PUPPET_TWITCH_USER=root",
            "zzzz-environment-puppet-twitch-user.conf",
            id="user",
        ),
        pytest.param(
            "'A=b c' PUPPET_TWITCH_USER=root",
            "group to be twitch, but it is root",
            "PUPPET_TWITCH_GROUP=root",
            "zzzz-environment-puppet-twitch-group.conf",
            id="group-by-default",
        ),
    ],
)
def test_a_run_unit_that_expects_another_listener_is_a_fault(
    fake: FakeUnits, environment: str, text: str, line: str, name: str
) -> None:
    fake.set("puppet-twitch-run@.service", Environment=environment)
    directory = "/etc/systemd/system/puppet-twitch-run@.service.d"
    fault = Finding(
        FAULT,
        f"puppet-twitch-run@.service expects the listener's {text}",
        f"mkdir -p {directory}; {{ echo '[Service]'; echo Environment={line}; }} >{directory}/{name};"
        " systemctl daemon-reload",
    )
    assert faults(fake) == [fault]


def test_an_active_watch_that_expects_another_group_is_a_fault(fake: FakeUnits) -> None:
    fake.set("puppet-twitch-watch.path", ActiveState="active")
    directory = "/etc/systemd/system/puppet-twitch-watch.service.d"
    fault = Finding(
        FAULT,
        "puppet-twitch-watch.service expects the listener's group to be twitch, but it is root",
        f"mkdir -p {directory}; {{ echo '[Service]'; echo Environment=PUPPET_TWITCH_GROUP=root; }}"
        f" >{directory}/zzzz-environment-puppet-twitch-group.conf; systemctl daemon-reload",
    )
    assert faults(fake) == [fault]
    fake.set("puppet-twitch-watch.service", Environment="PUPPET_TWITCH_GROUP=root")
    assert faults(fake) == []


# ---- filters of addresses


def filters() -> list[Finding]:
    networks = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"))
    accepted, *rest = units.filters(Config(networks=networks))
    assert accepted == Finding(GOOD, "requests are accepted from 10.0.0.0/8 ::1/128 ([access] from)")
    return rest


def test_without_filters_of_systemd_the_networks_are_all_that_is_reported(fake: FakeUnits) -> None:
    assert filters() == []


def test_a_filter_of_the_service_has_no_effect(fake: FakeUnits) -> None:
    fake.set("puppet-twitch.service", IPAddressAllow="10.0.0.0/8")
    text = "IPAddressAllow= of puppet-twitch.service has no effect on clients, because the unit inherits its"
    fix = "move it to [Socket] with systemctl edit puppet-twitch.socket, or use [access] from"
    assert filters() == [Finding(NOTE, f"{text} sockets", fix, by_hand=True)]


def test_a_filter_of_the_socket_may_have_no_effect_in_a_container(fake: FakeUnits) -> None:
    fake.set("puppet-twitch.socket", IPAddressDeny="any")
    assert filters() == [Finding(GOOD, "puppet-twitch.socket also filters addresses: IPAddressDeny=any")]
    fake.container = True
    text = "IPAddressDeny=any of puppet-twitch.socket may have no effect in this container"
    fix = "use [access] from, or the firewall of the container's host"
    assert filters() == [Finding(NOTE, text, fix, by_hand=True)]
