"""Parameters: each arrives checked, and an unknown, repeated or invalid one is named."""

from __future__ import annotations

from typing import Any, Callable
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch.listener.api import parameters
from twitch.listener.api.parameters import FORM, JSON, Parameters, Trigger
from twitch.listener.exchange import HTTPError, Request

ALLOWED = ("async", "wait", "noop", "tags", "environment", "max_age")


def read(query: str = "", *, body: bytes = b"", kind: str = "", method: str = "POST") -> Parameters:
    headers = {"content-type": kind} if kind else {}
    return parameters.read(Request(method, "/", headers, body, "::1"), query, ALLOWED)


def refusal(call: Callable[[], object]) -> HTTPError:
    with pytest.raises(HTTPError) as caught:
        call()
    return caught.value


# ---- query, form and JSON


SAME = {
    "query": {"query": "noop=true&tags=a,b&environment=c&wait=5"},
    "query-escaped": {"query": "n%6fop=true&tags=a%2Cb&environment=%63&wait=5"},
    "form": {"body": b"noop=true&tags=a,b&environment=c&wait=5", "kind": FORM},
    "form-charset": {"body": b"noop&tags=a,b&environment=c&wait=5", "kind": f"{FORM.upper()} ; charset=x"},
    "query-and-form": {"query": "noop=true&tags=a,b", "body": b"environment=c&wait=5", "kind": FORM},
    "json": {"body": b'{"noop": true, "tags": ["a", "b"], "environment": "c", "wait": 5}', "kind": JSON},
    "json-of-texts": {"body": b'{"noop": "", "tags": "a,b", "environment": "c", "wait": "5"}', "kind": JSON},
}  # fmt: skip


@pytest.mark.parametrize("request_", SAME.values(), ids=SAME)
def test_query_form_and_json_mean_the_same(request_: dict[str, Any]) -> None:
    values = read(**request_)
    assert (values.flag("noop"), values.tags(), values.environment()) == (True, ("a", "b"), "c")
    assert values.wait() == 5


def test_missing_parameters_have_defaults() -> None:
    values = read()
    assert (values.flag("noop"), values.flag("async", default=True)) == (False, True)
    assert (values.tags(), values.environment()) == ((), None)
    assert (values.wait(), values.duration("max_age")) == (None, None)


