"""Disable and enable Puppet: whose holds there are, who lifts them, and when they end."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.unit.fake_node import FakeNode, Question, new_run
from tests.unit.fake_puppet import FakePuppet
from tests.unit.processes import live
from twitch.errors import TwitchError
from twitch.holds import UNKNOWN
from twitch.messages import (
    DISABLED,
    ENABLED,
    HELD,
    INVALID,
    MAX_ANSWER_BYTES,
    Answer,
    Disable,
    Enable,
    encode,
)
from twitch.root import disabling, expiry_timer, holds_in_lock, journal, programs
from twitch.root.holds_in_lock import MAX_HOLDS, parse
from twitch.root.node import Node

LISTENER = 999
HOUR = 3600
DAY = 24 * HOUR
BY_HAND = '{"disabled_message":"by hand"}'


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """Return the commands that are given to systemd; none of them is run."""
    given: list[tuple[str, ...]] = []
    timer = tmp_path / "timer"

    def run(*command: str) -> str:
        given.append(command)
        if command[0] == "systemctl":
            timer.unlink()
        else:
            timer.write_text(next(word for word in command if word.startswith("--on-calendar=")))
        return ""

    monkeypatch.setattr(programs, "run", run)
    monkeypatch.setattr(expiry_timer, "TRANSIENT", os.fspath(timer))
    return given


def disable(
    node: Node, caller: str, reason: str = "CHG-1", hold_s: Optional[int] = HOUR, **more: Any
) -> Answer:
    until = None if hold_s is None else int(time.time()) + hold_s
    uid = more.pop("uid", LISTENER)
    return disabling.answer(node, Disable(caller, "192.0.2.7", reason, until, **more), uid)


def enable(node: Node, caller: str, *, force: bool = False) -> Answer:
    return disabling.answer(node, Enable(caller, "192.0.2.7", force), LISTENER)


def content(puppet: FakePuppet) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(puppet.disabled.read_text())
    return found


def callers(puppet: FakePuppet) -> list[str]:
    return [hold["caller"] for hold in content(puppet)["puppet_twitch"]["holds"]]


def expire(puppet: FakePuppet, *names: str) -> None:
    """Put the ends of holds into the past."""
    fields = content(puppet)
    for hold in fields["puppet_twitch"]["holds"]:
        if hold["caller"] in names:
            hold["until"] = int(time.time()) - 1
    puppet.disabled.write_text(json.dumps(fields))


# ---- holds


def test_disabled_with_a_reason_and_an_end(root_node: Node, puppet: FakePuppet) -> None:
    answer = disable(root_node, "token:a")
    assert (answer.kind, answer.run) == (DISABLED, None)
    text = puppet.disabled.read_text()
    # As the tools that cut it out with sed expect it.
    assert text.startswith('{"disabled_message":"CHG-1 (token:a at 192.0.2.7, until 20')
    assert root_node.disabled() == content(puppet)["disabled_message"] == answer.reason


def test_hold_of_each_caller_counts(root_node: Node, puppet: FakePuppet) -> None:
    for caller in ("token:a", "token:b", "token:c"):
        disable(root_node, caller)
    assert callers(puppet) == ["token:a", "token:b", "token:c"]
    left = enable(root_node, "token:b")
    assert left.kind == HELD and left.status and left.status.disabled
    assert left.status.disabled.by == "token:a, token:c"
    assert enable(root_node, "token:a").kind == HELD
    assert enable(root_node, "token:c") == Answer(ENABLED)
    assert not puppet.disabled.exists()


def test_same_caller_replaces_its_own_hold(root_node: Node, puppet: FakePuppet) -> None:
    disable(root_node, "token:a", "first")
    since = content(puppet)["puppet_twitch"]["holds"][0]["since"]
    disable(root_node, "token:a", "second", 2 * HOUR)
    (hold,) = content(puppet)["puppet_twitch"]["holds"]
    assert (hold["reason"], hold["since"]) == ("second", since)


def test_enabling_an_enabled_node_changes_nothing(root_node: Node, puppet: FakePuppet) -> None:
    assert enable(root_node, "token:a") == Answer(ENABLED)
    assert not puppet.disabled.exists()


def test_caller_without_a_hold_lifts_none(root_node: Node, puppet: FakePuppet) -> None:
    disable(root_node, "token:a")
    assert enable(root_node, "token:b").kind == HELD
    assert callers(puppet) == ["token:a"]
    assert enable(root_node, "token:b", force=True) == Answer(ENABLED)
    assert not puppet.disabled.exists()


def test_number_of_holds_is_limited_and_all_fit_into_a_packet(root_node: Node, puppet: FakePuppet) -> None:
    for number in range(MAX_HOLDS):
        answer = disable(root_node, f"token:{number:058}", "\U0001f600" * 200)
        assert answer.kind == DISABLED
    assert len(encode(answer)) < MAX_ANSWER_BYTES
    assert len(callers(puppet)) == MAX_HOLDS
    with pytest.raises(TwitchError, match="no more can"):
        disable(root_node, "token:x")
    assert disable(root_node, f"token:{0:058}").kind == DISABLED


def test_run_that_goes_on_is_named(root_node: Node, puppet: FakePuppet, tmp_path: Path) -> None:
    with live(tmp_path, "puppet-x") as pid:
        puppet.lock.write_text(str(pid))
        status = disable(root_node, "token:a").status
        assert status and status.pid == pid


# ---- the lock of another tool


def test_lock_of_another_tool_is_left_alone_without_force(root_node: Node, puppet: FakePuppet) -> None:
    puppet.disabled.write_text(BY_HAND)
    for answer in (disable(root_node, "token:a"), enable(root_node, "token:a")):
        assert (answer.kind, answer.reason) == (HELD, "by hand")
        assert answer.status and answer.status.disabled and answer.status.disabled.by == UNKNOWN
    assert puppet.disabled.read_text() == BY_HAND


def test_lock_of_another_tool_is_one_hold_without_an_end(root_node: Node, puppet: FakePuppet) -> None:
    puppet.disabled.write_text('{"disabled_message":"by hand","ticket":7}')
    answer = disable(root_node, "token:a", force=True)
    assert answer.status and answer.status.disabled and answer.status.disabled.until is None
    assert content(puppet)["disabled_message"].startswith("by hand; CHG-1 (token:a at ")
    assert (content(puppet)["ticket"], callers(puppet)) == (7, [UNKNOWN, "token:a"])
    # What is left is the lock as it was.
    assert enable(root_node, "token:a").kind == HELD
    assert content(puppet) == {"disabled_message": "by hand", "ticket": 7}
    assert enable(root_node, "token:a", force=True) == Answer(ENABLED)


def test_directory_in_the_place_of_the_lock(root_node: Node, puppet: FakePuppet) -> None:
    puppet.disabled.mkdir()
    assert root_node.disabled() == ""
    for force in (False, True):
        with pytest.raises(TwitchError, match=r"is a directory, and not a lock of Puppet.*rm -r /"):
            disable(root_node, "token:a", force=force)
        with pytest.raises(TwitchError, match="is a directory"):
            enable(root_node, "token:a", force=force)


# ---- ends


def test_end_is_bounded_for_the_listener_and_not_for_root(root_node: Node, puppet: FakePuppet) -> None:
    for hold_s in (None, 31 * DAY, 0, -1):
        assert disable(root_node, "token:a", hold_s=hold_s).kind == INVALID
    assert not puppet.disabled.exists()
    assert disable(root_node, "token:a", hold_s=30 * DAY).kind == DISABLED
    assert disable(root_node, "user:a", hold_s=None, uid=0).kind == DISABLED
    assert content(puppet)["disabled_message"].endswith("CHG-1 (user:a at 192.0.2.7, without an end)")


def test_listener_cannot_disable_in_the_name_of_another_tool(node: FakeNode) -> None:
    # The lock of another tool has no end, whatever the request says.
    until = int(time.time()) + HOUR
    for question in (Disable(UNKNOWN, "192.0.2.7", "CHG-1", until), Enable(UNKNOWN, "192.0.2.7")):
        asked = Question(node, question, run=new_run(1))
        assert asked.answer().kind == INVALID
        asked.end()
    assert not node.puppet.disabled.exists()


def test_hold_beside_the_lock_of_another_tool_keeps_its_end(root_node: Node, puppet: FakePuppet) -> None:
    puppet.disabled.write_text(BY_HAND)
    os.utime(puppet.disabled, (-5, -5))
    assert disable(root_node, "token:a", force=True).kind == DISABLED
    lock = parse(puppet.disabled.read_bytes(), 1.0)
    assert [(hold.caller, hold.until is None) for hold in lock.holds] == [(UNKNOWN, True), ("token:a", False)]


def test_hold_that_has_ended_is_lifted_at_sight(
    root_node: Node, puppet: FakePuppet, events: list[dict[str, Any]]
) -> None:
    disable(root_node, "token:a")
    disable(root_node, "token:b")
    expire(puppet, "token:a")
    assert str(root_node.disabled()).startswith("CHG-1 (token:b at ")
    assert callers(puppet) == ["token:b"]
    expire(puppet, "token:b")
    assert root_node.disabled() is None
    assert not puppet.disabled.exists()
    assert [(event["message_id"], event["caller"]) for event in events] == [
        (journal.EXPIRED, "token:a"),
        (journal.EXPIRED, "token:b"),
    ]


def test_lock_of_another_tool_stays_when_a_hold_ends(
    root_node: Node, puppet: FakePuppet, events: list[dict[str, Any]]
) -> None:
    puppet.disabled.write_text(BY_HAND)
    disable(root_node, "token:a", force=True)
    expire(puppet, "token:a")
    assert root_node.disabled() == "by hand"
    assert puppet.disabled.read_text() == BY_HAND


def test_hold_that_cannot_be_lifted_still_disables(
    root_node: Node, puppet: FakePuppet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    disable(root_node, "token:a")
    expire(puppet, "token:a")

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(holds_in_lock, "lift", read_only)
    assert str(root_node.disabled()).startswith("CHG-1 (token:a at ")
    assert "although a hold has ended: [Errno 30] Read-only file system" in capsys.readouterr().err


# ---- the timer, and the file for a boot


def test_timer_is_set_to_the_first_end(
    root_node: Node, puppet: FakePuppet, commands: list[tuple[str, ...]]
) -> None:
    disable(root_node, "token:a", hold_s=2 * HOUR)
    (first,) = commands
    assert first[0] == "systemd-run" and "--unit=puppet-twitch-expiry.service" in first
    disable(root_node, "token:b", hold_s=3 * HOUR)
    assert len(commands) == 1  # the same end
    disable(root_node, "token:c", hold_s=HOUR)
    assert [command[0] for command in commands] == ["systemd-run", "systemctl", "systemd-run"]
    assert json.loads(Path(root_node.store.disabled_path).read_text()) == {"lock": os.fspath(puppet.disabled)}
    enable(root_node, "token:a", force=True)
    assert commands[-1][:1] == ("systemctl",)
    assert not os.path.exists(root_node.store.disabled_path)


def test_hold_without_an_end_needs_no_timer(root_node: Node, commands: list[tuple[str, ...]]) -> None:
    disable(root_node, "user:a", hold_s=None, uid=0)
    assert commands == []
    assert not os.path.exists(root_node.store.disabled_path)


# ---- the journal


def test_each_question_leaves_a_line(events: list[dict[str, Any]]) -> None:
    disabling.log(Disable("token:a", "192.0.2.7", "CHG-1", 1769076300), Answer(DISABLED, reason="x"))
    disabling.log(Enable("token:a", "192.0.2.7", force=True), Answer(HELD, reason="by hand"))
    assert [event["message"] for event in events] == [
        "token:a at 192.0.2.7 asked to disable Puppet until 2026-01-22T10:05:00Z: CHG-1: disabled",
        "token:a at 192.0.2.7 asked to enable Puppet (force): still disabled: by hand",
    ]
    assert [event["message_id"] for event in events] == [journal.DISABLED, journal.ENABLED]
