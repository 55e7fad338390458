"""Any bytes at the port become an answer with one line of text, or `NotReached`, and no other error."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import hypothesis
from hypothesis import strategies as some

from twitch import views
from twitch.fields import FieldError, Fields
from twitch.fleet.node import reading
from twitch.fleet.node.answers import NotReached
from twitch.fleet.node.connection import Response


def encode(value: object) -> bytes:
    return json.dumps(value).encode()


RUN, TIME = "1" * 32, "2026-01-22T09:05:00Z"
KEYS = sorted(
    {*views.RUN, *views.STATUS, *views.DISABLED, "message", "detail", "property", "status", "outcome", "at"}
)
LEAVES = some.one_of(
    some.none(), some.booleans(), some.integers(), some.floats(), some.text(max_size=9),
    some.sampled_from([RUN, TIME, "2026-02-31T09:05:00Z", "not_used", "\x1b[2J", "a\nb"]),
)  # fmt: skip
VALUES = some.recursive(
    LEAVES,
    lambda inner: (
        some.lists(inner, max_size=3) | some.dictionaries(some.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=6,
)
# Small, because hypothesis refuses values that take too much to make (data_too_large; seen with 12 and 12).
OBJECTS = some.dictionaries(some.sampled_from(KEYS), VALUES, max_size=6)
BODIES = some.one_of(some.binary(max_size=40), VALUES.map(encode))
HEADERS = some.fixed_dictionaries(
    {
        "Content-Type": some.sampled_from(
            ["application/json", "application/problem+json", "text/plain", "", "x;"]
        )
    },
    optional={
        "X-Content-Type-Options": some.sampled_from(["nosniff", ""]),
        "Puppet-Run": some.sampled_from([RUN, "x", ""]),
        "Puppet-Verdict": some.text(max_size=9),
        "Retry-After": some.text(max_size=9) | some.sampled_from(["7", "٣", "1e3", "-1", "9" * 20]),
        "Date": some.text(max_size=9)
        | some.sampled_from(["Thu, 26 Nov 2026 11:00:00 GMT", "0", "1 Jan 1 1:1"]),
    },
)
# Making a value takes longer than reading it.
FEW = hypothesis.settings(max_examples=25)
STATUSES = some.sampled_from([200, 202, 302, 401, 404, 500, 503])
GOOD = {"message": "x", "run": RUN, "state": "finished", "asked": TIME}


@FEW
@hypothesis.given(
    STATUSES, HEADERS, BODIES | OBJECTS.map(lambda more: encode({**GOOD, "detail": "x", **more}))
)
def test_any_answer_is_understood_or_foreign(status: int, headers: dict[str, str], body: bytes) -> None:
    response = Response(status, headers, body)
    with contextlib.suppress(NotReached):
        answer = reading.answer_of(response, reading.fields_of(response))
        assert answer.status == status
        shown = [answer.message, answer.verdict or "", (answer.record and answer.record.error) or ""]
        assert not any(character in text for text in shown for character in "\n\x1b")


@FEW
@hypothesis.given(VALUES)
def test_any_status_is_understood_or_not(value: Any) -> None:
    with contextlib.suppress(FieldError):
        reading.node_status(Fields(value))


@FEW
@hypothesis.given(BODIES)
def test_any_line_of_a_log_is_understood_or_not(body: bytes) -> None:
    with contextlib.suppress(FieldError):
        reading.log_line(body)
