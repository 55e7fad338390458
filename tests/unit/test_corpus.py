"""The files in corpus/, and hypothesis' variations of them: accepted or refused, and never another error.

A file that was an attack once, or may be one, is kept in the corpus for good. Each kind of file has a reader
below; whatever a reader accepts must be as harmless as if we had written it.
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
from twitch.errors import ConfigError, PacketError
from twitch.listener import access, tokens
from twitch.listener.access import Credentials
from twitch.listener.api import parameters
from twitch.listener.api.routes import TRIGGER
from twitch.listener.exchange import Exchange, HTTPError, Request
from twitch.listener.tokens import Token

CORPUS = Path(__file__).parent / "corpus"
EXAMPLES = 300  # of each kind

SECRET = Token("deploy", "0" * 64, None)  # no known token has this digest


def authorization(data: bytes, path: Path) -> bool:
    credentials = Credentials(data.decode("latin-1"), None, True)  # as a header arrives
    try:
        access.identify(Config(), (SECRET,), "192.0.2.7", credentials)
    except HTTPError as error:
        assert error.status == 401
        return False
    return True


def token_file(data: bytes, path: Path) -> bool:
    path.write_bytes(data)
    try:
        loaded = tokens.load(os.fspath(path))
    except ConfigError as error:
        assert_one_line(error)
        return False
    for token in loaded:
        assert tokens.NAME.fullmatch(token.name)
        assert tokens.DIGEST.fullmatch(token.digest)
    return True


def configuration(data: bytes, path: Path) -> bool:
    path.write_bytes(data)
    try:
        loaded = config.load(os.fspath(path))
    except ConfigError as error:
        assert_one_line(error)
        return False
    plain = {name for name in config.GRANTS if name != "environment"}  # which needs a pattern
    for caller, grants in loaded.grants.items():
        assert caller == "anonymous" or config.CALLER.fullmatch(caller)
        assert all(word in plain or config.ENVIRONMENT_GRANT.fullmatch(word) for word in grants)
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
        trigger = parameters.trigger(parameters.read(request, "", TRIGGER))
    except HTTPError as error:
        assert error.status == 400
        assert str(error).isprintable()
        return False
    assert isinstance(trigger.noop, bool)
    assert isinstance(trigger.queue, bool)
    assert 0 <= trigger.wait_s <= parameters.MAX_WAIT_S
    run = messages.Run("anonymous", "192.0.2.7", tags=trigger.tags, environment=trigger.environment)
    assert packet(messages.encode(run), path)  # which checks the words
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
# Only these files of the corpus are valid; a reader that accepts another one has a hole.
VALID = {
    *("tokens/no-newline", "tokens/crlf", "tokens/leap", "tokens/year-9999", "tokens/same-twice"),
    *("tokens/form-feed", "tokens/anonymous"),
    *("configuration/continued", "configuration/star-alone", "configuration/utf8-space"),
    *("headers/plain", "headers/ipv6-host", "headers/latin1-value", "headers/name-of-underscores"),
    *("headers/body", "parameters/form", "parameters/json", "parameters/bare"),
}
FILES = [f"{path.parent.name}/{path.name}" for path in sorted(CORPUS.glob("*/*"))]


@pytest.mark.parametrize("name", FILES)
def test_corpus_file_is_accepted_only_if_it_is_valid(name: str, tmp_path: Path) -> None:
    reader = READERS[name.partition("/")[0]]
    assert reader((CORPUS / name).read_bytes(), tmp_path / "file") is (name in VALID)


@pytest.mark.parametrize("kind", READERS)
def test_variations_of_the_corpus_are_accepted_or_refused(kind: str, tmp_path: Path) -> None:
    contents = [path.read_bytes()[:2000] for path in sorted((CORPUS / kind).iterdir())]
    content = st.sampled_from(contents)
    cut = st.tuples(content, st.integers(0, 2000)).map(lambda pair: pair[0][: pair[1]])
    joined = st.tuples(cut, st.binary(max_size=8), cut).map(b"".join)

    @settings(max_examples=EXAMPLES, derandomize=bool(os.environ.get("CI")))
    @given(data=joined | st.binary(max_size=200))
    def read(data: bytes) -> None:
        READERS[kind](data, tmp_path / "file")

    read()
