"""Questions to systemd: its commands, with templates and faults of these commands."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import Optional

import pytest

from twitch.check import systemd
from twitch.check.systemd import Account
from twitch.root import unit as root_unit


class FakeSystemd:
    """Answers the commands of a test, and keeps them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[list[str]] = []
        self.properties: dict[tuple[str, str], str] = {}
        self.credentials = ""
        self.journal: Optional[str] = ""
        monkeypatch.setattr(systemd, "output", self.output)
        systemd._synchronize.cache_clear()

    def output(self, command: Sequence[str], stdin: str = "") -> Optional[str]:
        self.commands.append(list(command))
        if command[0] == "busctl":
            return self.credentials
        if command[0] == "journalctl":
            return self.journal
        return "\n".join(
            f"{name}={value}" for (unit, name), value in self.properties.items() if unit == command[-1]
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSystemd:
    return FakeSystemd(monkeypatch)


def test_output_of_a_command() -> None:
    assert systemd.output(["echo", "a word"]) == "a word"
    assert systemd.output(["cat"], "its input") == "its input"
    assert systemd.output(["cat"]) == ""


@pytest.mark.parametrize("command", [["false"], ["/nonexistent"]])
def test_output_of_a_command_that_fails_is_none(command: list[str]) -> None:
    assert systemd.output(command) is None


def test_show_asks_about_an_instance_of_a_template(fake: FakeSystemd) -> None:
    fake.properties["puppet-twitch@check.service", "User"] = "other"
    assert systemd.show("puppet-twitch@.service", "User") == "other"
    assert systemd.show("puppet-twitch.service", "User") == ""
    assert fake.commands[0] == ["systemctl", "show", "puppet-twitch@check.service"]


def test_properties_of_a_unit_are_read_once(fake: FakeSystemd) -> None:
    fake.properties["x.socket", "Accept"] = "yes"
    fake.properties["x.socket", "Backlog"] = "128"
    assert (systemd.show("x.socket", "Accept"), systemd.show("x.socket", "Backlog")) == ("yes", "128")
    assert len(fake.commands) == 1


def test_property_of_several_lines(fake: FakeSystemd) -> None:
    fake.properties["x.socket", "Listen"] = "[::]:1 (Stream)\nListen=192.0.2.1:1 (Stream)"
    fake.properties["x.socket", "Description"] = "one\n two = three\nfour"
    assert systemd.show("x.socket", "Listen") == "[::]:1 (Stream)\n192.0.2.1:1 (Stream)"
    assert systemd.show("x.socket", "Description") == "one\n two = three\nfour"


def test_systemd_that_does_not_answer_has_no_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "output", lambda command: None)
    assert systemd.show("x.socket", "Listen") == ""


def test_units_whose_files_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[Sequence[str]] = []

    def output(command: Sequence[str]) -> str:
        commands.append(command)
        return "no\n\nyes\n\nyes"  # as `systemctl show -P` separates units

    monkeypatch.setattr(systemd, "output", output)
    assert systemd.changed(["a.socket", "b.service", "c@.service"]) == ["b.service", "c@.service"]
    assert commands == [
        ["systemctl", "show", "-P", "NeedDaemonReload", "a.socket", "b.service", "c@check.service"]
    ]
    monkeypatch.setattr(systemd, "output", lambda command: None)
    assert systemd.changed(["a.socket"]) == []


def test_the_listener_is_a_template_with_accept(fake: FakeSystemd) -> None:
    assert systemd.listener() == "puppet-twitch.service"
    systemd.properties.cache_clear()
    fake.properties["puppet-twitch.socket", "Accept"] = "yes"
    assert systemd.listener() == "puppet-twitch@.service"


@pytest.mark.parametrize(
    ("properties", "account"),
    [
        pytest.param({}, Account("twitch", "twitch"), id="systemd-does-not-answer"),
        pytest.param({"User": "a", "Group": "b"}, Account("a", "b"), id="both"),
        pytest.param({"User": "a"}, Account("a", "a"), id="user-only"),
    ],
)
def test_the_account_of_the_listener(fake: FakeSystemd, properties: dict[str, str], account: Account) -> None:
    fake.properties.update({("puppet-twitch.service", name): value for name, value in properties.items()})
    assert systemd.account() == account


def test_credentials_come_over_the_bus(fake: FakeSystemd) -> None:
    fake.credentials = json.dumps({"type": "a(ss)", "data": [["cert", "/a"], ["key", "/b"]]})
    assert systemd.credentials("puppet-twitch@.service") == {"cert": "/a", "key": "/b"}
    path = "/org/freedesktop/systemd1/unit/puppet_2dtwitch_40check_2eservice"
    assert fake.commands[0][4] == path
    fake.credentials = ""
    assert systemd.credentials("puppet-twitch.service") == {}


