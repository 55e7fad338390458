"""The first error in Puppet's structured log, on one line, whatever else the log contains."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Optional

import pytest

from twitch.root.report import MAX_ERROR_CHARS, first_error


def line(level: str, message: object) -> str:
    return json.dumps({"level": level, "message": message, "source": "Puppet"}, separators=(",", ":"))


LOGS: dict[str, tuple[list[str], Optional[str]]] = {
    "none": ([line("notice", "a"), line("warning", "b")], None),
    "the-first": ([line("notice", "a"), line("err", "b"), line("err", "c")], "b"),
    "critical": ([line("crit", "a")], "a"),
    "alert": ([line("alert", "a")], "a"),
    "emergency": ([line("emerg", "a")], "a"),
    "the-word-in-a-text": ([line("notice", 'level "err"'), line("err", "b")], "b"),
    "lines": ([line("err", "a\n  b\tc")], "a b c"),
    "long": ([line("err", "x" * 2000)], "x" * MAX_ERROR_CHARS),
    "cut-short": (['{"level":"err","message":"a', line("err", "b")], "b"),
    "no-object": (['["err"]', '"err"', line("err", "b")], "b"),
    "no-message": (['{"level":"err"}'], ""),
    "no-text": ([line("err", ["a"])], "['a']"),
}


@pytest.mark.parametrize(("lines", "error"), LOGS.values(), ids=LOGS)
def test_first_error_of_the_log(tmp_path: Path, lines: list[str], error: Optional[str]) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(lines))
    assert first_error(os.fspath(log)) == error


def test_missing_log_has_no_error(tmp_path: Path) -> None:
    assert first_error(os.fspath(tmp_path / "missing")) is None


def test_first_error_is_found_after_bytes_that_are_not_utf_8(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"\xff\xfe\n" + line("err", "b").encode())
    assert first_error(os.fspath(log)) == "b"
