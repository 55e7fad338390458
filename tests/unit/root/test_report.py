"""Puppet's report: what it says is found, however it is written; what is no report is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.reports import BEGAN, FINE, RUN, SUMMARY, TITLES, report
from twitch.root.report import MAX_FAILED_NAMED, STATUSES, Report, epoch, read, read_summary


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "last_run_report.yaml"


def reading(path: Path, text: str) -> Report:
    path.write_text(text)
    found = read(os.fspath(path))
    assert found is not None
    return found


# ---- what it says


def test_the_made_reports_are_what_yaml_reads_in_them() -> None:
    # That is: the tests below speak about YAML, not about what somebody thought that it looks like.
    text = report(failed=tuple(TITLES)).partition("\n")[2]  # without Ruby's tag
    content = yaml.safe_load(text)
    assert (content["job_id"], content["status"]) == (RUN, "changed")
    spelt = {" ".join(entry["resource"].split()) for entry in content["resource_statuses"].values()}
    assert spelt == {FINE, *TITLES}


def test_everything_that_matters_is_found(path: Path) -> None:
    assert reading(path, report(status="failed", failed=("Exec[-x]",))) == Report(
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
    )


def test_it_ended_when_its_time_was_over(path: Path) -> None:
    assert reading(path, report()).ended == BEGAN + 2.25
    assert reading(path, report().replace("time: '2026", "time: 'then")).ended is None


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("completed", [True, False])
def test_status_and_completion(path: Path, status: str, completed: bool) -> None:
    found = reading(path, report(status=status, completed=completed))
    assert (found.status, found.transaction_completed) == (status, completed)


def test_noop_environment_and_cached_catalog(path: Path) -> None:
    text = report(noop=True, noop_pending=True, environment="staging", cached="on_failure")
    found = reading(path, text)
    assert (found.noop, found.noop_pending) == (True, True)
    assert (found.environment, found.cached_catalog_status) == ("staging", "on_failure")


@pytest.mark.parametrize(
    ("written", "job_id"),
    [
        pytest.param("0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef", id="plain"),
        pytest.param("'12345678901234567890123456789012'", "12345678901234567890123456789012", id="digits"),
        # YAML reads this as a number; Ruby does not quote it.
        pytest.param("123e4567123e4567123e4567123e4567", "123e4567123e4567123e4567123e4567", id="exponent"),
        pytest.param("", None, id="none"),
    ],
)
def test_a_job_id_is_a_text(path: Path, written: str, job_id: Optional[str]) -> None:
    assert reading(path, report(job_id=written)).job_id == job_id


@pytest.mark.parametrize(
    "version", ["2024-02-30", "'1.0'", "!ruby/sym x", "|-\n  a\n  status: failed", "0x_", "&a *"]
)
def test_a_site_may_call_its_version_what_it_likes(path: Path, version: str) -> None:
    # config_version is the output of a site's own script. Ruby leaves 2024-02-30 without quotes.
    assert reading(path, report(version=version)).status == "changed"


@pytest.mark.parametrize("title", TITLES)
def test_a_failed_resource_is_named_on_one_line(path: Path, title: str) -> None:
    assert reading(path, report(failed=(title,))).failed_resources == (title,)


def test_no_more_than_some_failed_resources_are_named(path: Path) -> None:
    found = reading(path, report(failed=("Exec[-x]",) * 100))
    assert found.failed_resources == ("Exec[-x]",) * MAX_FAILED_NAMED
    assert found.counts["failed"] == 100


# ---- what is no report


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("status: pending\n", id="unknown-status"),
        pytest.param("status:\n", id="empty-status"),
        pytest.param("  status: changed\n", id="indented"),
        pytest.param("\0" * 4096, id="zeros"),  # what a crash leaves of a file
        pytest.param("<html>\n", id="not-yaml"),
    ],
)
def test_what_is_no_report_is_none(path: Path, text: str) -> None:
    path.write_text(text)
    assert read(os.fspath(path)) is None


def test_a_missing_or_unreadable_report_is_none(path: Path) -> None:
    assert read(os.fspath(path)) is None
    path.mkdir()
    assert read(os.fspath(path)) is None


def test_a_report_that_is_cut_short_is_nobodys(path: Path) -> None:
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
def test_metrics_that_cannot_be_read_leave_the_rest_as_it_is(path: Path, garbage: str) -> None:
    text = report()
    start, end = text.index("metrics:\n") + 9, text.index("resource_statuses:")
    found = reading(path, text[:start] + garbage + "\n" + text[end:])
    assert (found.status, found.job_id, found.duration_s) == ("changed", RUN, None)
    assert set(found.counts.values()) == {0}


def test_fifty_megabytes_are_read_in_a_stream(path: Path) -> None:
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


def test_a_summary_is_read(path: Path) -> None:
    path.write_text(SUMMARY)
    found = read_summary(os.fspath(path))
    assert found is not None
    assert (found.last_run, found.duration_s, found.environment) == (1769072702, 2.25, "staging")
    assert (found.completed, found.counts["changed"], found.counts["total"]) == (True, 1, 8)


def test_a_summary_of_a_run_that_was_stopped_says_so(path: Path) -> None:
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
    ],
)
def test_what_is_no_summary_is_none(path: Path, text: str) -> None:
    path.write_text(text)
    assert read_summary(os.fspath(path)) is None


def test_a_summary_without_anything_is_one_of_nothing(path: Path) -> None:
    path.write_text("time:\nresources: 3\napplication: []\n")
    found = read_summary(os.fspath(path))
    assert found is not None
    assert (found.last_run, found.environment, sum(found.counts.values())) == (None, None, 0)


# ---- anything


@given(data=st.binary(max_size=300), start=st.integers(0, 3000), end=st.integers(0, 3000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_report_or_none(path: Path, data: bytes, start: int, end: int) -> None:
    whole = report(failed=("Exec[fails here]",)).encode()
    path.write_bytes(whole[:start] + data + whole[end:])
    found = read(os.fspath(path))
    assert found is None or found.status in STATUSES
    read_summary(os.fspath(path))


@given(text=st.text(max_size=40) | st.datetimes().map(str) | st.datetimes().map(lambda time: f"{time}+00:00"))
def test_any_text_is_a_time_or_none(text: str) -> None:
    assert isinstance(epoch(text), (float, type(None)))
