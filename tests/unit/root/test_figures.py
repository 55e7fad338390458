"""The figures of a node: its locks, its last run by anyone, and its last success."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.unit.fake_node import FakeNode, Question, new_run
from tests.unit.fake_puppet import FakePuppet
from tests.unit.processes import dead, live
from tests.unit.records import OTHER, RUN, STARTED, finished, record
from tests.unit.reports import BEGAN, SUMMARY, report
from twitch.messages import METRICS, Metrics
from twitch.metrics import Figures
from twitch.records import Options
from twitch.root import counts, figures
from twitch.root.claims import Claim
from twitch.root.counts import Counts
from twitch.root.node import Node
from twitch.root.process import start_time

ENDED = BEGAN + 2.25  # of the report


@pytest.fixture
def prepared(root_node: Node) -> Node:
    root_node.store.prepare(0)
    return root_node


def test_new_node(prepared: Node) -> None:
    assert figures.look(prepared) == Figures("idle")


def test_run_under_way(prepared: Node, puppet: FakePuppet, tmp_path: Path) -> None:
    with live(tmp_path, "puppet-x") as pid:
        puppet.lock.write_text(str(pid))
        os.utime(puppet.lock, (STARTED, STARTED))
        found = figures.look(prepared)
    assert found.state == "stuck"  # it began long ago
    assert found.run_started is not None and abs(found.run_started - STARTED) <= 1


def test_disabled_agent(prepared: Node, puppet: FakePuppet) -> None:
    puppet.disabled.write_text('{"disabled_message": "maintenance"}')
    os.utime(puppet.disabled, (STARTED, STARTED))
    assert figures.look(prepared) == Figures("disabled", enabled=False, disabled_since=STARTED)


def test_agent_that_is_disabled_until_a_time(prepared: Node, puppet: FakePuppet) -> None:
    hold = {"caller": "user:root", "client": "local", "reason": "kernel", "since": STARTED}
    until = time.time() + 3600
    holds = [
        {**hold, "until": until},
        {**hold, "caller": "token:a", "since": STARTED + 5, "until": until + 1},
    ]
    lock = {"disabled_message": "kernel", "puppet_twitch": {"holds": holds}}
    puppet.disabled.write_text(json.dumps(lock))
    found = figures.look(prepared)
    assert (found.enabled, found.disabled_since, found.disabled_until) == (False, STARTED, until + 1)
    holds[0].pop("until")
    puppet.disabled.write_text(json.dumps(lock))
    assert figures.look(prepared).disabled_until is None


# ---- the last run


def test_last_run_by_anyone(prepared: Node, puppet: FakePuppet) -> None:
    puppet.report.write_text(report(job_id="", cached="on_failure"))
    puppet.summary.write_text(SUMMARY.replace("  total: 1\nevents", "  noop: 1\nevents") + "  success: 4\n")
    last = figures.look(prepared).last
    assert last is not None
    assert (last.verdict, last.ended, last.duration_s, last.environment) == (
        "changed",
        ENDED,
        2.25,
        "production",
    )
    assert (last.noop, last.cached_catalog, last.puppet_version) == (False, True, "7.23.0")
    assert last.resources == {
        "total": 12,
        "changed": 3,
        "failed": 0,
        "failed_to_restart": 0,
        "skipped": 0,
        "out_of_sync": 4,
        "corrective_change": 1,
    }
    assert last.events == {"success": 4, "failure": 0, "noop": 0}
    assert last.phases_s == {"config_retrieval": 0.07, "catalog_application": 0.012}


def test_summary_of_an_earlier_run_says_nothing_of_the_last_one(prepared: Node, puppet: FakePuppet) -> None:
    prepared.store.write(finished("not attempted", ended=STARTED + 600))
    puppet.report.write_text(report(job_id=""))
    puppet.summary.write_text(SUMMARY)
    last = figures.look(prepared).last
    assert last is not None
    assert (last.verdict, last.puppet_version) == ("not attempted", "7.23.0")
    assert (last.events, last.phases_s, last.resources) == ({}, {}, {})


# ---- the last success


def test_last_success_outlasts_its_record_and_its_report(prepared: Node, puppet: FakePuppet) -> None:
    puppet.report.write_text(report(job_id=""))
    assert figures.look(prepared).last_success == ENDED
    puppet.report.write_text(report(job_id="", status="failed"))
    found = figures.look(prepared)
    assert found.last is not None and found.last.verdict == "failed"
    assert found.last_success == ENDED


def test_partial_run_is_no_success(prepared: Node) -> None:
    whole = finished("unchanged", OTHER)
    later = {"asked": STARTED + 600, "ended": STARTED + 600}
    prepared.store.write(finished("unchanged", RUN, options=Options(noop=True), **later))
    assert figures.look(prepared).last_success is None
    prepared.store.write(whole)
    found = figures.look(prepared)
    assert found.last_success == whole.ended
    assert found.last is not None and found.last.ended == STARTED + 600


# ---- the counts


def test_runs_are_counted_by_verdict(prepared: Node) -> None:
    for number, verdict in enumerate(("changed", "failed", "changed")):
        counts.add(prepared.store, finished(verdict, new_run(number)))
    found = figures.look(prepared)
    assert found.runs == {"changed": 2, "failed": 1}
    assert found.last_success == STARTED + 4.5


@pytest.mark.parametrize(
    "content", ["", "null", "[]", '{"runs": {"changed": "x"}}', '{"runs": 1}', "{" * 5000]
)
def test_invalid_counts_begin_at_zero(prepared: Node, content: str) -> None:
    Path(prepared.store.counts_path).write_text(content)
    assert counts.read(prepared.store) == Counts()
    counts.add(prepared.store, finished("changed"))
    assert counts.read(prepared.store).runs == {"changed": 1}


def test_counts_have_no_other_verdicts(prepared: Node) -> None:
    Path(prepared.store.counts_path).write_text('{"runs": {"changed": -1, "x": 4, "failed": 2}}')
    assert counts.read(prepared.store) == Counts({"failed": 2})


def test_counts_that_another_user_could_write_are_not_used(prepared: Node) -> None:
    counts.add(prepared.store, finished("changed"))
    os.chmod(prepared.store.counts_path, 0o666)
    assert counts.read(prepared.store) == Counts()
    counts.add(prepared.store, finished("changed"))
    assert "1" in Path(prepared.store.counts_path).read_text()


def test_success_in_the_future_does_not_hide_later_ones(prepared: Node, puppet: FakePuppet) -> None:
    # The clock was wrong, or user puppet has written the report: no rule would ever fire again.
    future = time.time() + 86400
    counts.add(prepared.store, finished("changed", ended=future))
    counts.note_success(prepared.store, future)
    assert counts.read(prepared.store).last_success is None
    Path(prepared.store.counts_path).write_text(json.dumps({"last_success": future}))
    puppet.report.write_text(report(job_id="").replace("time: '2026-", "time: '2099-"))
    assert figures.look(prepared).last_success is None
    puppet.report.write_text(report(job_id=""))
    assert figures.look(prepared).last_success == ENDED
    assert counts.read(prepared.store).last_success == ENDED


def test_disk_that_cannot_be_written_costs_counts_only(prepared: Node) -> None:
    os.mkdir(prepared.store.counts_path)
    counts.add(prepared.store, finished("changed"))
    counts.note_success(prepared.store, STARTED)
    assert figures.look(prepared).runs == {}


# ---- how long the figures hold


def test_figures_of_an_idle_or_disabled_node_are_steady(prepared: Node, puppet: FakePuppet) -> None:
    assert figures.is_steady(prepared, figures.look(prepared))
    puppet.disabled.write_text("{}")
    assert figures.is_steady(prepared, figures.look(prepared))


def test_figures_of_a_node_with_a_run_lock_are_not_steady(
    prepared: Node, puppet: FakePuppet, tmp_path: Path
) -> None:
    puppet.lock.write_text(str(dead()))  # of another process with this pid soon, perhaps
    assert not figures.is_steady(prepared, figures.look(prepared))
    puppet.lock.unlink()
    with live(tmp_path, "puppet-x") as pid:  # a run of ours that has no lock yet
        prepared.store.write(record())
        prepared.store.claims.write_current(Claim(RUN, pid, start_time(pid) or 0))
        assert not figures.is_steady(prepared, figures.look(prepared))


def test_directories_of_everything_that_is_read_are_sources(prepared: Node, puppet: FakePuppet) -> None:
    store = prepared.store
    found = figures.sources(prepared)
    for path in (puppet.lock, puppet.disabled, puppet.report, puppet.summary, store.counts_path):
        assert os.path.dirname(path) in found
    assert {store.root, store.directory, store.history, os.fspath(puppet.conf)} <= set(found)


# ---- the handler


def test_handler_answers_with_the_metrics(node: FakeNode) -> None:
    question = Question(node, Metrics(), run=new_run(1))
    answer = question.answer()
    assert (answer.kind, question.end()) == (METRICS, 0)
    assert answer.metrics is not None
    assert "\npuppet_agent_collect_success 1\n" in answer.metrics
    assert '\npuppet_agent_state{state="idle"} 1\n' in answer.metrics