# ---- refused when the request is read


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "unknown": ({"query": "nop=true"}, 400, "Unknown parameter 'nop'; known here: async, wait"),
    "unknown-case": ({"query": "Noop=true"}, 400, "Unknown parameter 'Noop'"),
    "unknown-empty": ({"query": "=true"}, 400, "Unknown parameter ''"),
    "unknown-escaped": ({"query": "a%0Ab=1"}, 400, r"Unknown parameter 'a\nb'"),
    "unknown-long": ({"query": "x" * 1000}, 400, f"Unknown parameter '{'x' * 40}';"),
    "unknown-in-form": ({"body": b"server=x", "kind": FORM}, 400, "Unknown parameter 'server'"),
    "unknown-in-json": ({"body": b'{"server": "x"}', "kind": JSON}, 400, "Unknown parameter 'server'"),
    "twice": ({"query": "noop=false&noop=true"}, 400, "Parameter noop is given more than once"),
    "twice-alike": ({"query": "noop&noop"}, 400, "Parameter noop is given more than once"),
    "twice-escaped": ({"query": "noop=true&%6eoop=false"}, 400, "Parameter noop is given more than once"),
    "twice-in-form": ({"body": b"tags=a&tags=b", "kind": FORM}, 400, "tags is given more than once"),
    "twice-in-json": ({"body": b'{"noop": 1, "noop": 2}', "kind": JSON}, 400, "noop is given more than once"),
    "in-query-and-body": ({"query": "noop", "body": b"noop", "kind": FORM}, 400, "noop is given more than"),
    "query-not-utf-8": ({"query": "tags=%ff"}, 400, "The query is not name=value"),
    "query-too-many": ({"query": "&".join("abcdefghijklmnopqrstu")}, 400, "The query is not name=value"),
    "form-not-utf-8": ({"body": b"tags=%ff", "kind": FORM}, 400, "The body is not name=value"),
    "form-not-ascii": ({"body": b"tags=\xff", "kind": FORM}, 400, "The body is not name=value"),
    "json-broken": ({"body": b'{"noop": ', "kind": JSON}, 400, "The body is not JSON in UTF-8"),
    "json-not-utf-8": ({"body": b'{"noop": "\xff"}', "kind": JSON}, 400, "The body is not JSON in UTF-8"),
    "json-too-deep": ({"body": b"[" * 16000, "kind": JSON}, 400, "The body is not JSON in UTF-8"),
    "json-long-number": ({"body": b'{"wait": %s}' % (b"9" * 5000), "kind": JSON}, 400, "not JSON"),
    "json-list": ({"body": b'["noop"]', "kind": JSON}, 400, "The body is not a JSON object"),
    "json-empty-list": ({"body": b"[]", "kind": JSON}, 400, "The body is not a JSON object"),
    "json-list-of-pairs": ({"body": b'[["noop", true]]', "kind": JSON}, 400, "The body is not a JSON object"),
    "json-list-of-objects": ({"body": b'[{"noop": true}]', "kind": JSON}, 400, "not a JSON object"),
    "json-text": ({"body": b'"noop"', "kind": JSON}, 400, "The body is not a JSON object"),
    "json-null": ({"body": b"null", "kind": JSON}, 400, "The body is not a JSON object"),
    "json-value-null": ({"body": b'{"noop": null}', "kind": JSON}, 400, "Parameter noop must be"),
    "json-value-fraction": ({"body": b'{"wait": 1.5}', "kind": JSON}, 400, "Parameter wait must be"),
    "json-value-object": ({"body": b'{"tags": {"a": "b"}}', "kind": JSON}, 400, "Parameter tags must be"),
    "json-value-empty-object": ({"body": b'{"tags": {}}', "kind": JSON}, 400, "Parameter tags must be"),
    "json-value-empty-list": ({"body": b'{"tags": []}', "kind": JSON}, 400, "Parameter tags must be"),
    "json-value-mixed-list": ({"body": b'{"tags": ["a", 1]}', "kind": JSON}, 400, "Parameter tags must be"),
    "json-value-nested-list": ({"body": b'{"tags": [["a"]]}', "kind": JSON}, 400, "Parameter tags must be"),
    "json-odd-name": ({"body": b'{"\\u001b[2J": null}', "kind": JSON}, 400, r"Parameter '\x1b[2J' must be"),
    "body-without-type": ({"body": b"noop=true"}, 415, f"A body must be {FORM} or {JSON}"),
    "body-of-another-type": ({"body": b"noop=true", "kind": "text/plain"}, 415, "A body must be"),
    "body-multipart": ({"body": b"noop", "kind": "multipart/form-data; boundary=x"}, 415, "A body must be"),
    # If the body were ignored, this would be a run without noop.
    "body-of-a-get": ({"body": b"noop=true", "kind": FORM, "method": "GET"}, 400, "POST"),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "status", "text"), REFUSED.values(), ids=REFUSED)
def test_unknown_or_repeated_parameter_is_refused_by_name(
    request_: dict[str, Any], status: int, text: str
) -> None:
    error = refusal(lambda: read(**request_))
    assert error.status == status
    assert text in str(error)


def test_endpoint_without_parameters_refuses_each_one() -> None:
    error = refusal(lambda: parameters.read(Request("GET", "/", {}, b"", "::1"), "a", ()))
    assert str(error) == "Unknown parameter 'a'; none is known here"


# ---- refused when the value is read


