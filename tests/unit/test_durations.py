"""Durations: how people write them, and how they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch import durations

SHOWN = {
    0: "0s",
    0.4: "0s",
    -3: "0s",
    59.6: "1m",
    66: "1m 6s",
    3600: "1h",
    3960: "1h 6m",
    3666: "1h 1m",
    90061: "1d 1h",
}


@pytest.mark.parametrize(("duration_s", "text"), SHOWN.items())
def test_duration_is_shown_with_two_units(duration_s: float, text: str) -> None:
    assert durations.shown(duration_s) == text


AGO = {
    0: "now",
    1.4: "now",
    -1.4: "now",
    2: "2 s ago",
    -59: "in 59 s",
    -90: "in 1 min",
    -7198: "in 2 h",
    -7190: "in 1 h",
    59.6: "1 min ago",
    725: "12 min ago",
    7300: "2 h ago",
    47 * 3600: "47 h ago",
    48 * 3600: "2 days ago",
    -86400 * 30: "in 30 days",
}


@pytest.mark.parametrize(("age_s", "text"), AGO.items())
def test_age_is_shown_with_one_unit(age_s: float, text: str) -> None:
    assert durations.ago(age_s) == text


@given(number=st.integers(0, 10**9 - 1), unit=st.sampled_from(["", "s", "m", "h", "d"]))
def test_number_with_a_unit_is_a_duration(number: int, unit: str) -> None:
    assert durations.seconds(f"{number}{unit}") == number * durations.UNITS_S[unit or "s"]


@given(text=st.text(max_size=6))
def test_any_other_text_is_none(text: str) -> None:
    seconds = durations.seconds(text)
    assert (seconds is None) != (
        text.rstrip("smhd").isdecimal() and text.isascii() and len(text) - 1 <= len(text.rstrip("smhd"))
    )
