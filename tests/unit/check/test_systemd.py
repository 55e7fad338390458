"""Questions to systemd: its commands, with templates and faults of these commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Optional

import pytest

from twitch.check import systemd
from twitch.check.systemd import Account


class FakeSystemd:
    """Answers the commands of a test, and keeps them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[list[str]] = []
        self.properties: dict[tuple[str, str], str] = {}
        self.credentials = ""
        self.journal: Optional[str] = ""
        monkeypatch.setattr(systemd, "output", self.output)

    def output(self, command: Sequence[str], stdin: str = "") -> Optional[str]:
        self.commands.append(list(command))
        if command[0] == "busctl":
            return self.credentials
        if command[0] == "journalctl":
            return self.journal
        return self.properties.get((command[-1], command[-2]))


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
    assert fake.commands[0] == ["systemctl", "show", "-P", "User", "puppet-twitch@check.service"]


def test_the_listener_is_a_template_with_accept(fake: FakeSystemd) -> None:
    assert systemd.listener() == "puppet-twitch.service"
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


def test_complaints_are_the_last_different_ones_of_the_unit(fake: FakeSystemd) -> None:
    unit = "puppet-twitch.service"
    fake.journal = entries(
        f"{unit}: Failed to one",
        f"{unit}: Failed to two",
        f"{unit}: Failed to one",
        "puppet-twitch.socket: Failed to be this unit",
        "Error: Failed to be systemd's line",
        [102, 111],  # a text that is not UTF-8
        f"{unit}: Failed at step three",
        f"{unit}: Main process exited, code=exited, status=226/NAMESPACE",
    )
    assert systemd.complaints(unit) == [
        "Failed to one",
        "Failed at step three",
        "Main process exited, code=exited, status=226/NAMESPACE",
    ]
    assert "--unit=puppet-twitch.service" in fake.commands[-1]


def test_complaints_of_a_template_are_those_of_its_instances(fake: FakeSystemd) -> None:
    fake.journal = entries("puppet-twitch-run@1-2-0.service: Failed to one")
    assert systemd.complaints("puppet-twitch-run@.service") == ["Failed to one"]
    assert "--unit=puppet-twitch-run@*.service" in fake.commands[-1]


def test_without_a_journal_there_are_no_complaints(fake: FakeSystemd) -> None:
    fake.journal = None
    assert systemd.complaints("puppet-twitch.service") == []
