"""The status of a node in a packet: the listener reads the status that root has sent, and no other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch.fields import FieldError, Fields
from twitch.node_status import (
    DISABLED,
    IDLE,
    NODE_STATES,
    PHASES,
    RUNNING,
    Doing,
    LastRun,
    NodeStatus,
    from_json,
)
from twitch.records import VERDICTS

RUN = "1" * 32


def test_an_idle_node_is_only_its_state() -> None:
    assert NodeStatus(IDLE).to_json() == {"state": "idle"}
    assert from_json(Fields({"state": "idle"})) == NodeStatus(IDLE)


def test_an_empty_reason_is_kept() -> None:
    # '' is a disabled agent for which no reason was given; None is an agent that is not disabled.
    assert NodeStatus(DISABLED, reason="").to_json() == {"state": "disabled", "reason": ""}
    assert from_json(Fields({"state": "disabled", "reason": ""})).reason == ""


def test_a_last_run_without_counts_has_none() -> None:
    found = from_json(Fields({"state": "idle", "last": {"verdict": "failed"}})).last
    assert found == LastRun("failed", counts={})


def test_status_of_version_1_0_0_is_read() -> None:
    content = """
        {"state": "running", "run": "11111111111111111111111111111111", "queued": null,
         "since": 1769072699.25, "reason": null, "pid": 4711,
         "last": {"ended": 1769072600, "duration_s": 2.25, "counts": {"changed": 3},
                  "environment": "production", "verdict": "changed", "reason": null,
                  "cached_catalog_status": "not_used", "noop": false, "noop_pending": false}}
    """
    last = LastRun(
        verdict="changed",
        ended=1769072600,
        duration_s=2.25,
        counts={"changed": 3},
        environment="production",
        cached_catalog_status="not_used",
        noop=False,
        noop_pending=False,
    )
    expected = NodeStatus(RUNNING, run=RUN, since=1769072699.25, pid=4711, last=last)
    assert from_json(Fields(json.loads(content))) == expected


INVALID: dict[str, dict[str, Any]] = {
    "state-missing": {"state": None},
    "state-unknown": {"state": "asleep"},
    "run-a-number": {"run": 1},
    "pid-a-text": {"pid": "1"},
    "pid-a-fraction": {"pid": 1.5},
    "since-a-text": {"since": "now"},
    "age-a-text": {"age_s": "old"},
    "reason-a-list": {"reason": []},
    "last-a-text": {"last": "changed"},
    "phase-unknown": {"phase": "thinking"},
    "resources-a-fraction": {"resources": 1.5},
    "elapsed-a-text": {"elapsed_s": "long"},
    "usual-a-text": {"usual_s": "long"},
    "doing-a-text": {"doing": "apt-get"},
    "doing-without-an-age": {"doing": {"name": "apt-get"}},
    "last-without-a-verdict": {"last": {"ended": 1.0}},
    "last-counts-of-texts": {"last": {"verdict": "changed", "counts": {"changed": "3"}}},
}


@pytest.mark.parametrize("fields", INVALID.values(), ids=INVALID)
def test_a_status_with_an_invalid_field_is_an_error(fields: dict[str, Any]) -> None:
    with pytest.raises(FieldError):
        from_json(Fields({"state": "idle", **fields}))


# ---- any status

texts = st.text(max_size=20)
numbers = st.floats(-1e14, 1e14) | st.integers(-(10**14), 10**14)
whole_numbers = st.integers(-(10**14), 10**14)
last_runs = st.builds(
    LastRun,
    verdict=st.sampled_from(VERDICTS),
    ended=st.none() | numbers,
    duration_s=st.none() | numbers,
    counts=st.dictionaries(texts, whole_numbers, max_size=3),
    environment=st.none() | texts,
    reason=st.none() | texts,
    cached_catalog_status=st.none() | texts,
    noop=st.none() | st.booleans(),
    noop_pending=st.none() | st.booleans(),
    would_change=st.none() | st.integers(0, 10**6),
    unreported=st.none() | st.booleans(),
)
statuses = st.builds(
    NodeStatus,
    state=st.sampled_from(NODE_STATES),
    run=st.none() | texts,
    queued=st.none() | texts,
    since=st.none() | numbers,
    reason=st.none() | texts,
    pid=st.none() | whole_numbers,
    age_s=st.none() | whole_numbers,
    failing_since=st.none() | numbers,
    last=st.none() | last_runs,
    last_whole=st.none() | last_runs,
    phase=st.none() | st.sampled_from(PHASES),
    resources=st.none() | whole_numbers,
    elapsed_s=st.none() | whole_numbers,
    usual_s=st.none() | whole_numbers,
    doing=st.none() | st.builds(Doing, name=texts, age_s=whole_numbers),
)


@given(status=statuses)
def test_any_status_survives_its_packet(status: NodeStatus) -> None:
    assert from_json(Fields(json.loads(json.dumps(status.to_json())))) == status


scalars: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(texts, scalars, max_size=2)
near_last_runs = st.fixed_dictionaries(
    {"verdict": st.sampled_from(VERDICTS) | values},
    optional={name: values for name in LastRun._fields if name != "verdict"},
)
near_statuses = st.fixed_dictionaries(
    {"state": st.sampled_from(NODE_STATES) | values},
    optional={
        **{name: values for name in NodeStatus._fields if name not in ("state", "last", "last_whole")},
        **dict.fromkeys(("last", "last_whole"), near_last_runs | values),
    },
)


@given(content=near_statuses | st.dictionaries(texts, values, max_size=3))
def test_any_object_is_a_status_or_a_field_error(content: dict[str, object]) -> None:
    try:
        status = from_json(Fields(content))
    except FieldError:
        return
    assert status.state in NODE_STATES
    json.dumps(status.to_json(), allow_nan=False)
