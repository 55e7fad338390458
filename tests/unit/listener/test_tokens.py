"""Tokens: the file, the name of a token, its expiry, and that no error repeats a word of the file."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
from pathlib import Path
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch.errors import ConfigError, UsageError
from twitch.listener import tokens
from twitch.listener.tokens import Token

DIGEST = hashlib.sha256(b"secret").hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def load(path: Path, text: str) -> tuple[Token, ...]:
    path.write_text(text, encoding="utf-8")
    return tokens.load(os.fspath(path))


def test_valid_lines(path: Path) -> None:
    text = f"# ours\n\n deploy {DIGEST}\ndeploy\t{OTHER} 1970-01-01\r\n  # end"
    assert load(path, text) == (Token("deploy", DIGEST, None), Token("deploy", OTHER, 86400))


def test_missing_file_has_no_tokens(path: Path) -> None:
    assert tokens.load(os.fspath(path)) == ()


INVALID = {
    "a-word": ("deploy", "must be NAME SHA256 [YYYY-MM-DD]"),
    "four-words": (f"deploy {DIGEST} 2026-01-01 x", "must be NAME SHA256 [YYYY-MM-DD]"),
    "token-in-clear": ("deploy c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U", "must be a SHA-256"),
    "half-a-digest": (f"deploy {DIGEST[:40]}", "must be a SHA-256"),
    "upper-case": (f"deploy {DIGEST.upper()}", "must be a SHA-256"),
    "order": (f"{DIGEST} deploy", "the second word must be a SHA-256"),
    "star": (f"* {DIGEST}", "the name must be"),
    "hyphen-first": (f"-x {DIGEST}", "the name must be"),
    "long-name": (f"{'x' * 65} {DIGEST}", "the name must be"),
    "date-form": (f"deploy {DIGEST} 26-01-01", "must be a date"),
    "no-such-day": (f"deploy {DIGEST} 2026-02-30", "must be a date"),
    "other-digits": (f"deploy {DIGEST} ٢٠٢٦-01-01", "not ASCII"),
    "nul": (f"dep\0loy {DIGEST}", "the name must be"),
}


@pytest.mark.parametrize(("line", "error"), INVALID.values(), ids=INVALID)
def test_invalid_line_is_named_and_not_repeated(path: Path, line: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(path, f"# first\n{line}\n")
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert error in text
    assert "line 2: " in text or "not ASCII at byte" in text
    # The line may be a token that was pasted there by mistake.
    assert not any(word in text for word in line.split() if len(word) > 20)


@given(content=st.binary(max_size=300))
def test_any_bytes_are_tokens_or_an_error_of_one_line(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    try:
        loaded = tokens.load(os.fspath(path))
    except ConfigError as error:
        assert "\n" not in str(error)
        return
    for token in loaded:
        assert re.fullmatch(tokens.NAME, token.name)
        assert re.fullmatch(tokens.DIGEST, token.digest)


# ---- the name of a token


def test_token_has_the_name_of_its_line() -> None:
    both = (Token("a", DIGEST, None), Token("b", OTHER, None))
    assert tokens.holder(both, "secret") == "a"
    assert tokens.holder(both, "other") == "b"


@pytest.mark.parametrize(
    "presented", ["", "Secret", "secret ", "secre", DIGEST, "secret\0", "sécret", "\udcff"]
)
def test_wrong_token_has_no_name(presented: str) -> None:
    assert tokens.holder((Token("a", DIGEST, None),), presented) is None


def test_token_is_good_to_the_end_of_its_day_in_utc(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy = load(path, f"deploy {DIGEST} 2026-03-01")
    midnight = 1772409600  # 2026-03-02T00:00:00Z, by date(1)
    for now, holder in ((midnight - 1, "deploy"), (midnight, None), (midnight + 1, None)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert tokens.holder(deploy, "secret") == holder


def test_expired_line_does_not_hide_a_valid_one() -> None:
    assert tokens.holder((Token("a", DIGEST, 1.0), Token("a", DIGEST, None)), "secret") == "a"
    assert tokens.holder((Token("a", DIGEST, None), Token("a", DIGEST, 1.0)), "secret") == "a"


def test_every_line_is_compared_and_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    real = hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append(one)
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    tokens.holder((Token("a", DIGEST, None), Token("b", OTHER, None), Token("c", OTHER, 1.0)), "secret")
    assert compared == [DIGEST, OTHER, OTHER]


# ---- a new token


def test_new_token_matches_its_line(path: Path) -> None:
    token, line = tokens.new("deploy", "2999-12-31")
    assert token not in line
    assert tokens.holder(load(path, line), token) == "deploy"
    assert len({tokens.new("deploy")[0] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("name", "expires", "error"),
    [
        pytest.param("", None, "is not a valid token name", id="no-name"),
        pytest.param("a b", None, "is not a valid token name", id="space"),
        pytest.param("--help", None, "is not a valid token name", id="option"),
        pytest.param("a*", None, "is not a valid token name", id="star"),
        pytest.param("a", "tomorrow", "^--expires: 'tomorrow' is not a day; write YYYY-MM-DD", id="no-date"),
        pytest.param("a", "", "^--expires: '' is not a day; write YYYY-MM-DD", id="empty"),
        pytest.param("a", "2027-02-30", "^--expires: '2027-02-30' is not a day", id="no-such-day"),
        pytest.param("a", "2020-01-01", "2020-01-01 has passed", id="passed"),
    ],
)
def test_new_token_with_an_invalid_name_or_date_is_refused(
    name: str, expires: Optional[str], error: str
) -> None:
    with pytest.raises(UsageError, match=error):
        tokens.new(name, expires)


# ---- the command

USAGE = "puppet-twitch token [-h] [--expires YYYY-MM-DD] NAME"


@pytest.mark.parametrize(
    "arguments",
    [
        ["deploy"],
        ["deploy", "--expires", "2999-12-31"],
        ["--expires", "2999-12-31", "deploy"],
        ["--expires=2999-12-31", "deploy"],
    ],
)
def test_token_command_prints_a_token_and_its_line(
    arguments: list[str], path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tokens.main(arguments) == 0
    printed = capsys.readouterr()
    first, token, second, line = printed.out.split("\n\n")
    assert first == "The token, for its holder; it is not shown again:"
    assert second == f"The line for {tokens.TOKENS_FILE} (root:twitch, mode 640) on each node:"
    assert (token[:2], line[:2], line[-1], printed.err) == ("  ", "  ", "\n", "")
    assert tokens.holder(load(path, line), token.strip()) == "deploy"
    assert line.endswith(" 2999-12-31\n") is (len(arguments) > 1)


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_token_command_help(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        tokens.main([option])
    assert caught.value.code == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"usage: {USAGE}\n")
    assert printed.err == ""


WRONG = {
    "no-name": ([], "the following arguments are required: NAME"),
    "two-names": (["a", "b"], "unrecognized arguments: b"),
    "unknown-option": (["a", "--expire", "2999-12-31"], "unrecognized arguments: --expire 2999-12-31"),
    "no-date": (["a", "--expires"], "argument --expires: expected one argument"),
    "line-break": (["a", "b\nc"], "unrecognized arguments: b\\nc"),
}


@pytest.mark.parametrize(("arguments", "error"), WRONG.values(), ids=WRONG)
def test_token_command_with_wrong_arguments(
    arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        tokens.main(arguments)
    assert str(caught.value) == f"{error}; see puppet-twitch token --help"
    assert caught.value.exit_code == 64
    assert capsys.readouterr() == ("", "")


def test_token_command_with_an_invalid_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as caught:
        tokens.main(["a b"])
    assert str(caught.value) == f"'a b' is not a valid token name: {tokens.NAME_FORM}"
    assert capsys.readouterr() == ("", "")
