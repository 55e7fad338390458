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
        monkeypatch.setattr(systemd, "output", self.output)

    def output(self, command: Sequence[str], stdin: str = "") -> Optional[str]:
        self.commands.append(list(command))
        if command[0] == "busctl":
            return self.credentials
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
