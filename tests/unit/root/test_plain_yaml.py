"""YAML that an attacker may have written: texts, lists and mappings, or None, and never much memory."""

from __future__ import annotations

import tracemalloc

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from twitch.root import plain_yaml
from twitch.root.plain_yaml import MAX_DEPTH, MAX_YAML_CHARS, load

# Nine lists of nine references each: 442 bytes that a loader makes 3,486,784,401 values of.
BOMB = 'a: &a ["x","x","x","x","x","x","x","x","x"]\n' + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi")
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("a: 1\nb: [x, 'y', \"z\"]\n", {"a": "1", "b": ["x", "y", "z"]}, id="texts"),
        pytest.param("a: |-\n  x\n  y\n", {"a": "x\ny"}, id="block"),
        pytest.param("- a\n- b: c\n", ["a", {"b": "c"}], id="list"),
        pytest.param("a: 2024-02-30\nb: 1:1:1\n", {"a": "2024-02-30", "b": "1:1:1"}, id="odd"),
        pytest.param("a:\nb: ~\nc: null\n", {"a": "", "b": "~", "c": "null"}, id="nothing"),
        pytest.param("a: &b c\n", {"a": "c"}, id="anchor"),
        pytest.param("a: 1\na: 2\n", {"a": "2"}, id="twice"),
        pytest.param("a\n--- b\n", "a", id="the-first-document"),
        pytest.param("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1), None, id="as-deep-as-allowed"),
    ],
)
def test_plain_document_is_loaded(text: str, value: object) -> None:
    loaded = load(text)
    if value is None:
        assert isinstance(loaded, list)
    else:
        assert loaded == value


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("&a [*a]", id="endless"),
        pytest.param(BOMB, id="bomb"),
        pytest.param("a: !ruby/sym x", id="tag"),
        pytest.param("a: !!python/object/apply:os.system [x]", id="tag-of-python"),
        pytest.param("? [a]\n: b", id="complex-key"),
        pytest.param("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), id="too-deep"),
        pytest.param("[" * 10_000, id="much-too-deep"),
        pytest.param("a: 1\n" * MAX_YAML_CHARS, id="too-large"),
        pytest.param("[1", id="broken"),
        pytest.param("\0", id="control-character"),
        pytest.param('"\\UFFFFFFFF"', id="no-character"),
        pytest.param('"\\U0011FFFF"', id="beyond-unicode"),
        pytest.param("%YAML 9", id="directive"),
    ],
)
def test_other_document_is_none(text: str) -> None:
    assert load(text) is None


def test_references_cost_no_memory() -> None:
    assert len(BOMB) < 500
    tracemalloc.start()
    try:
        load(BOMB)
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()


@given(st.text(max_size=80) | st.text("[]{}&*!|>%@`\"'\\?:-,#. \n\tax01U", max_size=80))
def test_any_text_is_loaded_or_none(text: str) -> None:
    load(text)


plain = st.recursive(
    st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_what_yaml_writes_is_loaded_as_it_was(value: object) -> None:
    # Ruby's library and this one write the same YAML.
    assert load(yaml.safe_dump(value)) == value


def test_bound_is_what_a_summary_needs_many_times() -> None:
    assert plain_yaml.MAX_YAML_CHARS >= 8 * 2048
