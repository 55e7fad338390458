"""Reading the records of runs: a valid one is a `Record`, an invalid one is None and hides no other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.records import OTHER, RUN, finished, record
from twitch.record_files import Records, encode
from twitch.records import (
    FINISHED,
    QUEUED,
    RUNNING,
    Options,
    Record,
)
from twitch.resources import Event, Resource

SETTINGS = {"lastrunreport": "/var/cache/puppet/public/last_run_report.yaml", "logdest": ""}
COUNTS = {"total": 12, "changed": 3, "failed": 1}


@pytest.fixture
def runs(tmp_path: Path) -> Records:
    reader = Records(os.fspath(tmp_path))
    os.mkdir(reader.directory)
    return reader


def write(runs: Records, content: object, run: str = RUN) -> None:
    """Write a file where the record of a run belongs."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    Path(runs.path(run)).write_bytes(text)


# ---- reading one


def test_record_is_read(runs: Records) -> None:
    write(runs, record(reason='é \n "').to_json())
    assert runs.read(RUN) == record(reason='é \n "')


@pytest.mark.parametrize(
    "name", ["", "../current", "x" * 32, "A" * 32, f"{RUN}\n", RUN[:-1], f"{RUN}/", "..", "\0" * 32, "é" * 32]
)
def test_invalid_run_id_is_none(runs: Records, tmp_path: Path, name: str) -> None:
    tmp_path.joinpath("current.json").write_text(json.dumps(record(name).to_json()))
    assert runs.read(name) is None


def test_missing_record_is_none(runs: Records) -> None:
    assert runs.read(RUN) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"7", b"[" * 100_000, b"{}"])
def test_file_without_a_record_is_none(runs: Records, content: bytes) -> None:
    write(runs, content)
    assert runs.read(RUN) is None
    assert runs.newest() == []


INVALID: dict[str, dict[str, Any]] = {
    "run-of-another": {"run": OTHER},
    "run-a-number": {"run": 7},
    "state-missing": {"state": None},
    "state-unknown": {"state": "paused"},
    "state-a-list": {"state": ["running"]},
    "asked-missing": {"asked": None},
    "asked-a-text": {"asked": "yesterday"},
    "asked-an-object": {"asked": {}},
    "asked-true": {"asked": True},
    "asked-nan": {"asked": float("nan")},
    "asked-infinite": {"asked": float("inf")},
    "asked-huge": {"asked": 10**400},
    "running-without-started": {"started": None},
    "caller-a-number": {"caller": 1},
    "options-a-text": {"options": "noop"},
    "options-noop-a-text": {"options": {"noop": "yes"}},
    "options-tags-a-text": {"options": {"tags": "a"}},
    "options-tags-of-numbers": {"options": {"tags": [1]}},
    "settings-a-text": {"settings": "of another version"},
    "settings-of-numbers": {"settings": {"logdest": 1}},
    "counts-a-list": {"counts": []},
    "counts-of-texts": {"counts": {"changed": "3"}},
    "counts-of-fractions": {"counts": {"changed": 1.5}},
    "noop-a-number": {"noop": 1},
    "failed-resources-a-text": {"failed_resources": "File[a]"},
    "label-a-number": {"label": 1},
    "phases-of-texts": {"phases_s": {"plugin_sync": "1"}},
    "resources-a-text": {"resources": "File[a]"},
    "resources-of-texts": {"resources": ["File[a]"]},
    "resources-with-an-unknown-outcome": {"resources": [{"resource": "File[a]", "outcome": "eaten"}]},
    "resources-with-events-of-texts": {
        "resources": [{"resource": "File[a]", "outcome": "failed", "events": ["x"]}]
    },
    "left-running-a-text": {"left_running": "apt-get"},
    "left-running-of-texts": {"left_running": ["apt-get"]},
    "left-running-without-a-pid": {"left_running": [{"name": "apt-get", "age_s": 1}]},
}


