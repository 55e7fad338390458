"""`puppet-twitch metrics`: printed or written, also when root's side or Puppet cannot be asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.api_under_test import FakeRoot
from twitch import messages, metrics
from twitch.cli import metrics as command
from twitch.errors import ConfigError, RootUnavailable, TwitchError, UsageError
from twitch.messages import Answer, Metrics
from twitch.metrics import Figures

TEXT = metrics.text(Figures("idle"))
UNREAD = metrics.text(None)


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRoot]:
    """Return root's side of the run socket, which answers with TEXT."""
    path = os.fspath(tmp_path / "run.sock")
    monkeypatch.setattr(messages, "RUN_SOCKET", path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    root = FakeRoot(path)
    root.answer_to = lambda question: Answer("metrics", metrics=TEXT)
    yield root
    root.close()


def test_metrics_are_printed(answering: FakeRoot, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    assert capsys.readouterr().out == TEXT
    assert [type(question) for question in answering.asked] == [Metrics]


def test_metrics_are_written_without_the_state(
    answering: FakeRoot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "puppet-twitch.prom"
    assert command.main(["--output", os.fspath(path)]) == 0
    assert path.read_text() == metrics.for_textfile(TEXT)
    assert capsys.readouterr().out == ""


FAULTS: dict[str, tuple[Answer, type[TwitchError], str]] = {
    "puppet": (Answer("cannot", reason="no puppet"), TwitchError, "Puppet cannot be asked: no puppet"),
    "configuration": (Answer("misconfigured", reason="line 1"), ConfigError, "line 1"),
}


@pytest.mark.parametrize(("answer", "kind", "text"), FAULTS.values(), ids=FAULTS)
def test_file_says_that_puppet_cannot_be_read(
    answering: FakeRoot, tmp_path: Path, answer: Answer, kind: type[TwitchError], text: str
) -> None:
    answering.answer_to = lambda question: answer
    path = tmp_path / "puppet-twitch.prom"
    path.write_text(TEXT)
    with pytest.raises(kind, match=text):
        command.main(["--output", os.fspath(path)])
    assert path.read_text() == UNREAD


def test_file_says_so_without_root_as_well(
    answering: FakeRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "RUN_SOCKET", os.fspath(tmp_path / "missing"))
    path = tmp_path / "puppet-twitch.prom"
    with pytest.raises(RootUnavailable) as raised:
        command.main(["--output", os.fspath(path)])
    assert (raised.value.exit_code, path.read_text()) == (69, UNREAD)


def test_another_user_is_told_to_become_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(TwitchError, match="sudo puppet-twitch metrics") as raised:
        command.main([])
    assert raised.value.exit_code == 77


def test_invalid_option() -> None:
    with pytest.raises(UsageError, match="see puppet-twitch metrics --help"):
        command.main(["--out", "x"])
