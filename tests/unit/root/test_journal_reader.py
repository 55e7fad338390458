"""Puppet's errors in the journal, as syslog has brought them there; the reader is a stand-in."""

from __future__ import annotations

import sys
from typing import Any, ClassVar, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from systemd import journal

from tests.unit.records import RUN
from twitch.root import journal_reader
from twitch.root.error_text import Entry


class Reader:
    """Entries of a journal, oldest first, and what was asked of it."""

    entries: ClassVar[list[dict[str, Any]]] = []
    matches: ClassVar[list[str]] = []

    def __init__(self) -> None:
        self._left = list(self.entries)
        self.data_threshold = 0

    def add_match(self, *matches: str) -> None:
        self.matches.extend(matches)

    def seek_tail(self) -> None:
        """Do as the real one."""

    def get_previous(self) -> dict[str, Any]:
        return self._left.pop() if self._left else {}

    def close(self) -> None:
        """Do as the real one."""


@pytest.fixture(autouse=True)
def entries(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the list of entries that the journal has."""
    monkeypatch.setattr(journal_reader, "JOURNALD", "/nowhere")
    monkeypatch.setattr(journal, "Reader", Reader)
    monkeypatch.setattr(Reader, "entries", [])
    monkeypatch.setattr(Reader, "matches", [])
    return Reader.entries


def line(message: object, identifier: str = "puppet-agent", priority: int = 3) -> dict[str, Any]:
    return {"MESSAGE": message, "SYSLOG_IDENTIFIER": identifier, "PRIORITY": priority}


EXEC = "/Stage[main]/Main/Exec[echo (a) b]/returns"
PARSED: dict[str, tuple[object, tuple[str, str]]] = {
    "puppet": ("Could not retrieve catalog", ("Puppet", "Could not retrieve catalog")),
    "facter": ("(Facter) not installed here", ("Facter", "not installed here")),
    "property": (f"({EXEC}) change from (b) failed", (EXEC, "change from (b) failed")),
    "resource": (
        "(/Stage[main]/Main/Genfail[x]) cannot list",
        ("/Stage[main]/Main/Genfail[x]", "cannot list"),
    ),
    "title-with-lines": ("(/Stage[main]/Exec[a\nb]/returns) c", ("/Stage[main]/Exec[a\nb]/returns", "c")),
    "plugins": ("(/File[/var/lib]/ensure) c", ("/File[/var/lib]/ensure", "c")),
    "function": ("(Scope(Class[main])) by err()", ("Puppet", "(Scope(Class[main])) by err()")),
    "not-utf-8": (b"(Facter) \xff", ("Facter", "\ufffd")),
    "empty": ("", ("Puppet", "")),
}


@pytest.mark.parametrize(("message", "parsed"), PARSED.values(), ids=PARSED)
def test_line_of_puppet_has_a_source_and_a_message(
    entries: list[dict[str, Any]], message: object, parsed: tuple[str, str]
) -> None:
    entries.append(line(message))
    assert journal_reader.errors(RUN, 7) == [Entry("err", *parsed)]


def test_errors_are_in_their_order_with_their_levels(entries: list[dict[str, Any]]) -> None:
    entries += [line("a"), line("b", "puppet-user", 2), line("c", priority=0)]
    found = journal_reader.errors(RUN, None)
    assert [(entry.level, entry.message) for entry in found] == [("err", "a"), ("crit", "b"), ("emerg", "c")]


def test_lines_of_one_message_of_a_resource_are_joined(entries: list[dict[str, Any]]) -> None:
    entries += [line(f"({EXEC}) one"), line(f"({EXEC}) two"), line("three"), line("four")]
    assert [entry.message for entry in journal_reader.errors(RUN, 7)] == ["one two", "three", "four"]


@pytest.mark.parametrize("identifier", ["puppet-twitch", "sh", "puppet", ""])
def test_lines_of_other_programs_are_left_out(entries: list[dict[str, Any]], identifier: str) -> None:
    entries.append(line("x", identifier))
    assert journal_reader.errors(RUN, 7) == []


def test_entry_with_fields_that_are_there_twice(entries: list[dict[str, Any]]) -> None:
    entries += [line(["a", "b"]), {**line("c"), "PRIORITY": [3, 3]}]
    assert journal_reader.errors(RUN, 7) == [Entry("err", "Puppet", "c")]


@pytest.mark.parametrize(("pid", "matches"), [(7, ["_PID=7"]), (None, [])])
def test_only_errors_of_the_process_of_this_run_are_read(pid: Optional[int], matches: list[str]) -> None:
    journal_reader.errors(RUN, pid)
    priorities = [f"PRIORITY={priority}" for priority in range(4)]
    assert Reader.matches == [f"_SYSTEMD_INVOCATION_ID={RUN}", "_UID=0", *matches, *priorities]


def test_last_errors_of_very_many_are_read(entries: list[dict[str, Any]]) -> None:
    entries += [line(str(number)) for number in range(3 * journal_reader.MAX_ENTRIES)]
    found = journal_reader.errors(RUN, 7)
    assert len(found) == journal_reader.MAX_ENTRIES
    assert found[-1].message == str(3 * journal_reader.MAX_ENTRIES - 1)


def test_journal_that_cannot_be_read_has_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError

    monkeypatch.setattr(journal, "Reader", refuse)
    assert journal_reader.errors(RUN, 7) == []
    monkeypatch.setitem(sys.modules, "systemd", None)  # type: ignore[misc]  # as if it were not installed
    assert journal_reader.errors(RUN, 7) == []


@given(st.text(max_size=60) | st.text("()[]/ aFacter", max_size=60))
def test_any_message_is_an_entry(message: str) -> None:
    entry = journal_reader._entry(line(message))
    assert entry is not None and entry.message in message and entry.source
