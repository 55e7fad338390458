"""Everything in corpus/, and what hypothesis makes of it: an answer that we chose, and never another error.

A file that was once an attack, or might be one, stays here. Each kind has its reader; what a reader
lets through must be as harmless as if we had written it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twitch import access, config, messages, tokens
from twitch.access import Credentials
from twitch.config import Config
from twitch.errors import ConfigError, HTTPError, PacketError
from twitch.tokens import Token

CORPUS = Path(__file__).parent / "corpus"
EXAMPLES = 300  # of each kind

SECRET = Token("deploy", "0" * 64, None)  # nobody knows what has this digest


def authorization(data: bytes, path: Path) -> bool:
    shown = Credentials(data.decode("latin-1"), None, True)  # as a header arrives
    try:
        access.identify(Config(), (SECRET,), "192.0.2.7", shown)
    except HTTPError as error:
        assert error.status == 401
        return False
    return True


def token_file(data: bytes, path: Path) -> bool:
    path.write_bytes(data)
    try:
        known = tokens.load(os.fspath(path))
    except ConfigError as error:
        assert_one_line(error)
        return False
    assert all(tokens.NAME.fullmatch(token.name) and tokens.DIGEST.fullmatch(token.digest) for token in known)
    return True


def configuration(data: bytes, path: Path) -> bool:
    path.write_bytes(data)
    try:
        read = config.load(os.fspath(path))
    except ConfigError as error:
        assert_one_line(error)
        return False
    for caller, grants in read.grants.items():
        assert caller == "anonymous" or config.CALLER.fullmatch(caller)
        assert all(word in config.GRANT_WORDS or config.ENVIRONMENT_GRANT.fullmatch(word) for word in grants)
    return True


def packet(data: bytes, path: Path) -> bool:
    try:
        question = messages.decode_question(data)
    except PacketError:
        return False
    if isinstance(question, messages.Run):
        for word in (*question.tags, *filter(None, [question.environment])):
            assert word.isascii()
            assert word.isprintable()
            assert not word.startswith("-")
        assert isinstance(question.noop, bool)
        assert messages.decode_question(messages.encode(question)) == question
    return True


def assert_one_line(error: ConfigError) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) > 20


READERS: dict[str, Callable[[bytes, Path], bool]] = {
    "authorization": authorization,
    "tokens": token_file,
    "configuration": configuration,
    "packets": packet,
}
# Of the corpus, only these are in order; whatever else is let through is a hole.
GOOD = {
    *("tokens/no-newline", "tokens/crlf", "tokens/leap", "tokens/year-9999", "tokens/same-twice"),
    *("tokens/form-feed", "tokens/anonymous"),
    *("configuration/continued", "configuration/star-alone", "configuration/utf8-space"),
}
FILES = [f"{path.parent.name}/{path.name}" for path in sorted(CORPUS.glob("*/*"))]


@pytest.mark.parametrize("name", FILES)
def test_what_is_kept_is_judged_as_before(name: str, tmp_path: Path) -> None:
    reader = READERS[name.partition("/")[0]]
    assert reader((CORPUS / name).read_bytes(), tmp_path / "file") is (name in GOOD)


@pytest.mark.parametrize("kind", READERS)
def test_whatever_becomes_of_it_is_judged(kind: str, tmp_path: Path) -> None:
    seeds = [path.read_bytes()[:2000] for path in sorted((CORPUS / kind).iterdir())]
    seed = st.sampled_from(seeds)
    cut = st.tuples(seed, st.integers(0, 2000)).map(lambda both: both[0][: both[1]])
    joined = st.tuples(cut, st.binary(max_size=8), cut).map(b"".join)

    @settings(max_examples=EXAMPLES, derandomize=bool(os.environ.get("CI")))
    @given(data=joined | st.binary(max_size=200))
    def judge(data: bytes) -> None:
        READERS[kind](data, tmp_path / "file")

    judge()
