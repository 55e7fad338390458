"""The error that says why a run failed, chosen by levels and sources."""

from __future__ import annotations

from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch.root.error_text import LEVELS, MAX_ERROR_CHARS, Entry, error, outside_of_changes


def shortened(length: int) -> str:
    """Return what is left of a long text of x: a third of its beginning, and the rest from its end."""
    tail = length * 2 // 3
    return "x" * (length - tail - 1) + "…" + "x" * tail


FACTER = Entry("err", "Facter", "not installed here")
EXEC = Entry("err", "/Stage[main]/Main/Exec[a]/returns", "returned 1")
LAST = Entry("err", "/Stage[main]/Main/Exec[b]/returns", "returned 2")
COMPILE = Entry("err", "Puppet", "Error 500 on SERVER: Unknown resource type")
SKIPPING = Entry("err", "Puppet", "skipping run")
OPENVOX = Entry("err", "Puppet", "undefined method")
SENDING = Entry("err", "Puppet", "Could not send report")

CHOICES: dict[str, tuple[list[Entry], Optional[str]]] = {
    "nothing": ([], None),
    "no-error": ([Entry("notice", "Puppet", "a"), Entry("warning", "/Stage[main]", "b")], None),
    "resource-after-facter": ([FACTER, EXEC], "returned 1"),
    "last-resource": ([EXEC, LAST, SENDING], "returned 2"),
    "puppet-after-facter": ([FACTER, SENDING], "Could not send report"),
    "two-of-puppet": ([COMPILE, FACTER, SKIPPING], f"{COMPILE.message}; skipping run"),
    "last-three-of-puppet": (
        [SENDING, COMPILE, FACTER, SKIPPING, OPENVOX],
        f"{COMPILE.message}; skipping run; undefined method",
    ),
    "facter-alone": ([FACTER, FACTER._replace(message="again")], "not installed here"),
    "critical": ([Entry("crit", "Puppet", "a")], "a"),
    "alert": ([Entry("alert", "Puppet", "a")], "a"),
    "emergency": ([Entry("emerg", "Puppet", "a")], "a"),
    "lines": ([Entry("err", "Puppet", "a\n  b\tc")], "a b c"),
    "no-text": ([Entry("err", "Puppet", "")], None),
    "long": ([Entry("err", "Puppet", "x" * 2000)], shortened(MAX_ERROR_CHARS)),
    "long-before-a-short-one": (
        [Entry("err", "Puppet", "x" * 2000), SKIPPING],
        shortened(MAX_ERROR_CHARS - len("; skipping run")) + "; skipping run",
    ),
    "long-before-two": (
        [Entry("err", "Puppet", "x" * 2000), SKIPPING, OPENVOX],
        shortened(MAX_ERROR_CHARS - len("; skipping run; undefined method"))
        + "; skipping run; undefined method",
    ),
    "short-before-a-long-one": ([SKIPPING, Entry("err", "Puppet", "x" * 2000)], shortened(MAX_ERROR_CHARS)),
}


@pytest.mark.parametrize(("entries", "text"), CHOICES.values(), ids=CHOICES)
def test_error_of_a_log(entries: list[Entry], text: Optional[str]) -> None:
    assert error(iter(entries)) == text


@pytest.mark.parametrize(
    ("source", "outside"),
    [
        pytest.param("/Stage[main]/Main/Genfail[x]", True, id="resource"),
        pytest.param("/Stage[pre]/A::B/C[/x/y]/D::E[a b]", True, id="deep"),
        pytest.param("/Stage[main]/Main/Notify[a]/message", False, id="change"),
        # Plugin synchronisation, which is no part of the catalog.
        pytest.param("/File[/var/cache/puppet/lib]", False, id="plugins"),
        pytest.param("Puppet", False, id="puppet"),
        pytest.param("Facter", False, id="facter"),
        pytest.param("Scope(Class[main])", False, id="function"),
        pytest.param("", False, id="none"),
    ],
)
def test_error_outside_of_changes(source: str, outside: bool) -> None:
    assert outside_of_changes(source) is outside


@given(st.lists(st.builds(Entry, st.sampled_from([*LEVELS, "notice"]), st.text(), st.text())))
def test_any_log_has_an_error_on_one_line_or_none(entries: list[Entry]) -> None:
    text = error(entries)
    assert text is None or (len(text) <= MAX_ERROR_CHARS and "\n" not in text)


def test_beginning_and_end_of_a_long_error_are_kept() -> None:
    text = f"parameter 'tokens' entry 'deploy' expects {'Pattern ' * 200}, got '2028-02-30' (file: x.yaml)"
    shown = error([Entry("err", "Puppet", text)])
    assert shown is not None and len(shown) == MAX_ERROR_CHARS
    assert shown.startswith("parameter 'tokens' entry 'deploy' expects Pattern ")
    assert shown.endswith("Pattern , got '2028-02-30' (file: x.yaml)")
