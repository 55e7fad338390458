"""Values of JSON and YAML, whatever an attacker has written there."""

from __future__ import annotations

from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch.root import values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param('{"a": [1, 2.5, true, null]}', {"a": [1, 2.5, True, None]}, id="json"),
        pytest.param("[" * 100_000, None, id="too-deep"),
        pytest.param("{", None, id="broken"),
        pytest.param("9" * 5000, None, id="a-number-of-many-digits"),
    ],
)
def test_json(text: str, value: object) -> None:
    assert values.from_json(text) == value


@pytest.mark.parametrize(
    ("value", "number"),
    [
        pytest.param(7, 7.0, id="whole"),
        pytest.param(2.5, 2.5, id="decimal"),
        pytest.param("2.5", 2.5, id="of-yaml"),
        pytest.param(True, None, id="true"),
        pytest.param("", None, id="empty"),
        pytest.param("many", None, id="word"),
        pytest.param(".nan", None, id="nan-of-yaml"),
        pytest.param("nan", None, id="nan"),
        pytest.param(float("inf"), None, id="infinity"),
        pytest.param(10**400, None, id="huge"),
        pytest.param([1], None, id="list"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_number(value: object, number: Optional[float]) -> None:
    assert values.number(value) == number


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.integers())))
def test_any_value_has_a_text_a_number_and_a_mapping_or_none(value: object) -> None:
    found = values.number(value)
    assert found is None or abs(found) < 1e12
    assert isinstance(values.text(value), (str, type(None)))
    assert values.mapping(value) == {}
