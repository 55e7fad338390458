"""The typed fields of a JSON object: each method returns its type or raises `FieldError`, nothing else."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch.fields import FieldError, Fields

Read = Callable[[Fields], object]

REQUIRED: dict[str, Read] = {
    "text": lambda fields: fields.text("x"),
    "number": lambda fields: fields.number("x"),
    "integer": lambda fields: fields.integer("x"),
}
OPTIONAL: dict[str, Read] = {
    "optional_text": lambda fields: fields.optional_text("x"),
    "optional_number": lambda fields: fields.optional_number("x"),
    "optional_integer": lambda fields: fields.optional_integer("x"),
    "optional_flag": lambda fields: fields.optional_flag("x"),
    "optional_texts": lambda fields: fields.optional_texts("x"),
    "counts": lambda fields: fields.counts("x"),
    "fields": lambda fields: fields.fields("x"),
}
SETTINGS: dict[str, Read] = {"settings": lambda fields: fields.settings("x")}
ALL = {**REQUIRED, **OPTIONAL, **SETTINGS}


@pytest.mark.parametrize("value", [None, [], "text", 7, True, [("x", 1)]])
def test_only_an_object_has_fields(value: object) -> None:
    with pytest.raises(FieldError, match="not a JSON object"):
        Fields(value)


@pytest.mark.parametrize("read", REQUIRED.values(), ids=REQUIRED)
@pytest.mark.parametrize("content", [{}, {"x": None}], ids=["missing", "null"])
def test_a_required_field_that_is_missing_is_an_error(read: Read, content: dict[str, object]) -> None:
    with pytest.raises(FieldError, match="'x' is missing"):
        read(Fields(content))


@pytest.mark.parametrize("read", OPTIONAL.values(), ids=OPTIONAL)
@pytest.mark.parametrize("content", [{}, {"x": None}], ids=["missing", "null"])
def test_an_optional_field_that_is_missing_is_none(read: Read, content: dict[str, object]) -> None:
    assert read(Fields(content)) is None


@pytest.mark.parametrize("content", [{}, {"x": None}], ids=["missing", "null"])
def test_missing_settings_are_empty(content: dict[str, object]) -> None:
    assert Fields(content).settings("x") == {}


VALID: dict[str, tuple[str, object, object]] = {
    "text": ("text", "é\n", "é\n"),
    "empty-text": ("text", "", ""),
    "number": ("number", 1.5, 1.5),
    "whole-number": ("number", 3, 3),
    "negative-number": ("number", -1.5, -1.5),
    "zero": ("number", 0, 0),
    "integer": ("integer", -7, -7),
    "optional-text": ("optional_text", "x", "x"),
    "optional-number": ("optional_number", 0.0, 0.0),
    "optional-integer": ("optional_integer", 0, 0),
    "true": ("optional_flag", True, True),
    "false": ("optional_flag", False, False),
    "texts": ("optional_texts", ["a", ""], ("a", "")),
    "no-texts": ("optional_texts", [], ()),
    "counts": ("counts", {"changed": 3}, {"changed": 3}),
    "no-counts": ("counts", {}, {}),
    "settings": ("settings", {"logdest": ""}, {"logdest": ""}),
}


@pytest.mark.parametrize(("method", "value", "expected"), VALID.values(), ids=VALID)
def test_a_valid_field_is_returned(method: str, value: object, expected: object) -> None:
    found = ALL[method](Fields({"x": value}))
    assert (found, type(found)) == (expected, type(expected))


def test_the_fields_of_an_inner_object() -> None:
    inner = Fields({"x": {"y": "z"}}).fields("x")
    assert inner is not None and inner.text("y") == "z"


INVALID: dict[str, tuple[str, object]] = {
    "text-a-number": ("text", 7),
    "text-a-list": ("text", ["x"]),
    "number-a-text": ("number", "7"),
    "number-true": ("number", True),
    "number-nan": ("number", float("nan")),
    "number-infinite": ("number", float("-inf")),
    "number-huge": ("number", 10**400),
    "number-a-list": ("optional_number", []),
    "integer-a-fraction": ("integer", 1.0),
    "integer-false": ("optional_integer", False),
    "flag-a-number": ("optional_flag", 1),
    "flag-a-text": ("optional_flag", "true"),
    "texts-a-text": ("optional_texts", "ab"),
    "texts-of-numbers": ("optional_texts", ["a", 1]),
    "texts-with-null": ("optional_texts", [None]),
    "counts-a-list": ("counts", []),
    "counts-of-texts": ("counts", {"changed": "3"}),
    "counts-with-null": ("counts", {"changed": None}),
    "settings-a-text": ("settings", ""),
    "settings-of-numbers": ("settings", {"logdest": 1}),
    "settings-with-null": ("settings", {"logdest": None}),
    "fields-a-list": ("fields", []),
}


@pytest.mark.parametrize(("method", "value"), INVALID.values(), ids=INVALID)
def test_a_field_of_another_type_is_an_error(method: str, value: object) -> None:
    with pytest.raises(FieldError):
        ALL[method](Fields({"x": value}))


texts = st.text(max_size=10)
scalars: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)


@given(value=json_values, method=st.sampled_from(sorted(ALL)))
def test_any_field_has_its_type_or_is_a_field_error(value: object, method: str) -> None:
    try:
        found = ALL[method](Fields({"x": value}))
    except FieldError as error:
        assert str(error)
        return
    if method == "fields":
        assert (found is None) == (value is None)
    elif method == "optional_texts":
        assert (list(found) if isinstance(found, tuple) else found) == value
    elif method == "settings":
        assert found == (value or {})
    else:
        assert found == value
