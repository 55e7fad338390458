"""The status: what Puppet is doing, and what became of its last run, ours or not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.fake_node import FakeNode, Question, new_run
from tests.unit.fake_puppet import FakePuppet
from tests.unit.processes import dead, live
from tests.unit.records import OTHER, RUN, STARTED, finished, record
from tests.unit.reports import BEGAN, SUMMARY, report
from twitch.messages import CANNOT, MAX_ANSWER_BYTES, STATUS, Answer, Status, decode_answer, encode
from twitch.node_status import (
    DISABLED,
    IDLE,
    PREPARING,
    QUEUED,
    RUNNING,
    STARTING,
    STUCK,
    LastRun,
    NodeStatus,
)
from twitch.records import FINISHED, Options
from twitch.root import puppet_locks, status, unit
from twitch.root.claims import Claim
from twitch.root.node import Node
from twitch.root.process import start_time

IDLE_NODE = NodeStatus(IDLE)


def claim(pid: int, run: str = RUN) -> Claim:
    return Claim(run, pid, start_time(pid) or 0)


# ---- the state


def test_idle(root_node: Node) -> None:
    assert status.look(root_node) == IDLE_NODE


def test_status_fits_into_an_answer_whatever_the_report_says(root_node: Node, puppet: FakePuppet) -> None:
    # User puppet can replace the report in Debian.
    longest = re.sub(r"(- - total\n +- Total\n +- )2\.25", r"\g<1>999999999999999.0", report(job_id=""))
    assert longest != report(job_id="")
    puppet.report.write_text(longest)
    found = Answer(STATUS, status=status.look(root_node))
    assert decode_answer(encode(found)).status == found.status


def test_running_with_a_run_of_ours(root_node: Node, tmp_path: Path) -> None:
    started = time.time() - 7
    with live(tmp_path, "puppet-x") as pid:
        root_node.store.write(record(started=started))
        root_node.store.claims.write_current(claim(pid))
        expected = NodeStatus(RUNNING, run=RUN, pid=pid, since=started, phase=STARTING, elapsed_s=7)
        assert status.look(root_node) == expected
    assert status.look(root_node) == IDLE_NODE


def test_running_with_a_run_that_we_did_not_start(
    root_node: Node, puppet: FakePuppet, tmp_path: Path
) -> None:
    with live(tmp_path, "puppet-x") as pid:
        puppet.lock.write_text(str(pid))
        os.utime(puppet.lock, (time.time() - 600, time.time() - 600))
        found = status.look(root_node)
    assert found._replace(since=None, elapsed_s=None) == NodeStatus(RUNNING, pid=pid, phase=PREPARING)
    assert found.elapsed_s is not None and 600 <= found.elapsed_s < 660
    assert found.since is not None and abs(found.since - (time.time() - 600)) < 60


def test_idle_with_a_stale_lock(root_node: Node, puppet: FakePuppet) -> None:
    puppet.lock.write_text(str(dead()))
    assert status.look(root_node) == IDLE_NODE


def test_queued_when_one_run_is_under_way_and_one_waits(root_node: Node, tmp_path: Path) -> None:
    with live(tmp_path, "puppet-x") as pid, live(tmp_path, "python3") as waiting:
        root_node.store.claims.write_current(claim(pid))
        root_node.store.claims.write_queued(claim(waiting, OTHER))
        expected = NodeStatus(QUEUED, run=RUN, pid=pid, queued=OTHER, phase=STARTING)
        assert status.look(root_node) == expected


def test_unit_of_a_run_of_ours(root_node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with live(tmp_path, "puppet-x") as pid:
        monkeypatch.setattr(unit, "name", lambda process: f"{process}.service")
        root_node.store.claims.write_current(claim(pid))
        assert status.look(root_node).unit == f"{pid}.service"


def test_stuck_by_the_age_of_the_lock(root_node: Node, puppet: FakePuppet, tmp_path: Path) -> None:
    with live(tmp_path, "puppet-x") as pid:
        puppet.lock.write_text(str(pid))
        then = time.time() - 3600 - 400
        os.utime(puppet.lock, (then, then))
        found = status.look(root_node)
    assert (found.state, found.pid) == (STUCK, pid)
    assert found.age_s is not None and found.age_s >= 4000


def test_stuck_by_the_record_of_a_run_of_ours_without_a_lock(root_node: Node, tmp_path: Path) -> None:
    # `puppet apply` takes no lock; an agent may wait for its certificate before it takes one.
    assert root_node.settings.runtimeout_s
    limit_s = root_node.settings.runtimeout_s + puppet_locks.STUCK_GRACE_S
    with live(tmp_path, "puppet-x") as pid:
        root_node.store.claims.write_current(claim(pid))
        for age_s, state in ((limit_s - 60, RUNNING), (limit_s + 60, STUCK)):
            root_node.store.write(record(started=time.time() - age_s))
            found = status.look(root_node)
            assert (found.state, found.age_s is None) == (state, state == RUNNING)


@pytest.mark.parametrize(
    ("content", "reason"), [('{"disabled_message":"x"}', "x"), ("", "")], ids=["a-reason", "no-reason"]
)
def test_disabled_comes_before_running(
    root_node: Node, puppet: FakePuppet, tmp_path: Path, content: str, reason: str
) -> None:
    puppet.disabled.write_text(content)
    found = status.look(root_node)
    assert found._replace(disabled=None) == NodeStatus(DISABLED, reason=reason)
    assert found.disabled and (found.disabled.by, found.disabled.reason) == ("unknown", reason)
    with live(tmp_path, "puppet-x") as pid:
        puppet.lock.write_text(str(pid))
        found = status.look(root_node)
    assert (found.state, found.reason, found.pid) == (DISABLED, reason, pid)


# ---- the last run


def last_run(root_node: Node) -> LastRun:
    last = status.look(root_node).last
    assert last is not None
    return last


def test_last_run_by_its_report(root_node: Node, puppet: FakePuppet) -> None:
    puppet.report.write_text(report(environment="staging", cached="on_failure", job_id=""))
    last = last_run(root_node)
    assert last._replace(counts={}) == LastRun(
        verdict="changed",
        ended=BEGAN + 2.25,
        duration_s=2.25,
        environment="staging",
        cached_catalog_status="on_failure",
        noop=False,
        noop_pending=False,
    )
    assert last.counts["changed"] == 3


def test_last_run_that_failed_names_its_resources(root_node: Node, puppet: FakePuppet) -> None:
    puppet.report.write_text(report(status="failed", failed=("Exec[-x]",)))
    assert (last_run(root_node).verdict, last_run(root_node).reason) == ("failed", "Exec[-x]")


def test_status_with_long_reasons_fits_into_a_packet(root_node: Node, puppet: FakePuppet) -> None:
    puppet.disabled.write_text(json.dumps({"disabled_message": "\U0001f600" * 5000}))
    root_node.store.write(finished("failed", reason="\U0001f600" * 5000))
    partial = record(OTHER, FINISHED, options=Options(noop=True), ended=BEGAN + 999, verdict="failed")
    root_node.store.write(partial._replace(reason="\U0001f600" * 5000))
    answer = Answer(STATUS, status=status.look(root_node))
    assert len(encode(answer)) < MAX_ANSWER_BYTES


def test_long_reason_ends_with_an_ellipsis(root_node: Node) -> None:
    for length, ending in ((120, "xxx"), (121, "xx…")):
        root_node.store.write(finished("failed", asked=BEGAN, ended=BEGAN + 1, reason="x" * length))
        reason = last_run(root_node).reason
        assert reason is not None
        assert (len(reason), reason[-3:]) == (120, ending)


PARTIAL: dict[str, tuple[Options, str]] = {
    "noop": (Options(noop=True), "failed"),
    "tags": (Options(tags=("ntp",)), "failed"),
    "environment": (Options(environment="staging"), ""),
    "none": (Options(), ""),
}


@pytest.mark.parametrize(("options", "verdict"), PARTIAL.values(), ids=PARTIAL)
def test_partial_run_does_not_hide_a_whole_one(
    root_node: Node, puppet: FakePuppet, options: Options, verdict: str
) -> None:
    root_node.store.write(finished("failed", asked=BEGAN, ended=BEGAN + 1, reason="Exec[a]"))
    last = {"asked": BEGAN + 9, "ended": BEGAN + 10, "options": options, "reported_before": BEGAN}
    root_node.store.write(finished("unchanged", run=OTHER, **last))
    found = status.look(root_node)
    assert found.last is not None and found.last.verdict == "unchanged"
    assert (found.last_whole.verdict if found.last_whole else "") == verdict
    puppet.report.write_text(report(status="unchanged", job_id=""))  # a later run that is not ours
    root_node.store.write(finished("unchanged", run=OTHER, **{**last, "ended": BEGAN - 1}))
    assert status.look(root_node).last_whole is None


def test_partial_run_after_a_run_of_puppets_own_says_nothing_of_an_older_one(root_node: Node) -> None:
    root_node.store.write(finished("failed", asked=BEGAN, ended=BEGAN + 1))
    noop = {"options": Options(noop=True), "reported_before": BEGAN + 1800}
    root_node.store.write(finished("unchanged", OTHER, asked=BEGAN + 3600, ended=BEGAN + 3601, **noop))
    assert status.look(root_node).last_whole is None
    again = {"options": Options(tags=("ntp",)), "reported_before": BEGAN + 3601}
    third = "3" * 32
    root_node.store.write(finished("unchanged", third, asked=BEGAN + 7200, ended=BEGAN + 7201, **again))
    assert status.look(root_node).last_whole is None


def test_node_is_failing_since_the_end_of_its_last_success(root_node: Node) -> None:
    def ended(number: int, verdict: str, **fields: Any) -> None:
        moment = STARTED + 100 * number
        run = finished(verdict, f"{number:032x}", asked=moment, started=moment, ended=moment + 5, **fields)
        root_node.store.write(run)

    ended(1, "changed")
    ended(2, "unchanged")
    assert status.look(root_node).failing_since is None
    ended(3, "failed")
    ended(4, "interrupted")
    ended(5, "unchanged", options=Options(noop=True))  # which cures no failure
    ended(6, "busy")
    assert status.look(root_node).failing_since == STARTED + 205
    ended(7, "changed")
    assert status.look(root_node).failing_since is None


def test_last_run_with_noop_has_the_number_of_pending_changes(root_node: Node, puppet: FakePuppet) -> None:
    puppet.report.write_text(report(noop=True, noop_pending=True))
    assert last_run(root_node).would_change == 1


def test_last_run_that_was_not_completed_has_failed(root_node: Node, puppet: FakePuppet) -> None:
    puppet.report.write_text(report(status="unchanged", completed=False))
    assert last_run(root_node).verdict == "failed"


OURS: dict[str, tuple[str, dict[str, Any], str]] = {
    "ours-is-newer": ("not attempted", {"ended": BEGAN + 99}, "not attempted"),
    "ours-says-more": ("failed", {"ended": BEGAN + 99, "counts": {}}, "failed"),
    "ours-is-older": ("failed", {"ended": BEGAN - 99}, "unchanged"),
    "busy-was-no-run": ("busy", {"ended": BEGAN + 99}, "unchanged"),
    "never-begun": ("not attempted", {"ended": BEGAN + 99, "started": None}, "unchanged"),
}


@pytest.mark.parametrize(("word", "fields", "verdict"), OURS.values(), ids=OURS)
def test_last_run_of_ours_has_its_recorded_verdict(
    root_node: Node, puppet: FakePuppet, word: str, fields: dict[str, Any], verdict: str
) -> None:
    puppet.report.write_text(report(status="unchanged"))
    root_node.store.write(finished(word, **fields))
    assert last_run(root_node).verdict == verdict


def test_last_run_of_ours_has_what_its_record_says(root_node: Node) -> None:
    ours = finished(
        "failed",
        reason="Exec[a]",
        counts={"failed": 1},
        environment="staging",
        cached_catalog_status="on_failure",
        noop=True,
        noop_pending=True,
        unreported=True,
    )
    root_node.store.write(ours)
    assert last_run(root_node) == LastRun(
        verdict="failed",
        ended=ours.ended,
        duration_s=ours.duration_s,
        counts={"failed": 1},
        environment="staging",
        reason="Exec[a]",
        cached_catalog_status="on_failure",
        noop=True,
        noop_pending=True,
        unreported=True,
    )


def test_last_run_by_its_summary_where_no_reports_are_kept(root_node: Node, puppet: FakePuppet) -> None:
    puppet.summary.write_text(SUMMARY)
    last = last_run(root_node)
    assert (last.verdict, last.ended, last.environment) == ("changed", 1769072702, "staging")
    assert (last.duration_s, last.counts["total"]) == (2.25, 8)


def test_last_run_by_its_summary_if_that_is_newer_than_the_report(
    root_node: Node, puppet: FakePuppet
) -> None:
    puppet.report.write_text(report(status="failed"))
    puppet.summary.write_text(SUMMARY)  # of the same run: written when the report had ended
    assert last_run(root_node).verdict == "failed"
    puppet.summary.write_text(SUMMARY.replace("last_run: 1769072702", "last_run: 1769079999"))
    assert last_run(root_node).verdict == "changed"


@pytest.mark.parametrize("content", ["", "garbage", "time: {}"])
def test_last_run_is_none_without_a_valid_report_and_summary(
    root_node: Node, puppet: FakePuppet, content: str
) -> None:
    puppet.report.write_text(content)
    puppet.summary.write_text(content)
    assert status.look(root_node).last is None


# ---- with real processes


def test_handler_answers_a_status_and_asks_puppet_once(node: FakeNode) -> None:
    for number in range(2):
        question = Question(node, Status(), run=new_run(number))
        answer = question.answer()
        assert (answer.kind, answer.status, question.end()) == (STATUS, IDLE_NODE, 0)
    assert len(node.puppet.calls()) == 1
    assert (node.puppet.runs(), node.store.newest(), node.events()) == ([], [], [])


def test_handler_answers_why_puppet_cannot_be_asked_and_logs_it(node: FakeNode) -> None:
    node.puppet.path.unlink()
    question = Question(node, Status(), run=new_run(1), stderr=subprocess.PIPE)
    answer = question.answer()
    reason = f"no puppet at {node.puppet.path}; install it, or set [puppet] path"
    assert (answer.kind, answer.reason) == (CANNOT, reason)
    assert question.errors() == f"<4>status: {reason}\n"
    assert question.end() == 0


def test_handler_logs_on_one_line_why_puppet_cannot_be_asked(node: FakeNode) -> None:
    node.puppet.path.write_text("#!/bin/sh\nprintf 'Error: \\033[31mbroken\\n<0>forged\\n' >&2\nexit 1\n")
    question = Question(node, Status(), run=new_run(1), stderr=subprocess.PIPE)
    assert "config print does not tell" in str(question.answer().reason)
    [line] = question.errors().splitlines()
    assert line.startswith("<4>status: ") and line.endswith(": Error: \\x1b[31mbroken")
    assert question.end() == 0
