"""A record and its JSON: any record survives its file, and any JSON is a record or an error."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.records import RUN, STARTED, finished, record
from twitch import records
from twitch.fields import FieldError
from twitch.record_files import encode
from twitch.records import (
    PUPPET,
    RUNNING,
    STATES,
    TWITCH,
    VERDICTS,
    Left,
    Options,
    Record,
    from_json,
)
from twitch.resources import OUTCOMES, Event, Resource

texts = st.text(max_size=20)
numbers = st.floats(-1e14, 1e14) | st.integers(-(10**14), 10**14)
whole_numbers = st.integers(-(10**14), 10**14)
lefts = st.builds(Left, name=texts, pid=whole_numbers, age_s=whole_numbers)
resources = st.builds(
    Resource,
    resource=texts,
    outcome=st.sampled_from(OUTCOMES),
    corrective=st.booleans(),
    file=st.none() | texts,
    line=st.none() | whole_numbers,
    events=st.lists(st.builds(Event, *[st.none() | texts] * 3), max_size=2).map(tuple),
)
valid_records = st.builds(
    Record,
    run=texts,
    state=st.sampled_from(STATES),
    asked=numbers,
    caller=texts,
    client=texts,
    options=st.builds(
        Options,
        noop=st.booleans(),
        tags=st.lists(texts, max_size=3).map(tuple),
        environment=st.none() | texts,
    ),
    started=numbers,
    pid=st.none() | whole_numbers,
    reported_before=st.none() | numbers,
    command=st.none() | texts,
    settings=st.dictionaries(texts, texts, max_size=3),
    keep_runs=st.none() | whole_numbers,
    keep_bytes=st.none() | whole_numbers,
    ended=st.none() | numbers,
    duration_s=st.none() | numbers,
    exit_status=st.none() | texts,
    verdict=st.none() | st.sampled_from(VERDICTS),
    reason=st.none() | texts,
    error=st.none() | texts,
    unreported=st.none() | st.booleans(),
    noop=st.none() | st.booleans(),
    noop_pending=st.none() | st.booleans(),
    environment=st.none() | texts,
    cached_catalog_status=st.none() | texts,
    counts=st.none() | st.dictionaries(texts, whole_numbers, max_size=3),
    would_change=st.none() | whole_numbers,
    failed_resources=st.none() | st.lists(texts, max_size=3).map(tuple),
    label=st.none() | texts,
    started_by=st.sampled_from((TWITCH, PUPPET)),
    configuration_version=st.none() | texts,
    transaction_uuid=st.none() | texts,
    puppet_version=st.none() | texts,
    server_used=st.none() | texts,
    corrective_change=st.none() | st.booleans(),
    events=st.none() | st.dictionaries(texts, whole_numbers, max_size=3),
    phases_s=st.none() | st.dictionaries(texts, numbers, max_size=3),
    resources=st.none() | st.lists(resources, max_size=3).map(tuple),
    resources_left_out=st.none() | whole_numbers,
    left_running=st.none() | st.lists(lefts, max_size=3).map(tuple),
)


@given(valid=valid_records)
def test_any_record_survives_its_file(valid: Record) -> None:
    written = encode(valid)
    assert from_json(json.loads(written)) == valid
    # The first line is enough for all but the resources.
    assert (valid.resources is None) == (b"\n" not in written)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(texts, scalars, max_size=2)
near_records = st.fixed_dictionaries(
    {"run": st.just(RUN) | values, "state": st.sampled_from(STATES) | values, "asked": numbers | values},
    optional={name: values for name in Record._fields if name not in ("run", "state", "asked")},
)


@given(value=near_records | values)
def test_any_json_is_a_record_or_a_field_error(value: object) -> None:
    try:
        found = from_json(value)
    except FieldError:
        return
    assert isinstance(found, Record)
    json.dumps(found.to_json(), allow_nan=False)
    assert found.state != RUNNING or isinstance(found.started, (int, float))


def test_good_verdicts() -> None:
    assert [word for word in VERDICTS if finished(word).good] == ["unchanged", "changed"]
    assert not record(started=STARTED).good
    assert records.GOOD == ("unchanged", "changed")