@pytest.mark.parametrize("fields", INVALID.values(), ids=INVALID)
def test_record_with_an_invalid_field_is_none(runs: Records, fields: dict[str, Any]) -> None:
    write(runs, {**record().to_json(), **fields})
    assert runs.read(RUN) is None


def test_unknown_field_of_a_later_version_is_ignored(runs: Records) -> None:
    write(runs, {**record().to_json(), "weather": "9.0"})
    assert runs.read(RUN) == record()


# ---- records of version 1.0.0, as it wrote them

OF_1_0_0: dict[str, tuple[str, Record]] = {
    "running": (
        """
        {"run": "11111111111111111111111111111111", "state": "running", "asked": 1769072698.5,
         "started": 1769072699.25, "caller": "token:deploy", "client": "192.0.2.7",
         "options": {"noop": true, "tags": ["a::b", "c"], "environment": "staging"}, "command": "agent",
         "settings": {"lastrunreport": "/var/cache/puppet/public/last_run_report.yaml", "logdest": ""}}
        """,
        Record(
            run=RUN,
            state=RUNNING,
            asked=1769072698.5,
            started=1769072699.25,
            caller="token:deploy",
            client="192.0.2.7",
            options=Options(noop=True, tags=("a::b", "c"), environment="staging"),
            command="agent",
            settings=SETTINGS,
        ),
    ),
    "running-with-a-reason": (
        """
        {"run": "11111111111111111111111111111111", "state": "running", "asked": 1769072698.5,
         "started": 1769072699.25, "caller": "anonymous", "client": "::1",
         "options": {"noop": false, "tags": [], "environment": null}, "command": "apply",
         "settings": {"lastrunreport": "/var/cache/puppet/public/last_run_report.yaml", "logdest": ""},
         "reason": "/usr/bin/puppet cannot be executed: No such file or directory"}
        """,
        Record(
            run=RUN,
            state=RUNNING,
            asked=1769072698.5,
            started=1769072699.25,
            caller="anonymous",
            client="::1",
            command="apply",
            settings=SETTINGS,
            reason="/usr/bin/puppet cannot be executed: No such file or directory",
        ),
    ),
    "queued": (
        """
        {"run": "11111111111111111111111111111111", "state": "queued", "asked": 1769072698.5,
         "started": null, "caller": "anonymous", "client": "::1",
         "options": {"noop": false, "tags": [], "environment": null}, "command": "agent",
         "settings": {"lastrunreport": "/var/cache/puppet/public/last_run_report.yaml", "logdest": ""}}
        """,
        Record(
            run=RUN,
            state=QUEUED,
            asked=1769072698.5,
            caller="anonymous",
            client="::1",
            command="agent",
            settings=SETTINGS,
        ),
    ),
    "finished-by-its-report": (
        """
        {"run": "11111111111111111111111111111111", "state": "finished", "asked": 1769072698.5,
         "started": 1769072699.25, "caller": "cert:admin.example.com", "client": "192.0.2.7",
         "options": {"noop": false, "tags": [], "environment": null}, "ended": 1769072703.75,
         "duration_s": 4.5, "exit_status": "6", "verdict": "failed", "reason": "Exec[-x]",
         "error": "first of all", "unreported": false, "noop": false, "noop_pending": true,
         "environment": "production", "cached_catalog_status": "not_used",
         "counts": {"total": 12, "changed": 3, "failed": 1}, "failed_resources": ["Exec[-x]"]}
        """,
        Record(
            run=RUN,
            state=FINISHED,
            asked=1769072698.5,
            started=1769072699.25,
            caller="cert:admin.example.com",
            client="192.0.2.7",
            ended=1769072703.75,
            duration_s=4.5,
            exit_status="6",
            verdict="failed",
            reason="Exec[-x]",
            error="first of all",
            unreported=False,
            noop=False,
            noop_pending=True,
            environment="production",
            cached_catalog_status="not_used",
            counts=COUNTS,
            failed_resources=("Exec[-x]",),
        ),
    ),
    "finished-by-its-summary": (
        """
        {"run": "11111111111111111111111111111111", "state": "finished", "asked": 1769072698.5,
         "started": 1769072699.25, "caller": "anonymous", "client": "192.0.2.7",
         "options": {"noop": true, "tags": [], "environment": null}, "ended": 1769072703.75,
         "duration_s": 4.5, "exit_status": "2", "verdict": "changed", "reason": null, "error": null,
         "unreported": true, "noop": true, "counts": {"total": 12, "changed": 3, "failed": 1},
         "environment": null}
        """,
        Record(
            run=RUN,
            state=FINISHED,
            asked=1769072698.5,
            started=1769072699.25,
            caller="anonymous",
            client="192.0.2.7",
            options=Options(noop=True),
            ended=1769072703.75,
            duration_s=4.5,
            exit_status="2",
            verdict="changed",
            unreported=True,
            noop=True,
            counts=COUNTS,
        ),
    ),
    "finished-in-the-queue": (
        """
        {"run": "11111111111111111111111111111111", "state": "finished", "asked": 1769072698,
         "started": null, "caller": "anonymous", "client": "192.0.2.7",
         "options": {"noop": false, "tags": [], "environment": null}, "ended": 1769072703.75,
         "duration_s": null, "exit_status": "TERM", "verdict": "not attempted",
         "reason": "stopped while it waited", "error": null, "unreported": false}
        """,
        Record(
            run=RUN,
            state=FINISHED,
            asked=1769072698,
            caller="anonymous",
            client="192.0.2.7",
            ended=1769072703.75,
            exit_status="TERM",
            verdict="not attempted",
            reason="stopped while it waited",
            unreported=False,
        ),
    ),
    "finished-without-its-end": (
        """
        {"run": "11111111111111111111111111111111", "asked": 1769072703.5, "state": "finished",
         "ended": 1769072703.75, "verdict": "interrupted",
         "reason": "how it ended cannot be read; the journal says why"}
        """,
        Record(
            run=RUN,
            state=FINISHED,
            asked=1769072703.5,
            ended=1769072703.75,
            verdict="interrupted",
            reason="how it ended cannot be read; the journal says why",
        ),
    ),
}


