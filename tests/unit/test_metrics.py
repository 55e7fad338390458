"""The text form of the metrics: what Prometheus and node_exporter accept, and what each metric says."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import twitch
from twitch import metrics
from twitch.metrics import Figures, Last
from twitch.node_status import NODE_STATES
from twitch.records import VERDICTS

LAST = Last(
    verdict="changed",
    ended=1769072702.75,
    duration_s=2.25,
    noop=False,
    cached_catalog=True,
    environment="production",
    puppet_version="7.23.0",
    resources={"total": 12, "changed": 3, "failed": 0},
    events={"success": 3, "failure": 0},
    phases_s={"config_retrieval": 0.0701, "file": 0.1},
)
FULL = Figures(
    state="running",
    enabled=False,
    disabled_since=1769072000,
    disabled_until=1769079000,
    run_started=1769072699.5,
    last=LAST,
    last_success=1769072702.75,
    runs={"changed": 17, "not attempted": 2},
)
LINE = re.compile(r"(?P<metric>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>-?[0-9]+(?:\.[0-9]+)?)")


def samples(text: str) -> dict[str, str]:
    """Return each sample with its labels, and its value."""
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def names(text: str) -> list[str]:
    """Return the metrics, in the order of their heads."""
    return re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)


def test_values_of_a_node_with_everything() -> None:
    found = samples(metrics.text(FULL))
    expected = {
        "puppet_agent_collect_success": "1",
        "puppet_agent_enabled": "0",
        "puppet_agent_disabled_timestamp_seconds": "1769072000",
        "puppet_agent_disabled_until_timestamp_seconds": "1769079000",
        'puppet_agent_state{state="running"}': "1",
        'puppet_agent_state{state="disabled"}': "0",
        "puppet_agent_run_started_timestamp_seconds": "1769072699.5",
        "puppet_agent_last_run_timestamp_seconds": "1769072702.75",
        "puppet_agent_last_success_timestamp_seconds": "1769072702.75",
        "puppet_agent_last_run_duration_seconds": "2.25",
        "puppet_agent_last_run_success": "1",
        'puppet_agent_last_run_verdict{verdict="changed"}': "1",
        'puppet_agent_last_run_verdict{verdict="not_attempted"}': "0",
        "puppet_agent_last_run_noop": "0",
        "puppet_agent_last_run_cached_catalog": "1",
        "puppet_agent_last_run_catalog_resources": "12",
        'puppet_agent_last_run_resources{condition="changed"}': "3",
        'puppet_agent_last_run_resources{condition="skipped"}': "0",
        'puppet_agent_last_run_events{outcome="success"}': "3",
        'puppet_agent_last_run_events{outcome="noop"}': "0",
        'puppet_agent_last_run_phase_seconds{phase="config_retrieval"}': "0.07",
        'puppet_agent_info{version="7.23.0",environment="production"}': "1",
        f'puppet_twitch_info{{version="{twitch.__version__}"}}': "1",
        'puppet_twitch_runs_total{verdict="changed"}': "17",
        'puppet_twitch_runs_total{verdict="not_attempted"}': "2",
        'puppet_twitch_runs_total{verdict="failed"}': "0",
    }
    assert {name: found.get(name) for name in expected} == expected
    assert not [name for name in found if "file" in name]  # the time of a type is no phase


def test_every_metric_has_its_head_once_and_all_samples_after_it() -> None:
    text = metrics.text(FULL)
    heads = names(text)
    assert sorted(heads) == sorted(metrics.HELP)
    assert [name for name, _ in re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE)] == heads
    below: dict[str, set[str]] = {}
    head = ""
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            head = line.split()[2]
        elif not line.startswith("#"):
            below.setdefault(head, set()).add(line.partition("{")[0].partition(" ")[0])
    assert below == {name: {name} for name in heads}
    assert re.findall(r"^# TYPE (\S+) counter", text, re.MULTILINE) == ["puppet_twitch_runs_total"]


@pytest.mark.parametrize(
    ("metric", "label", "values"),
    [
        ("puppet_agent_state", "state", NODE_STATES),
        ("puppet_agent_last_run_verdict", "verdict", metrics.LAST_VERDICTS),
        ("puppet_twitch_runs_total", "verdict", VERDICTS),
    ],
)
def test_every_value_of_a_label_is_always_there(metric: str, label: str, values: tuple[str, ...]) -> None:
    words = {f'{metric}{{{label}="{value.replace(" ", "_")}"}}' for value in values}
    assert {name for name in samples(metrics.text(FULL)) if name.startswith(f"{metric}{{")} == words


def test_new_node_has_no_last_run() -> None:
    found = names(metrics.text(Figures("idle")))
    assert found == [
        "puppet_agent_collect_success",
        "puppet_twitch_info",
        "puppet_agent_enabled",
        "puppet_agent_state",
        "puppet_twitch_runs_total",
    ]


def test_run_without_a_report_has_no_resources() -> None:
    last = Last("interrupted", ended=1769072702.75)
    found = samples(metrics.text(Figures("idle", last=last)))
    assert found["puppet_agent_last_run_success"] == "0"
    assert found['puppet_agent_last_run_verdict{verdict="interrupted"}'] == "1"
    assert not [name for name in found if "resources" in name or "events" in name or "_info" in name[:17]]


def test_node_whose_puppet_cannot_be_read() -> None:
    assert samples(metrics.text(None)) == {
        "puppet_agent_collect_success": "0",
        f'puppet_twitch_info{{version="{twitch.__version__}"}}': "1",
    }


def test_textfile_has_everything_but_the_state() -> None:
    text = metrics.text(FULL)
    file = metrics.for_textfile(text)
    assert set(names(text)) - set(names(file)) == {"puppet_agent_state"}
    assert {name for name in samples(text) if not name.startswith("puppet_agent_state")} == set(samples(file))
    assert "puppet_agent_state" not in file


def test_value_of_a_label_has_no_control_characters() -> None:
    # `puppet-twitch metrics` prints it on root's terminal, and user puppet can write the report.
    text = metrics.text(metrics.Figures("idle", last=LAST._replace(environment="a\x1b]0;x\x07")))
    assert r'environment="a\\x1b]0;x\\x07"' in text


def test_value_of_a_label_is_escaped() -> None:
    last = LAST._replace(environment='a"b\\c\nd')
    text = metrics.text(FULL._replace(last=last))
    assert 'puppet_agent_info{version="7.23.0",environment="a\\"b\\\\c\\nd"} 1\n' in text


@given(environment=st.text(), value=st.floats(0, 1e14), verdict=st.sampled_from(VERDICTS))
def test_any_last_run_is_written_line_by_line(environment: str, value: float, verdict: str) -> None:
    last = LAST._replace(environment=environment, duration_s=value, verdict=verdict)
    text = metrics.text(FULL._replace(last=last))
    text.encode("utf-8")
    assert text.endswith("\n")
    lines = [line for line in text.split("\n")[:-1] if not line.startswith("# ")]
    assert all(LINE.fullmatch(line) for line in lines)
