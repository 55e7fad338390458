"""Programs of systemd that root starts: their error in one line, a limit of time, and none of memory."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from twitch.root import memory, programs


@pytest.fixture
def limited() -> Iterator[None]:
    """Limit the memory of this process, as that of root's processes is."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    memory.limit()
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


def test_program_that_succeeds_has_no_error() -> None:
    assert programs.run("sh", "-c", "echo a warning >&2") == ""


@pytest.mark.parametrize(
    ("script", "error"),
    [("echo first >&2; echo second >&2; exit 1", "first"), ("exit 3", "exit 3")],
)
def test_error_is_the_first_line_or_the_exit_status(script: str, error: str) -> None:
    assert programs.run("sh", "-c", script) == error


def test_missing_program_is_an_error() -> None:
    assert "no-such-program" in programs.run("/no-such-program")


def test_program_that_does_not_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "TIMEOUT_S", 0.1)
    assert programs.run("sleep", "60") == "it did not end in 0.1 s"


def test_program_does_not_inherit_the_memory_limit(limited: None) -> None:
    assert programs.run("sh", "-c", "ulimit -d >&2; exit 1") == "unlimited"
