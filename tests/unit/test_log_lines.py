"""The lines of a log as text, which no message can forge, and as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch import log_lines
from twitch.log_lines import LEVELS, Line

AT = 1769072699.25
LINE = Line(3, AT, "notice", "/Stage[main]/Main/File[/etc/motd]/ensure", "created")


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_text_is_that_of_puppets_own_log_file() -> None:
    expected = "2026-01-22 10:04:59 +0100 /Stage[main]/Main/File[/etc/motd]/ensure (notice): created"
    assert LINE.text() == expected


def test_json_has_the_position_and_the_time_in_utc() -> None:
    assert json.loads(LINE.json()) == {
        "at": 3,
        "time": "2026-01-22T09:04:59.250000Z",
        "level": "notice",
        "source": "/Stage[main]/Main/File[/etc/motd]/ensure",
        "message": "created",
    }


def test_line_of_ours_is_marked() -> None:
    line = LINE._replace(source="puppet-twitch", message="deploy asked\n2026 forged", ours=True)
    assert line.text() == "# deploy asked\\n2026 forged"
    assert json.loads(line.json())["event"] == "asked"
    assert "event" not in json.loads(LINE._replace(source="puppet-twitch").json())


def test_message_of_many_lines_cannot_forge_one() -> None:
    text = LINE._replace(message="one\n# changed\n2026-01-22 x (err): \x1b[31mred").text()
    assert text.splitlines()[1:] == ["  # changed", "  2026-01-22 x (err): \\x1b[31mred"]


@given(st.text(), st.text())
def test_text_of_a_line_has_one_beginning(source: str, message: str) -> None:
    first, *more = LINE._replace(source=source, message=message).text().split("\n")
    assert first.startswith("2026-01-22 10:04:59 +0100 ")
    assert all(line.startswith("  ") for line in more)


@given(st.integers(0, 9) | st.none(), st.sampled_from(LEVELS), st.text(), st.text(), st.booleans())
def test_packet_holds_the_line(at: Optional[int], level: str, source: str, message: str, ours: bool) -> None:
    line = Line(at, AT, level, source, message, ours)
    assert log_lines.decode(json.loads(log_lines.encode(line))) == line
    assert b"\n" not in log_lines.encode(line)


def test_moment_is_exact_to_the_microsecond() -> None:
    assert log_lines.moment(1769072699.9999999) == "2026-01-22T09:05:00.000000Z"
