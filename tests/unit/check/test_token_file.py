"""The file of tokens: its permissions, and expiry dates."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Optional

import pytest

from twitch.check import files, token_file
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.check.systemd import Account
from twitch.errors import ConfigError
from twitch.listener.tokens import Token

DAY_S = 86400


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the path of a file of tokens, with permissions that are not looked at."""
    path = os.fspath(tmp_path / "tokens")
    monkeypatch.setattr(token_file, "TOKENS_FILE", path)
    permissions = [Finding(FAULT, "permissions")]
    monkeypatch.setattr(
        files, "permissions", lambda path, account, secret: iter(permissions if secret else [])
    )
    return path


def check() -> tuple[list[Finding], Optional[tuple[Token, ...]]]:
    """Return the findings about the file of tokens, and the tokens."""
    generator, findings = token_file.check(Account()), []
    while True:
        try:
            findings.append(next(generator))
        except StopIteration as end:
            return findings, end.value


def token(name: str, expires_in_days: Optional[float] = None) -> Token:
    return Token(name, "0" * 64, None if expires_in_days is None else time.time() + expires_in_days * DAY_S)


def test_without_the_file_there_is_nothing_to_report(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_file, "load_tokens", lambda: ())
    monkeypatch.setattr(files, "permissions", lambda path, account, secret: iter([]))
    assert check() == ([], ())


@pytest.mark.parametrize(
    ("names", "text"),
    [
        pytest.param((), "0 tokens", id="none"),
        pytest.param(("b",), "1 token: b", id="one"),
        pytest.param(("b", "a", "b"), "3 tokens: a, b", id="two-of-one-name"),
    ],
)
def test_tokens_are_counted_and_named(
    path: str, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], text: str
) -> None:
    Path(path).touch()
    tokens = tuple(token(name) for name in names)
    monkeypatch.setattr(token_file, "load_tokens", lambda: tokens)
    assert check() == ([Finding(FAULT, "permissions"), Finding(GOOD, f"{path} has {text}")], tokens)


def test_an_invalid_file_is_a_fault_and_its_permissions_come_first(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> tuple[Token, ...]:
        raise ConfigError("line 1: must be NAME SHA256 [YYYY-MM-DD]")

    monkeypatch.setattr(token_file, "load_tokens", load)
    text, fix = (
        "line 1: must be NAME SHA256 [YYYY-MM-DD]",
        "correct the file; until then the port answers 503",
    )
    assert check() == ([Finding(FAULT, "permissions"), Finding(FAULT, text, fix, by_hand=True)], None)


def test_an_expired_token_is_noted(path: str) -> None:
    (note,) = token_file.expiry((token("a", -1), token("b"), token("c", 15)))
    assert note == Finding(
        NOTE,
        f"{path}: a token named a has expired",
        "replace its line with the line of puppet-twitch token a, or remove its line",
        by_hand=True,
    )


def test_a_token_that_expires_within_two_weeks_is_noted(path: str) -> None:
    (note,) = token_file.expiry((token("a", 13),))
    assert note == Finding(
        NOTE,
        f"{path}: a token named a expires within two weeks",
        "add the line of puppet-twitch token a, hand out the new token, then remove the old line",
        by_hand=True,
    )
