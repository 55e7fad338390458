"""Tokens: what may stand in the file, who holds one, until when, and that no text repeats what is there."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from pathlib import Path

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


def test_what_may_stand_there(path: Path) -> None:
    text = f"# ours\n\n deploy {DIGEST}\ndeploy\t{OTHER} 1970-01-01\r\n  # end"
    assert load(path, text) == (Token("deploy", DIGEST, None), Token("deploy", OTHER, 86400))


def test_a_missing_file_holds_none(path: Path) -> None:
    assert tokens.load(os.fspath(path)) == ()


BAD = {
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


@pytest.mark.parametrize(("line", "said"), BAD.values(), ids=BAD)
def test_what_may_not(path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(path, f"# first\n{line}\n")
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert said in text
    assert "line 2: " in text or "not ASCII at byte" in text
    # It may be a token that somebody has pasted there.
    assert not any(word in text for word in line.split() if len(word) > 20)


@given(content=st.binary(max_size=300))
def test_any_bytes_are_tokens_or_one_clear_line(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    try:
        known = tokens.load(os.fspath(path))
    except ConfigError as error:
        assert "\n" not in str(error)
        return
    for token in known:
        assert tokens.NAME.fullmatch(token.name)
        assert tokens.DIGEST.fullmatch(token.digest)


# ---- who holds it


def test_the_holder_is_who_stands_on_the_line() -> None:
    known = (Token("a", DIGEST, None), Token("b", OTHER, None))
    assert tokens.holder(known, "secret") == "a"
    assert tokens.holder(known, "other") == "b"


@pytest.mark.parametrize("shown", ["", "Secret", "secret ", "secre", DIGEST, "secret\0", "sécret", "\udcff"])
def test_anything_else_is_nobody(shown: str) -> None:
    assert tokens.holder((Token("a", DIGEST, None),), shown) is None


def test_a_token_is_good_to_the_end_of_its_day_in_utc(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = load(path, f"deploy {DIGEST} 2026-03-01")
    midnight = 1772409600  # 2026-03-02T00:00:00Z, by date(1)
    for now, holder in ((midnight - 1, "deploy"), (midnight, None), (midnight + 1, None)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert tokens.holder(known, "secret") == holder


def test_an_expired_line_does_not_hide_a_good_one() -> None:
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


# ---- a new one


def test_a_new_token_is_the_one_of_its_line(path: Path) -> None:
    token, line = tokens.new("deploy", "2999-12-31")
    assert token not in line
    assert tokens.holder(load(path, line), token) == "deploy"
    assert len({tokens.new("deploy")[0] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("name", "expires", "said"),
    [
        pytest.param("", None, "is no name for a token", id="no-name"),
        pytest.param("a b", None, "is no name for a token", id="space"),
        pytest.param("--help", None, "is no name for a token", id="option"),
        pytest.param("a*", None, "is no name for a token", id="star"),
        pytest.param("a", "soon", "must be a date", id="no-date"),
        pytest.param("a", "2020-01-01", "2020-01-01 has passed", id="passed"),
    ],
)
def test_no_token_that_could_not_be_used(name: str, expires: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tokens.new(name, expires)