def entries(*messages: object) -> str:
    """Return entries as journalctl prints them, the newest first; `messages` have the oldest first."""
    return "\n".join(json.dumps({"MESSAGE": message}) for message in reversed(messages))


def pattern(fake: FakeSystemd) -> str:
    """Return the pattern of the last command, for the texts of entries."""
    options = [word.partition("=") for word in fake.commands[-1]]
    return next(value for name, _, value in options if name == "--grep")


def test_complaints_are_the_last_different_ones_of_the_unit(fake: FakeSystemd) -> None:
    unit = "puppet-twitch.service"
    fake.journal = entries(
        f"{unit}: Failed to one",
        f"{unit}: Failed to two",
        f"{unit}: Failed to one",
        [102, 111],  # a text that is not UTF-8
        f"{unit}: Failed at step three",
        f"{unit}: Failed to read pids.max for control group /system.slice, ignoring: No data available",
        f"{unit}: Main process exited, code=exited, status=226/NAMESPACE",
    )
    assert systemd.complaints(unit) == [
        "Failed to one",
        "Failed at step three",
        "Main process exited, code=exited, status=226/NAMESPACE",
    ]
    assert re.match(pattern(fake), f"{unit}: Failed to one")
    assert not re.match(pattern(fake), "puppet-twitch.socket: Failed to be this unit")
    assert not re.match(pattern(fake), f"Error: {unit}: Failed to be systemd's line")
    sync, by_systemd = fake.commands
    assert sync == ["journalctl", "--sync"]  # a failure of this moment is among them
    assert by_systemd[-3:] == ["_TRANSPORT=journal", "_UID=0", "SYSLOG_FACILITY=3"]


def test_complaints_of_a_template_are_those_of_its_instances(fake: FakeSystemd) -> None:
    fake.journal = entries("puppet-twitch-run@1-2-0.service: Failed to one")
    assert systemd.complaints("puppet-twitch-run@.service") == ["Failed to one"]
    assert re.match(pattern(fake), "puppet-twitch-run@1-2-0.service: Failed to one")
    assert not re.match(pattern(fake), "puppet-twitch@1-2-0.service: Failed to be this unit")


def test_without_a_journal_there_are_no_complaints(fake: FakeSystemd) -> None:
    fake.journal = None
    assert systemd.complaints("puppet-twitch.service") == []


# ---- processes


@pytest.mark.parametrize(
    ("cgroup", "main", "unit", "command"),
    [
        pytest.param(
            "0::/system.slice/thief.service\n", 7, "thief.service", "systemctl stop thief.service", id="v2"
        ),
        pytest.param(
            "4:cpu:/\n1:name=systemd:/system.slice/a.slice/x@1.service\n0::/\n",
            7,
            "x@1.service",
            "systemctl stop x@1.service",
            id="v1",
        ),
        pytest.param("0::/system.slice/puppet.service\n", 6, "puppet.service", "kill", id="daemon"),
        pytest.param("0::/user.slice/session-1.scope\n", 0, "session-1.scope", "kill", id="session"),
        pytest.param("0::/user.slice/user@1.service/x.service\n", 7, "x.service", "kill", id="user"),
        pytest.param("0::/\n", 0, "", "kill", id="none"),
    ],
)
def test_the_unit_of_a_process_decides_how_it_is_ended(
    monkeypatch: pytest.MonkeyPatch, cgroup: str, main: int, unit: str, command: str
) -> None:
    monkeypatch.setattr(systemd, "show", lambda unit, name: str(main))
    monkeypatch.setattr("builtins.open", lambda *_, **__: io.StringIO(cgroup))
    kill = "kill 7; kill -CONT 7; timeout 30 tail --pid=7 -f /dev/null || kill -KILL 7"
    assert systemd.unit_of(7) == unit
    assert systemd.end_command(7) == (kill if command == "kill" else command)


def test_a_stopped_process_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root_unit, "cgroup", lambda pid: "")  # the tests may run in a service
    process = subprocess.Popen(["sleep", "60"])
    process.send_signal(signal.SIGSTOP)
    # `tail` sees it until it is reaped.
    threading.Thread(target=process.wait).start()
    command = systemd.end_command(process.pid)
    subprocess.run(["sh", "-c", command], check=True)
    assert process.wait() == -signal.SIGTERM


def test_a_drop_in_of_a_fix_has_a_name_for_its_setting() -> None:
    command = systemd.drop_in_command("x.service", "Service", "Environment=A_B=c d")
    directory = "/etc/systemd/system/x.service.d"
    assert command == (
        f"mkdir -p {directory}; {{ echo '[Service]'; echo 'Environment=A_B=c d'; }}"
        f" >{directory}/zzzz-environment-a-b.conf; systemctl daemon-reload"
    )