@pytest.mark.parametrize(("content", "expected"), OF_1_0_0.values(), ids=OF_1_0_0)
def test_record_of_version_1_0_0_is_read(runs: Records, content: str, expected: Record) -> None:
    write(runs, content.encode())
    assert runs.read(RUN) == expected


# ---- reading all


def test_newest_has_no_resources(runs: Records) -> None:
    one = Resource("File[a]", "changed", False, "/a.pp", 7, (Event("mode", "success", "mode changed"),))
    whole = finished("changed", resources=(one,), resources_left_out=3)
    Path(runs.path(RUN)).write_bytes(encode(whole))
    assert runs.read(RUN) == whole
    assert (
        runs.newest()
        == [whole._replace(resources=None, resources_left_out=None)]
        == [runs.read(RUN, resources=False)]
    )


def test_newest_sorts_by_the_time_of_the_request(runs: Records) -> None:
    ids = [f"{number:032x}" for number in range(5)]
    for number in (2, 3, 1):
        write(runs, record(ids[number], asked=1000.0 + number).to_json(), ids[number])
    Path(runs.directory, f"{ids[4]}.json.123").write_text("{")  # left by a writer that was killed
    Path(runs.directory, f"{ids[3]}.jsonl").touch()
    Path(runs.directory, "notes.json").touch()
    assert [one.run for one in runs.newest()] == [ids[3], ids[2], ids[1]]


@pytest.mark.parametrize("fields", INVALID.values(), ids=INVALID)
def test_newest_leaves_out_an_invalid_record(runs: Records, fields: dict[str, Any]) -> None:
    write(runs, {**record().to_json(), **fields})
    write(runs, finished("changed", OTHER).to_json(), OTHER)
    assert runs.newest() == [finished("changed", OTHER)]


def test_without_a_directory_there_are_no_records(tmp_path: Path) -> None:
    missing = Records(os.fspath(tmp_path / "missing"))
    assert (missing.newest(), missing.read(RUN)) == ([], None)
