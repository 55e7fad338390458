"""Packets: what is sent is what is understood, and nothing that Puppet would not accept is."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch import messages
from twitch.errors import PacketError
from twitch.messages import Answer, Run, Status

RUN = {"ask": "run", "caller": "anonymous", "client": "192.0.2.7"}
ID = "0123456789abcdef0123456789abcdef"


def packet(fields: object) -> bytes:
    return json.dumps(fields).encode()


# ---- there and back


texts = st.text(max_size=50)
runs = st.builds(
    Run,
    caller=st.from_regex(messages.CALLER, fullmatch=True),
    client=st.sampled_from(["192.0.2.7", "2001:db8::7", "::1"]),
    named=st.booleans(),
    noop=st.booleans(),
    tags=st.lists(st.from_regex(messages.TAG, fullmatch=True), max_size=50).map(tuple),
    environment=st.none() | st.from_regex(messages.ENVIRONMENT, fullmatch=True),
    queue=st.booleans(),
)
answers = st.builds(
    Answer,
    kind=st.sampled_from(sorted(messages.ANSWERS)),
    run=st.just(ID),
    reason=st.none() | texts,
    retry_after_s=st.none() | st.integers(0, 10),
    status=st.none() | st.dictionaries(texts, texts, max_size=3),
)


@given(question=runs | st.just(Status()))
def test_a_question_arrives_as_it_was_sent(question: Run | Status) -> None:
    assert messages.decode_question(messages.encode(question)) == question


@given(answer=answers)
def test_an_answer_arrives_as_it_was_sent(answer: Answer) -> None:
    assert messages.decode_answer(messages.encode(answer)) == answer


def test_the_largest_question_fits() -> None:
    caller = " ".join(["c" * 256] * 8)
    tags = tuple("t" * 100 for _ in range(50))
    largest = Run(caller, "f" * 45, noop=True, tags=tags, environment="e" * 64, queue=True)
    assert messages.decode_question(messages.encode(largest)) == largest


# ---- what is refused


REFUSED: dict[str, tuple[object, str]] = {
    "nothing": (b"", "JSON"),
    "no-json": (b"run", "JSON"),
    "not-utf-8": (b'{"ask": "\xff"}', "JSON"),
    "nested-too-deep": (b"[" * 10000, "JSON"),
    "key-twice": (b'{"ask": "status", "ask": "run"}', "twice"),
    "too-long": (packet(RUN) + b" " * messages.MAX_PACKET_BYTES, "longer than"),
    "a-list": ([], "object"),
    "a-text": ("run", "object"),
    "ask-missing": ({}, "'ask'"),
    "ask-unknown": ({"ask": "reboot"}, "'ask'"),
    "ask-a-list": ({"ask": ["run"]}, "'ask'"),
    "status-with-more": ({"ask": "status", "noop": True}, "noop"),
    "unknown-key": ({**RUN, "server": "evil.example.com"}, "server"),
    "unknown-key-with-newline": ({**RUN, "a\nb": 1}, r"a\\nb"),
    "caller-missing": ({"ask": "run", "client": "::1"}, "'caller'"),
    "caller-empty": ({**RUN, "caller": ""}, "'caller'"),
    "caller-newline": ({**RUN, "caller": "a\nTWITCH_CALLER=b"}, "'caller'"),
    "caller-final-newline": ({**RUN, "caller": "a\n"}, "'caller'"),
    "caller-non-ascii": ({**RUN, "caller": "é"}, "'caller'"),
    "caller-too-long": ({**RUN, "caller": "a" * 257}, "'caller'"),
    "client-missing": ({"ask": "run", "caller": "a"}, "'client'"),
    "client-a-name": ({**RUN, "client": "host.example.com"}, "'client'"),
    "client-final-newline": ({**RUN, "client": "::1\n"}, "'client'"),
    "noop-a-number": ({**RUN, "noop": 1}, "'noop'"),
    "noop-a-text": ({**RUN, "noop": "true"}, "'noop'"),
    "named-a-number": ({**RUN, "named": 1}, "'named'"),
    "noop-null": ({**RUN, "noop": None}, "'noop'"),
    "queue-a-number": ({**RUN, "queue": 0}, "'queue'"),
    "tags-a-text": ({**RUN, "tags": "a"}, "'tags'"),
    "tags-of-numbers": ({**RUN, "tags": [1]}, "'tags'"),
    "tags-too-many": ({**RUN, "tags": ["a"] * 51}, "'tags'"),
    "tag-empty": ({**RUN, "tags": [""]}, "'tags'"),
    "tag-too-long": ({**RUN, "tags": ["a" * 101]}, "'tags'"),
    "tag-an-option": ({**RUN, "tags": ["-x"]}, "'tags'"),
    "tag-a-long-option": ({**RUN, "tags": ["--server=evil.example.com"]}, "'tags'"),
    "tag-with-comma": ({**RUN, "tags": ["a,b"]}, "'tags'"),
    "tag-with-space": ({**RUN, "tags": ["a b"]}, "'tags'"),
    "tag-with-tab": ({**RUN, "tags": ["a\tb"]}, "'tags'"),
    "tag-with-newline": ({**RUN, "tags": ["a\n"]}, "'tags'"),
    "tag-with-nul": ({**RUN, "tags": ["a\0"]}, "'tags'"),
    "tag-non-ascii": ({**RUN, "tags": ["é"]}, "'tags'"),
    "tag-begins-with-a-dot": ({**RUN, "tags": [".a"]}, "'tags'"),
    "environment-an-option": ({**RUN, "environment": "--noop"}, "'environment'"),
    "environment-a-path": ({**RUN, "environment": "../etc"}, "'environment'"),
    "environment-empty": ({**RUN, "environment": ""}, "'environment'"),
    "environment-final-newline": ({**RUN, "environment": "a\n"}, "'environment'"),
    "environment-nul": ({**RUN, "environment": "a\0"}, "'environment'"),
    "environment-non-ascii-word": ({**RUN, "environment": "é"}, "'environment'"),
    "environment-too-long": ({**RUN, "environment": "a" * 65}, "'environment'"),
    "environment-a-list": ({**RUN, "environment": ["a"]}, "'environment'"),
}


@pytest.mark.parametrize(("sent", "named"), REFUSED.values(), ids=REFUSED)
def test_is_refused_by_name(sent: object, named: str) -> None:
    with pytest.raises(PacketError, match=named) as caught:
        messages.decode_question(sent if isinstance(sent, bytes) else packet(sent))
    assert "\n" not in str(caught.value)


REFUSED_ANSWERS: dict[str, object] = {
    "empty": {},
    "kind-unknown": {"kind": "perhaps"},
    "kind-a-list": {"kind": ["busy"]},
    "kind-null": {"kind": None},
    "started-without-a-run": {"kind": "started"},
    "queued-with-another-id": {"kind": "queued", "run": "1"},
    "run-with-a-newline": {"kind": "started", "run": ID + "\n"},
    "unknown-key": {"kind": "busy", "more": 1},
    "a-list": [],
}


@pytest.mark.parametrize("sent", REFUSED_ANSWERS.values(), ids=REFUSED_ANSWERS)
def test_what_is_no_answer_is_refused(sent: object) -> None:
    with pytest.raises(PacketError):
        messages.decode_answer(packet(sent))


# ---- anything


leaves: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = leaves | st.lists(leaves, max_size=3) | st.dictionaries(texts, leaves, max_size=2)
keys = st.sampled_from(["ask", *Run._fields, *Answer._fields]) | texts
objects = st.dictionaries(keys, values | st.sampled_from(["run", "status", "busy", ID]), max_size=8)
packets = st.binary(max_size=100) | objects.map(packet)


@given(sent=packets)
def test_any_packet_is_a_question_or_refused(sent: bytes) -> None:
    try:
        question = messages.decode_question(sent)
    except PacketError:
        return
    if isinstance(question, Run):
        assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_:.-]*", tag) for tag in question.tags)
        assert question.environment is None or re.fullmatch(r"\w{1,64}", question.environment)


@given(sent=packets)
def test_any_packet_is_an_answer_or_refused(sent: bytes) -> None:
    try:
        answer: Any = messages.decode_answer(sent)
    except PacketError:
        return
    assert answer.kind in messages.ANSWERS
