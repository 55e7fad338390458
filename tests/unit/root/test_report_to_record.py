"""How a report becomes a record, and how much of it a record holds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.records import finished
from tests.unit.reports import BEGAN, report
from twitch.record_files import MAX_RECORD_CHARS, encode
from twitch.records import FINISHED, PUPPET, Record, from_json
from twitch.resources import CHANGED, FAILED, Event, Resource
from twitch.root import report_to_record
from twitch.root.report import Report, read


def read_report(tmp_path: Path, text: str) -> Report:
    path = tmp_path / "last_run_report.yaml"
    path.write_text(text)
    found = read(os.fspath(path))
    assert found is not None
    return found


@pytest.fixture
def changed(tmp_path: Path) -> Report:
    return read_report(tmp_path, report())


def long_resource(number: int, outcome: str) -> Resource:
    """Return a resource with texts as long as they can be, in letters that JSON escapes."""
    event = Event("é" * 200, "success", "\N{WRENCH}" * 500)
    return Resource(f"{number}{'é' * 190}", outcome, False, "é" * 200, 7, (event,) * 5)


# ---- the limits of a record


def test_record_holds_a_bounded_number_of_resources(changed: Report) -> None:
    many = tuple(Resource(f"File[{number}]", CHANGED, False, None, None) for number in range(250))
    record = report_to_record.with_report(
        finished("changed"), changed._replace(resources=many, resources_left_out=7)
    )
    assert record.resources == many[: report_to_record.MAX_RESOURCES]
    assert record.resources_left_out == 57


def test_record_holds_a_bounded_number_of_bytes(changed: Report) -> None:
    resources = (
        *(long_resource(number, FAILED) for number in range(100)),
        *(long_resource(number, CHANGED) for number in range(100)),
    )
    record = report_to_record.with_report(finished("failed"), changed._replace(resources=resources))
    assert record.resources and record.resources_left_out
    assert len(record.resources) + record.resources_left_out == 200
    assert record.resources[0] == resources[0]  # the first ones have all their events
    assert len(json.dumps(record.to_json()["resources"])) <= report_to_record.MAX_BYTES
    assert len(encode(record)) < MAX_RECORD_CHARS
    assert from_json(json.loads(encode(record))) == record


# ---- runs that Puppet has started itself


def test_run_of_puppet_has_the_id_of_its_report(changed: Report) -> None:
    record = report_to_record.of_puppet(changed)
    assert record == report_to_record.with_report(
        Record(
            "51308328235e43b693283018b87af00a",
            FINISHED,
            asked=BEGAN,
            started_by=PUPPET,
            started=BEGAN,
            ended=BEGAN + 2.25,
            duration_s=2.25,
            verdict="changed",
            unreported=False,
        ),
        changed,
    )


def test_run_of_puppet_that_failed_has_its_reason_and_error(tmp_path: Path) -> None:
    record = report_to_record.of_puppet(read_report(tmp_path, report(status="failed", failed=("Exec[-x]",))))
    assert record is not None
    assert (record.verdict, record.reason, record.error) == ("failed", "Exec[-x]", "a message failed: true")


def test_run_of_puppet_that_was_cut_short_has_failed(tmp_path: Path) -> None:
    record = report_to_record.of_puppet(read_report(tmp_path, report(status="failed", completed=False)))
    assert record is not None
    assert (record.verdict, record.reason) == ("failed", "Puppet ended before the end of its catalog")


def test_run_of_puppet_without_an_id_has_no_record(changed: Report) -> None:
    for uuid in (None, "", "x" * 32, "../../etc/passwd"):
        assert report_to_record.of_puppet(changed._replace(transaction_uuid=uuid)) is None
