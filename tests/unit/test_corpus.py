"""Everything in corpus/, and what hypothesis makes of it: an answer that we chose, and never another error.

A file that was once an attack, or might be one, stays here. Each kind has its reader; what a reader
lets through must be as harmless as if we had written it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twitch import config, messages
from twitch.config import Config
from twitch.errors import ConfigError, HTTPError, PacketError
from twitch.listener import access, tokens
from twitch.listener.access import Credentials
from twitch.listener.api import parameters
from twitch.listener.api.routes import TRIGGER
from twitch.listener.exchange import Exchange, Request
from twitch.listener.tokens import Token

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


def headers(data: bytes, path: Path) -> bool:
    exchange = Exchange("192.0.2.7", lambda: None)
    exchange.receive(b"POST /puppet/twitch HTTP/1.1\r\n" + data)
    try:
        request = exchange.next_request()
    except HTTPError as error:
        assert error.status in (400, 411, 413, 431)
        return False
    if request is None:
        return False
    assert "transfer-encoding" not in request.headers
    assert len(request.body) == int(request.headers.get("content-length", "0"))
    for name, value in request.headers.items():
        assert re.fullmatch("[a-z0-9!#$%&'*+.^_`|~-]+", name)
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value)
    return True


def parameter(data: bytes, path: Path) -> bool:
    kind = parameters.JSON if data[:1] in (b"{", b"[") else parameters.FORM
    request = Request("POST", "/puppet/twitch", {"content-type": kind}, data, "192.0.2.7")
    try:
        given = parameters.read(request, "", TRIGGER)
        flags = [given.flag(name) for name in ("async", "noop", "queue")]
        wait_s, tags, environment = given.seconds("wait"), given.tags(), given.environment()
    except HTTPError as error:
        assert error.status == 400
        assert str(error).isprintable()
        return False
    assert all(isinstance(flag, bool) for flag in flags)
    assert wait_s is None or 0 <= wait_s <= parameters.MAX_WAIT_S
    run = messages.Run("anonymous", "192.0.2.7", tags=tags, environment=environment)
    assert packet(messages.encode(run), path)  # which looks at the words
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
    "headers": headers,
    "packets": packet,
    "parameters": parameter,
}
# Of the corpus, only these are in order; whatever else is let through is a hole.
GOOD = {
    *("tokens/no-newline", "tokens/crlf", "tokens/leap", "tokens/year-9999", "tokens/same-twice"),
    *("tokens/form-feed", "tokens/anonymous"),
    *("configuration/continued", "configuration/star-alone", "configuration/utf8-space"),
    *("headers/plain", "headers/ipv6-host", "headers/latin1-value", "headers/name-of-underscores"),
    *("headers/body", "parameters/form", "parameters/json", "parameters/bare"),
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