FLAG, WAIT, DURATION = "flag", "wait", "duration"
INVALID = {
    FLAG: ("1", "yes", "TRUE", "true ", "true\n", "tru"),
    WAIT: ("", "-1", "+1", "1.5", "1e2", "\u0661", " 1", "1\n", "86401", "25h", "2d", "100000", "0x1"),
    DURATION: ("", "-1", "1.5h", "h", "2 h", "2H", "1w", "1h30m", "\u0662h", "2h\n", "1234567890"),
    "tags": ("", ",", "a,", ",a", "a,,b", "a b", "-x", "--server=x", "a\n", "a\0", "\u00e9", "x" * 101),
    "environment": ("", "-x", "a b", "a-b", "a.b", "../a", "a\n", "a\0", "\u00e9", "x" * 65),
}  # fmt: skip
VALID: dict[str, dict[str, Any]] = {
    FLAG: {"": True, "true": True, "false": False},
    WAIT: {"0": 0, "1": 1, "00010": 10, "86400": 86400, "60s": 60, "5m": 300, "24h": 86400, "1d": 86400},
    DURATION: {"90": 90, "90s": 90, "30m": 1800, "2h": 7200, "7d": 604800, "0": 0},
    "tags": {"a": ("a",), "a::b,_c,0.d-e:f": ("a::b", "_c", "0.d-e:f"), ",".join("a" * 50): ("a",) * 50},
    "environment": {"a": "a", "Feature_42": "Feature_42", "x" * 64: "x" * 64},
}
NAMES = {FLAG: "noop", DURATION: "max_age"}


def get(getter: str, value: str) -> object:
    name = NAMES.get(getter)
    values = Parameters({name or getter: value})
    return getattr(values, getter)(name) if name else getattr(values, getter)()


@pytest.mark.parametrize(
    ("getter", "value"), [(getter, value) for getter, values in INVALID.items() for value in values]
)
def test_invalid_value_is_refused_with_the_name(getter: str, value: str) -> None:
    error = refusal(lambda: get(getter, value))
    assert error.status == 400
    assert str(error).startswith(f"Parameter {NAMES.get(getter, getter)} must be ")


@pytest.mark.parametrize(
    ("getter", "value", "expected"),
    [(getter, *item) for getter, values in VALID.items() for item in values.items()],
)
def test_valid_value_is_returned(getter: str, value: str, expected: object) -> None:
    assert get(getter, value) == expected


def test_refusal_of_a_duration_says_how_to_write_it() -> None:
    form = "must be a time such as 90s, 30m, 2h or 7d"
    assert str(refusal(lambda: get(DURATION, "1w"))) == f"Parameter max_age {form}"
    assert str(refusal(lambda: get(WAIT, "1w"))) == f"Parameter wait {form}, at most 1d"


def test_more_than_fifty_tags_are_refused() -> None:
    assert "up to 50 tags" in str(refusal(Parameters({"tags": ",".join("a" * 51)}).tags))


# ---- any input


@given(
    pairs=st.lists(
        st.tuples(st.sampled_from(ALLOWED), st.text(max_size=8)), max_size=4, unique_by=lambda pair: pair[0]
    )
)
def test_escaped_values_are_unescaped(pairs: list[tuple[str, str]]) -> None:
    query = urlencode(pairs)
    assert read(query)._texts == dict(pairs) == read(body=query.encode(), kind=FORM)._texts


@given(body=st.binary(max_size=60), kind=st.sampled_from([FORM, JSON, "text/plain", ""]))
def test_any_body_is_read_or_refused(body: bytes, kind: str) -> None:
    try:
        read(body=body, kind=kind)
    except HTTPError as error:
        assert error.status in (400, 415)


# ---- all parameters of a trigger


PLAIN = Trigger(wait_s=0, queue=False, noop=False, tags=(), environment=None, label=None, follow=False)
TRIGGERS = {
    "none": ("", PLAIN),
    "async": ("async", PLAIN),
    "async-false": ("async=false", PLAIN._replace(wait_s=86400)),
    "wait": ("wait=5", PLAIN._replace(wait_s=5)),
    "wait-and-async": ("wait=5&async=true", PLAIN._replace(wait_s=5)),
    "wait-0": ("wait=0&async=false", PLAIN),
    "options": ("queue&noop&tags=a,b&environment=c", Trigger(0, True, True, ("a", "b"), "c", None, False)),
    "label": ("label=CHG-123", PLAIN._replace(label="CHG-123")),
    "follow": ("follow", PLAIN._replace(follow=True)),
}


@pytest.mark.parametrize(("query", "expected"), TRIGGERS.values(), ids=TRIGGERS)
def test_parameters_of_a_trigger(query: str, expected: Trigger) -> None:
    allowed = ("async", "wait", "queue", "noop", "tags", "environment", "label", "follow")
    values = parameters.read(Request("GET", "/", {}, b"", "::1"), query, allowed)
    assert parameters.trigger(values) == expected
