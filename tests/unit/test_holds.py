"""Holds: what several of them mean together, and how Puppet prints them."""

from __future__ import annotations

from twitch import holds
from twitch.fields import Fields
from twitch.holds import UNKNOWN, Disabled, Hold, together

DEPLOY = Hold("token:deploy", "192.0.2.7", "CHG-123", 1769072700, 1769076300)
BACKUP = Hold("token:backup", "192.0.2.8", "dump", 1769072600, 1769079900)
BY_HAND = Hold(UNKNOWN, "", "by hand", 1769072000)


def test_hold_is_shown_with_its_caller_and_its_end() -> None:
    assert DEPLOY.shown() == "CHG-123 (token:deploy at 192.0.2.7, until 2026-01-22T10:05:00Z)"
    assert DEPLOY._replace(until=None).shown() == "CHG-123 (token:deploy at 192.0.2.7, without an end)"


def test_lock_of_another_tool_is_shown_as_it_is() -> None:
    assert BY_HAND.shown() == "by hand"
    assert BY_HAND._replace(reason="").shown() == "no reason given"


def test_holds_together_end_with_the_last_one() -> None:
    assert together((DEPLOY, BACKUP)) == Disabled(
        by="token:deploy, token:backup",
        reason="CHG-123; dump",
        since=1769072600,
        until=1769079900,
        holds=(DEPLOY, BACKUP),
    )


def test_holds_together_have_no_end_if_one_has_none() -> None:
    assert together((BY_HAND, DEPLOY)).until is None


def test_holds_are_read_as_they_were_written() -> None:
    disabled = together((BY_HAND, DEPLOY))
    assert holds.from_json(Fields(disabled.to_json())) == disabled
