"""The end of a hold after a boot: what is remembered on the disk, and what the unit does then."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.fake_puppet import FakePuppet
from twitch.holds import Hold
from twitch.messages import Disable
from twitch.root import disabling, expiry_timer, programs
from twitch.root.node import Node
from twitch.root.store import Store


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """Return the commands that are given to systemd; none of them is run."""
    given: list[tuple[str, ...]] = []

    def run(*command: str) -> str:
        given.append(command)
        return ""

    monkeypatch.setattr(programs, "run", run)
    monkeypatch.setattr(expiry_timer, "TRANSIENT", os.fspath(tmp_path / "timer"))
    return given


@pytest.fixture
def held(root_node: Node, puppet: FakePuppet, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Return a node that is disabled for an hour, and whose timer is gone."""
    monkeypatch.setattr(expiry_timer, "Store", lambda: root_node.store)
    disabling.answer(root_node, Disable("token:a", "192.0.2.7", "x", int(time.time()) + 3600), 999)
    return root_node


def test_timer_is_set_again_after_a_boot(
    held: Node, puppet: FakePuppet, commands: list[tuple[str, ...]]
) -> None:
    commands.clear()
    expiry_timer.main()
    assert [command[0] for command in commands] == ["systemd-run"]
    assert puppet.disabled.exists()


def test_hold_that_ended_while_the_node_was_off_is_lifted(
    held: Node, puppet: FakePuppet, events: list[dict[str, Any]]
) -> None:
    fields = json.loads(puppet.disabled.read_text())
    fields["puppet_twitch"]["holds"][0]["until"] = time.time() - 1
    puppet.disabled.write_text(json.dumps(fields))
    expiry_timer.main()
    assert not puppet.disabled.exists()
    assert not os.path.exists(held.store.disabled_path)
    assert len(events) == 1


def test_lock_that_was_enabled_by_hand_is_forgotten(held: Node, puppet: FakePuppet) -> None:
    puppet.disabled.unlink()
    expiry_timer.main()
    assert not os.path.exists(held.store.disabled_path)


def test_lock_that_was_disabled_by_hand_again_is_left_alone(held: Node, puppet: FakePuppet) -> None:
    puppet.disabled.write_text('{"disabled_message":"by hand"}')
    expiry_timer.main()
    assert puppet.disabled.read_text() == '{"disabled_message":"by hand"}'
    assert not os.path.exists(held.store.disabled_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"lock":7}', '{"lock":"relative"}'])
def test_invalid_file_is_as_none(root_node: Node, text: str) -> None:
    store: Store = root_node.store
    store.prepare_state()
    Path(store.disabled_path).write_text(text)
    assert expiry_timer.remembered(store) is None


def test_disk_that_cannot_be_written_costs_no_hold(
    root_node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(root_node.store, "prepare_state", full)
    expiry_timer.remember(root_node.store, "/lock", (Hold("token:a", "::1", "x", 1.0, 2.0),))
    assert "<4>after a reboot, nothing enables Puppet in time: [Errno 28]" in capsys.readouterr().err


def test_timer_that_cannot_be_set_is_logged_with_its_fix(
    root_node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(programs, "run", lambda *command: "Failed to connect")
    expiry_timer.arm(root_node.store, (Hold("token:a", "::1", "x", 1.0, time.time() + 60),))
    assert "Failed to connect; systemctl start puppet-twitch-expiry.service" in capsys.readouterr().err
