"""Words for people: whatever a text contains, it cannot play with the terminal that shows it."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch import texts
from twitch.errors import HTTPError
from twitch.listener.api import wording
from twitch.listener.exchange import Request

AS_JSON = Request("GET", "/", {"accept": "application/json"}, b"", "::1")


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
def test_no_answer_in_text_controls_anything(text: str) -> None:
    body = wording.answer(None, 200, text).body.decode()
    controls = {letter for letter in body if unicodedata.category(letter) in ("Cc", "Zl", "Zp")}
    assert controls <= {"\n", "\t"}


@given(text=st.text())
def test_one_line_is_one_line_and_can_be_written_down(text: str) -> None:
    line = texts.one_line(text)
    assert len(line.splitlines()) <= 1
    line.encode("utf-8")


@given(text=st.text(st.characters()))
def test_json_says_exactly_what_was_meant(text: str) -> None:
    assert json.loads(wording.answer(AS_JSON, 200, text, fields={"run": text}).body) == {
        "message": text,
        "run": text,
    }
    problem = wording.problem(AS_JSON, HTTPError(418, text, close=True), {"run": text})
    assert json.loads(problem.body)["detail"] == text
    assert (problem.close, problem.status) == (True, 418)


@pytest.mark.parametrize("text", sorted(wording.PUBLISHED))
def test_published_answers_have_no_newline_and_all_others_end_in_one(text: str) -> None:
    assert wording.answer(None, 200, text).body == text.encode()
    assert wording.answer(None, 200, f"{text}.").body == f"{text}.\n".encode()
