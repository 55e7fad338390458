"""Puppet's report and summary are read however Puppet writes them; anything else is None."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.reports import BEGAN, FINE, RUN, SUMMARY, TITLES, report
from twitch.resources import Event, Resource
from twitch.root import report_json, report_yaml
from twitch.root.error_text import MAX_FAILED_NAMED
from twitch.root.report import MAX_REPORT_BYTES, STATUSES, Report, epoch, read, read_summary


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "last_run_report.yaml"


def write_and_read(path: Path, text: str) -> Report:
    path.write_text(text)
    found = read(os.fspath(path))
    assert found is not None
    return found


# ---- the fields of a report


def test_reports_of_these_tests_are_yaml_with_these_values() -> None:
    # So the tests below are about YAML as a parser reads it.
    text = report(failed=tuple(TITLES)).partition("\n")[2]  # without Ruby's tag
    content = yaml.safe_load(text)
    assert (content["job_id"], content["status"]) == (RUN, "changed")
    names = {" ".join(entry["resource"].split()) for entry in content["resource_statuses"].values()}
    assert names == {FINE, *TITLES}


def test_report_has_all_its_fields(path: Path) -> None:
    assert write_and_read(path, report(status="failed", failed=("Exec[-x]",))) == Report(
        job_id=RUN,
        status="failed",
        transaction_completed=True,
        noop=False,
        noop_pending=False,
        environment="production",
        cached_catalog_status="not_used",
        began=BEGAN,
        duration_s=2.25,
        counts={
            "total": 12,
            "changed": 3,
            "failed": 1,
            "failed_to_restart": 0,
            "skipped": 0,
            "out_of_sync": 4,
            "corrective_change": 1,
        },
        failed_resources=("Exec[-x]",),
        stages=(),
        error="a message failed: true",
        error_sources=(),
        configuration_version="1795403100",
        transaction_uuid="51308328-235e-43b6-9328-3018b87af00a",
        puppet_version="7.23.0",
        server_used=None,
        corrective_change=False,
        events={"success": 0, "failure": 0, "noop": 0},
        phases_s={},
        resources=(
            resource("Exec[-x]", "failed", Event("ensure", "failure", "a message failed: true")),
            resource(FINE, "changed", Event("ensure", "success", "a message failed: true")),
        ),
        resources_left_out=0,
    )


def resource(name: str, outcome: str, *events: Event, corrective: bool = False) -> Resource:
    return Resource(name, outcome, corrective, "/root/site.pp", 1, events)


def test_end_of_a_report_is_its_time_and_duration(path: Path) -> None:
    assert write_and_read(path, report()).ended == BEGAN + 2.25
    assert write_and_read(path, report().replace("time: '2026", "time: 'then")).ended is None


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("completed", [True, False])
def test_report_has_its_status_and_completion(path: Path, status: str, completed: bool) -> None:
    found = write_and_read(path, report(status=status, completed=completed))
    assert (found.status, found.transaction_completed) == (status, completed)


def test_report_has_noop_environment_and_cached_catalog(path: Path) -> None:
    text = report(noop=True, noop_pending=True, environment="staging", cached="on_failure")
    found = write_and_read(path, text)
    assert (found.noop, found.noop_pending) == (True, True)
    assert (found.environment, found.cached_catalog_status) == ("staging", "on_failure")


@pytest.mark.parametrize(
    ("value", "job_id"),
    [
        pytest.param("0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef", id="plain"),
        pytest.param("'12345678901234567890123456789012'", "12345678901234567890123456789012", id="digits"),
        # YAML reads this as a number; Ruby does not quote it.
        pytest.param("123e4567123e4567123e4567123e4567", "123e4567123e4567123e4567123e4567", id="exponent"),
        pytest.param("", None, id="none"),
    ],
)
def test_job_id_is_text_however_yaml_would_read_it(path: Path, value: str, job_id: Optional[str]) -> None:
    assert write_and_read(path, report(job_id=value)).job_id == job_id


@pytest.mark.parametrize(
    "version", ["2024-02-30", "'1.0'", "!ruby/sym x", "|-\n  a\n  status: failed", "0x_", "&a *"]
)
def test_any_configuration_version_of_a_site_is_accepted(path: Path, version: str) -> None:
    # config_version is the output of a site's own script. Ruby leaves 2024-02-30 without quotes.
    assert write_and_read(path, report(version=version)).status == "changed"


@pytest.mark.parametrize("title", TITLES)
def test_failed_resource_is_named_on_one_line(path: Path, title: str) -> None:
    assert write_and_read(path, report(failed=(title,))).failed_resources == (title,)


def test_references_in_a_report_cost_nothing(path: Path) -> None:
    text = report(failed=("Exec[-x]",)).replace("    resource: Exec[-x]", "    resource: &a [*a, *a]")
    assert write_and_read(path, text).failed_resources == ("&a [*a, *a]",)


def test_number_of_failed_resources_is_limited(path: Path) -> None:
    found = write_and_read(path, report(failed=("Exec[-x]",) * 100))
    assert found.failed_resources == ("Exec[-x]",) * MAX_FAILED_NAMED
    assert found.counts["failed"] == 100


# ---- reports of a real Puppet, in YAML and in JSON (routes.yaml)

# From a manifest whose titles and messages imitate the lines of a report: hostile.pp beside them.
REAL = Path(__file__).parents[1] / "reports_of_puppet"
EXIT_1 = "'/bin/false' returned 1 instead of one of [0]"
HOSTILE = (
    "Exec[x resource: File[/etc/forged] failed: true x]",
    "Exec[x resource: File[/etc/forged] failed: true ]",
    "Exec[x : resource: File[/etc/forged] failed: true]",
    "Exec[- y: 'q\"]",
    "Exec[? z - level: err]",
    "Exec[é b\U0001f600 ]",
    "Exec[trail ]",
    "Exec[a], File[/etc/forged]]",
)
# manifest -> the failed resources, the error, and the sources of errors that belong to no change
OUTCOMES: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "hostile": (HOSTILE, f"change from 'notrun' to ['0'] failed: {EXIT_1}", ()),
    "gen": (
        (),
        "Failed to generate additional resources using 'generate': cannot list what is there",
        ("/Stage[main]/Main/Genfail[x]",),
    ),
    "restart": (("Exec[ref]",), f"Failed to call refresh: {EXIT_1}", ("/Stage[main]/Main/Exec[ref]",)),
    "cycle": (("Notify[a]", "Notify[b]"), "resource is part of a dependency cycle", ()),
}


@pytest.mark.parametrize("manifest", OUTCOMES)
@pytest.mark.parametrize("puppet", ["puppet7", "puppet8"])
@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_real_report_names_what_failed(puppet: str, manifest: str, ending: str) -> None:
    found = read(os.fspath(REAL / f"{puppet}-{manifest}.{ending}"))
    assert found is not None
    assert (found.failed_resources, found.error, found.error_sources) == OUTCOMES[manifest]
    assert (found.status, found.environment, found.job_id) == ("failed", "production", None)
    assert found.transaction_completed == (manifest != "cycle")
    assert found.counts["failed"] == len(found.failed_resources)
    assert (found.began is not None, found.duration_s is not None) == (True, True)


@pytest.mark.parametrize("puppet", ["puppet7", "puppet8"])
def test_json_report_is_refused_where_it_is_cut(path: Path, puppet: str) -> None:
    whole = (REAL / f"{puppet}-hostile.json").read_bytes()
    for size in range(1, len(whole), 97):
        path.write_bytes(whole[:size])
        assert read(os.fspath(path)) is None


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 64, 1000])
def test_json_report_is_the_same_in_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    path = os.fspath(REAL / "puppet7-hostile.json")
    found = read(path)
    monkeypatch.setattr(report_json, "CHUNK_BYTES", chunk)
    assert read(path) == found


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 64, 1000])
def test_yaml_report_is_the_same_in_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    path = os.fspath(REAL / "puppet7-hostile.yaml")
    found = read(path)
    monkeypatch.setattr(report_yaml, "PIECE_BYTES", piece)
    assert read(path) == found


def test_entry_that_is_too_large_is_left_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_yaml, "MAX_ENTRY_BYTES", 2000)
    monkeypatch.setattr(report_yaml, "PIECE_BYTES", 700)
    long = "Exec[fails here]"
    text = report(failed=(long, "Exec[-x]")).replace("    provider_used: posix\n", "    # x\n" * 700, 2)
    found = write_and_read(path, text)
    assert (found.failed_resources, found.job_id) == (("Exec[-x]",), RUN)


# ---- files that are not a report


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("status: pending\n", id="unknown-status"),
        pytest.param("status:\n", id="empty-status"),
        pytest.param("  status: changed\n", id="indented"),
        pytest.param("\0" * 4096, id="zeros"),  # a file after a crash
        pytest.param("<html>\n", id="not-yaml"),
        pytest.param("{", id="json-that-begins"),
        pytest.param("{}", id="json-without-a-status"),
        pytest.param('{"status":"pending"}', id="json-with-an-unknown-status"),
        pytest.param('{"status":"changed","logs":' + "[" * 100_000, id="json-too-deep"),
        pytest.param('{"status":"changed","job_id":"' + "x" * 3 * 2**20 + '"}', id="json-value-too-large"),
        pytest.param('{"status":"changed","logs":{}}', id="json-logs-that-are-no-list"),
    ],
)
def test_file_that_is_not_a_report_is_none(path: Path, text: str) -> None:
    path.write_text(text)
    assert read(os.fspath(path)) is None


def test_missing_or_unreadable_report_is_none(path: Path) -> None:
    assert read(os.fspath(path)) is None
    path.mkdir()
    assert read(os.fspath(path)) is None


def test_report_that_is_cut_short_has_no_job_id(path: Path) -> None:
    whole = report(failed=tuple(TITLES)).encode()
    for size in range(0, whole.index(b"job_id:"), 37):
        path.write_bytes(whole[:size])
        found = read(os.fspath(path))
        assert found is None or found.job_id is None


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param("  resources: [", id="broken"),
        pytest.param("  resources: !ruby/object:Puppet::Util::Metric", id="tagged"),  # Puppet 5 and older
        pytest.param("  resources:\n    values: 7", id="no-list"),
        pytest.param("  resources:\n    values: [[a]]", id="no-triples"),
        pytest.param("  resources:\n    values: [[total, Total, many]]", id="no-number"),
        pytest.param("  resources:\n    values: [[total, Total, .nan]]", id="nan"),
        pytest.param("  resources:\n    values: [[total, Total, .inf]]", id="infinity"),
        pytest.param(f"  resources:\n    values: [[total, Total, {'9' * 400}]]", id="huge"),
        pytest.param("  resources: 2024-02-30", id="impossible-date"),
    ],
)
def test_invalid_metrics_leave_the_other_fields(path: Path, garbage: str) -> None:
    text = report()
    start, end = text.index("metrics:\n") + 9, text.index("resource_statuses:")
    found = write_and_read(path, text[:start] + garbage + "\n" + text[end:])
    assert (found.status, found.job_id, found.duration_s) == ("changed", RUN, None)
    assert set(found.counts.values()) == {0}


def test_report_beyond_the_limit_is_none(path: Path) -> None:
    path.write_text(report())
    os.truncate(path, MAX_REPORT_BYTES + 1)
    assert read(os.fspath(path)) is None


def test_report_of_fifty_megabytes_is_read(path: Path) -> None:
    head, statuses, tail = report(failed=("Exec[-x]",)).partition("resource_statuses:\n")
    entries, mark, end = tail.partition("corrective_change: false\ncatalog")
    with path.open("w") as file:
        file.write(head + statuses)
        for _ in range(50 * 2**20 // len(entries)):
            file.write(entries)
        file.write(mark + end)
    found = read(os.fspath(path))
    assert found is not None
    assert (found.job_id, len(found.failed_resources)) == (RUN, MAX_FAILED_NAMED)


# ---- the summary


def test_summary_has_all_its_fields(path: Path) -> None:
    path.write_text(SUMMARY)
    found = read_summary(os.fspath(path))
    assert found is not None
    assert (found.last_run, found.duration_s, found.environment) == (1769072702, 2.25, "staging")
    assert (found.completed, found.counts["changed"], found.counts["total"]) == (True, 1, 8)


def test_summary_of_a_stopped_run_is_not_completed(path: Path) -> None:
    path.write_text(SUMMARY.replace("  transaction_evaluation: 0.006435945999328396\n", ""))
    found = read_summary(os.fspath(path))
    assert found is not None
    assert not found.completed


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("7", id="a-number"),
        pytest.param("[1", id="broken"),
        pytest.param("--- !ruby/object:X\na: 1", id="tagged"),
        pytest.param("[" * 1000, id="too-deep"),
        pytest.param("time: 2024-02-30", id="impossible-date"),
        pytest.param("a: &a [" + "x, " * 9 + "]\n" + "b: [*a, *a]\n", id="references"),
        pytest.param("a: 1\n" * 10_000, id="too-large"),
        pytest.param('"\\UFFFFFFFF"', id="no-character"),
    ],
)
def test_file_that_is_not_a_summary_is_none(path: Path, text: str) -> None:
    path.write_text(text)
    assert read_summary(os.fspath(path)) is None


def test_summary_with_invalid_sections_is_empty(path: Path) -> None:
    path.write_text("time:\nresources: 3\napplication: []\n")
    found = read_summary(os.fspath(path))
    assert found is not None
    assert (found.last_run, found.environment, sum(found.counts.values())) == (None, None, 0)


# ---- any bytes


@given(data=st.binary(max_size=300), start=st.integers(0, 3000), end=st.integers(0, 3000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_report_or_none(path: Path, data: bytes, start: int, end: int) -> None:
    whole = report(failed=("Exec[fails here]",)).encode()
    path.write_bytes(whole[:start] + data + whole[end:])
    found = read(os.fspath(path))
    assert found is None or found.status in STATUSES
    read_summary(os.fspath(path))


@given(data=st.binary(max_size=60), start=st.integers(0, 3000), end=st.integers(0, 3000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_in_json_are_a_report_or_none(path: Path, data: bytes, start: int, end: int) -> None:
    whole = (REAL / "puppet8-gen.json").read_bytes()
    path.write_bytes(whole[:start] + data + whole[end:])
    found = read(os.fspath(path))
    assert found is None or found.status in STATUSES


@given(text=st.text(max_size=40) | st.datetimes().map(str) | st.datetimes().map(lambda time: f"{time}+00:00"))
def test_any_text_is_a_time_or_none(text: str) -> None:
    assert isinstance(epoch(text), (float, type(None)))
