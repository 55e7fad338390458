"""The content of the lock that disables Puppet: holds of ours, or whatever another tool has written."""

from __future__ import annotations

import json

import pytest

from twitch.errors import TwitchError
from twitch.holds import UNKNOWN, Hold
from twitch.root import holds_in_lock
from twitch.root.holds_in_lock import parse

CONTENTS: dict[str, tuple[bytes, str, str]] = {
    "of-puppet": (b'{"disabled_message":"x"}', "x", "x"),
    "of-puppet-half-written": (b"", "", ""),
    "text": (b"CHG-123\n", "", "CHG-123"),
    "a-list": (b"[1]", "", "[1]"),
    "no-utf-8": (b"\xff\n\x1b", "", r"" + "\ufffd" + r"\n\x1b"),
    "an-object-without-a-message": (b'{"a":1}', "", ""),
    "holds-of-another-version": (b'{"disabled_message":"x","puppet_twitch":{"holds":[{"who":1}]}}', "x", "x"),
    "holds-with-an-invalid-caller": (
        b'{"disabled_message":"x","puppet_twitch":{"holds":[{"caller":"a\\nb","client":"c","reason":"r","since":1}]}}',
        "x",
        "x",
    ),
    "no-holds": (b'{"disabled_message":"x","puppet_twitch":{"holds":[]}}', "x", "x"),
}


@pytest.mark.parametrize(("text", "message", "reason"), CONTENTS.values(), ids=CONTENTS)
def test_any_other_content_is_the_lock_of_another_tool(text: bytes, message: str, reason: str) -> None:
    lock = parse(text, 7.0)
    assert (lock.foreign, lock.message) == (True, message)
    assert lock.holds == (Hold(UNKNOWN, "", reason, 7.0),)


HOLD = {"caller": "token:a", "client": "192.0.2.7", "reason": "CHG-1", "since": 1, "until": 2}
FORGED = {
    "two-holds-of-a-caller": [HOLD, HOLD],
    "many-unknown-ones": [{**HOLD, "caller": UNKNOWN, "client": "", "until": None}] * 32,
    "address": [{**HOLD, "client": "\x1b[2J"}],
    "end-that-is-no-time": [{**HOLD, "until": 9e14}],
    "beginning-that-is-no-time": [{**HOLD, "since": -9e14}],
}


@pytest.mark.parametrize("holds", FORGED.values(), ids=FORGED)
def test_holds_that_root_cannot_have_written_are_another_tools(holds: list[object]) -> None:
    lock = parse(json.dumps({"disabled_message": "x", "puppet_twitch": {"holds": holds}}).encode(), 1.0)
    assert lock.holds == (Hold(UNKNOWN, "", "x", 1.0),)


def test_lock_that_is_nested_too_deep_is_an_error_of_its_own() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    lock = holds_in_lock.Lock("x", (Hold("token:a", "::1", "x", 1, 2),), {"other": nested})
    with pytest.raises(TwitchError, match="nested"):
        holds_in_lock.content_of(lock)
