"""Texts of others: whatever they contain, they cannot control a terminal or forge a line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch import texts


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        pytest.param("plain, é, 漢, 🙂", "plain, é, 漢, 🙂", id="texts"),
        pytest.param("a\nb\tc", "a\nb\tc", id="newline-and-tab"),
        pytest.param("\x1b[2J", "\\x1b[2J", id="escape"),
        pytest.param("\r\0\x07\x08\x0b\x0c\x7f", "\\r\\x00\\x07\\x08\\x0b\\x0c\\x7f", id="ascii-controls"),
        pytest.param("\x85\x9b2J", "\\x85\\x9b2J", id="c1-controls"),
        pytest.param("\u202eabc\u202c\u2066\u2069", "\\u202eabc\\u202c\\u2066\\u2069", id="direction"),
        pytest.param("\u2028\u2029", "\\u2028\\u2029", id="separators"),
    ],
)
def test_control_characters_are_escaped(text: str, escaped: str) -> None:
    assert texts.escape(text) == escaped


@given(text=st.text())
def test_one_line_is_one_line_in_utf_8(text: str) -> None:
    line = texts.one_line(text)
    assert len(line.splitlines()) <= 1
    line.encode("utf-8")
