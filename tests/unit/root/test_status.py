"""The status: what Puppet is doing, and what became of its last run, whoever started it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.fake_puppet import FakePuppet
from tests.unit.house import House, Question, new_run
from tests.unit.processes import dead, live
from tests.unit.reports import BEGAN, SUMMARY, report
from twitch import runs
from twitch.messages import Status
from twitch.root import locks, status
from twitch.root.node import Node
from twitch.runs import Claim

RUN = "1" * 32
NOTHING = {
    "state": "idle",
    "run": None,
    "queued": None,
    "since": None,
    "reason": None,
    "pid": None,
    "last": None,
}


def claim(pid: int) -> Claim:
    return Claim(RUN, pid, runs.start_time(pid) or 0, {})


# ---- what it does


def test_a_run_of_ours_that_holds_no_lock_can_be_stuck_as_well(here: Node, tmp_path: Path) -> None:
    # `puppet apply` locks nothing; an agent may wait for its certificate before it does.
    assert here.settings.runtimeout_s
    long_s = here.settings.runtimeout_s + locks.STUCK_GRACE_S
    with live(tmp_path, "puppet-x") as pid:
        here.store.claim_current(claim(pid))
        for age_s, state in ((long_s - 60, "running"), (long_s + 60, "stuck")):
            here.store.write({"run": RUN, "state": "running", "started": time.time() - age_s})
            assert status.look(here)["state"] == state


def test_idle(here: Node) -> None:
    assert status.look(here) == NOTHING


def test_a_run_of_ours(here: Node, tmp_path: Path) -> None:
    started = time.time() - 7
    with live(tmp_path, "puppet-x") as pid:
        here.store.write({"run": RUN, "state": "running", "started": started})
        here.store.claim_current(claim(pid))
        assert status.look(here) == {**NOTHING, "state": "running", "run": RUN, "pid": pid, "since": started}
    assert status.look(here) == NOTHING


def test_a_run_of_somebody_elses(here: Node, puppet: FakePuppet, tmp_path: Path) -> None:
    with live(tmp_path, "puppet-x") as pid:
        puppet.lock.write_text(str(pid))
        os.utime(puppet.lock, (time.time() - 600, time.time() - 600))
        found = status.look(here)
    assert {**found, "since": None} == {**NOTHING, "state": "running", "pid": pid}
    assert abs(found["since"] - (time.time() - 600)) < 60


def test_a_stale_lock_is_idle(here: Node, puppet: FakePuppet) -> None:
    puppet.lock.write_text(str(dead()))
    assert status.look(here) == NOTHING


def test_one_runs_and_another_waits(here: Node, tmp_path: Path) -> None:
    with live(tmp_path, "puppet-x") as pid, live(tmp_path, "python3") as waiting:
        here.store.claim_current(claim(pid))
        here.store.claim_queued(claim(waiting)._replace(run="2" * 32))
        found = status.look(here)
    assert found == {**NOTHING, "state": "queued", "run": RUN, "pid": pid, "queued": "2" * 32}


def test_a_lock_that_is_older_than_any_run_is_stuck(here: Node, puppet: FakePuppet, tmp_path: Path) -> None:
    with live(tmp_path, "puppet-x") as pid:
        puppet.lock.write_text(str(pid))
        then = time.time() - 3600 - 400
        os.utime(puppet.lock, (then, then))
        found = status.look(here)
    assert (found["state"], found["pid"], found["age_s"] >= 4000) == ("stuck", pid, True)


@pytest.mark.parametrize(
    ("content", "reason"), [('{"disabled_message":"x"}', "x"), ("", "")], ids=["a-reason", "none"]
)
def test_disabled_comes_first(
    here: Node, puppet: FakePuppet, tmp_path: Path, content: str, reason: str
) -> None:
    puppet.disabled.write_text(content)
    assert status.look(here) == {**NOTHING, "state": "disabled", "reason": reason}
    with live(tmp_path, "puppet-x") as pid:
        puppet.lock.write_text(str(pid))
        assert status.look(here)["state"] == "disabled"


# ---- what it did


LAST = {
    "verdict": "changed",
    "ended": BEGAN + 2.25,
    "duration_s": 2.25,
    "environment": "staging",
    "cached_catalog_status": "on_failure",
    "noop": False,
    "noop_pending": False,
}


def test_the_last_run_by_its_report(here: Node, puppet: FakePuppet) -> None:
    puppet.report.write_text(report(environment="staging", cached="on_failure", job_id=""))
    last = status.look(here)["last"]
    assert {key: last[key] for key in LAST} == LAST
    assert last["counts"]["changed"] == 3


def test_a_last_run_that_was_not_completed_is_failed(here: Node, puppet: FakePuppet) -> None:
    puppet.report.write_text(report(status="unchanged", completed=False))
    assert status.look(here)["last"]["verdict"] == "failed"


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        pytest.param({"verdict": "not attempted", "ended": BEGAN + 99}, "not attempted", id="ours-is-newer"),
        pytest.param({"verdict": "failed", "ended": BEGAN + 99, "counts": {}}, "failed", id="knows-more"),
        pytest.param({"verdict": "failed", "ended": BEGAN - 99}, "unchanged", id="ours-is-older"),
        pytest.param({"verdict": "busy", "ended": BEGAN + 99}, "unchanged", id="was-no-run"),
        pytest.param(
            {"verdict": "not attempted", "ended": BEGAN + 99, "started": None}, "unchanged", id="never-begun"
        ),
    ],
)
def test_of_a_run_of_ours_our_verdict_counts(
    here: Node, puppet: FakePuppet, ours: dict[str, Any], verdict: str
) -> None:
    puppet.report.write_text(report(status="unchanged"))
    here.store.write({"run": RUN, "state": "finished", "asked": BEGAN, "started": BEGAN, **ours})
    last = status.look(here)["last"]
    assert last["verdict"] == verdict
    assert {"ended", "duration_s", "counts", "environment"} <= set(last)


def test_where_no_reports_are_kept_the_summary_tells(here: Node, puppet: FakePuppet) -> None:
    puppet.summary.write_text(SUMMARY)
    last = status.look(here)["last"]
    assert (last["verdict"], last["ended"], last["environment"]) == ("changed", 1769072702, "staging")


def test_a_newer_summary_tells_more_than_an_old_report(here: Node, puppet: FakePuppet) -> None:
    puppet.report.write_text(report(status="failed"))
    puppet.summary.write_text(SUMMARY)  # of the same run: it was written when the report had ended
    assert status.look(here)["last"]["verdict"] == "failed"
    puppet.summary.write_text(SUMMARY.replace("last_run: 1769072702", "last_run: 1769079999"))
    assert status.look(here)["last"]["verdict"] == "changed"


@pytest.mark.parametrize("content", ["", "garbage", "time: {}"])
def test_what_cannot_be_read_tells_nothing(here: Node, puppet: FakePuppet, content: str) -> None:
    puppet.report.write_text(content)
    puppet.summary.write_text(content)
    assert status.look(here)["last"] is None


# ---- for real


def test_the_handler_tells_it_and_asks_puppet_once(node: House) -> None:
    for number in range(2):
        question = Question(node, Status(), run=new_run(number))
        answer = question.answer()
        assert (answer.kind, answer.status, question.end()) == ("status", NOTHING, 0)
    assert len(node.puppet.asked()) == 1
    assert (node.puppet.runs(), node.store.newest(), node.events()) == ([], [], [])


def test_the_handler_says_what_keeps_it_from_telling(node: House) -> None:
    node.puppet.path.unlink()
    question = Question(node, Status(), run=new_run(1))
    answer = question.answer()
    assert (answer.kind, question.end()) == ("cannot", 0)
    assert "no puppet at" in str(answer.reason)
