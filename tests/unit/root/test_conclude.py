"""The end of a run: what Puppet left is gathered, judged, put on record, and told to the journal once."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.concluding import OTHER, RUN, STARTED, end
from tests.unit.fake_puppet import FakePuppet
from tests.unit.house import House, Question, new_run
from tests.unit.processes import live
from tests.unit.reports import SUMMARY, report
from twitch import runs
from twitch.messages import Run
from twitch.root import journal
from twitch.root.node import Node

Events = list[dict[str, Any]]


# ---- whose report is it?


def test_a_report_with_the_runs_own_id_tells(here: Node, puppet: FakePuppet, events: Events) -> None:
    puppet.report.write_text(report(job_id=RUN, noop=True, noop_pending=True, environment="staging"))
    found = end(here, "2")
    assert (found["state"], found["verdict"], found["reason"]) == ("finished", "changed", None)
    assert (found["noop"], found["noop_pending"], found["environment"]) == (True, True, "staging")
    assert (found["counts"]["changed"], found["cached_catalog_status"]) == (3, "not_used")
    assert (found["unreported"], found["exit_status"], found["failed_resources"]) == (False, "2", [])
    assert "settings" not in found and "command" not in found


def test_the_report_of_another_run_does_not(here: Node, puppet: FakePuppet, events: Events) -> None:
    puppet.report.write_text(report(job_id=OTHER))  # written since: somebody else was faster
    assert end(here, "1")["verdict"] == "busy"


def test_the_report_of_the_run_before_does_not(here: Node, puppet: FakePuppet, events: Events) -> None:
    puppet.report.write_text(report(job_id=OTHER))
    os.utime(puppet.report, (STARTED - 60, STARTED - 60))
    found = end(here, "1")
    assert (found["verdict"], found["reason"]) == (
        "not attempted",
        "Puppet exited with 1 before its run began",
    )


def test_a_report_that_is_not_whole_is_said_to_be_so(here: Node, puppet: FakePuppet, events: Events) -> None:
    puppet.report.write_text(report(job_id=RUN)[:40])
    found = end(here, "2")
    assert (found["verdict"], found["unreported"]) == ("changed", True)
    assert found["reason"] == "its report is missing or not whole"


def test_the_summary_tells_where_no_reports_are_kept(here: Node, puppet: FakePuppet, events: Events) -> None:
    puppet.summary.write_text(SUMMARY)
    found = end(here, "2")
    assert (found["verdict"], found["unreported"]) == ("changed", True)
    assert found["counts"]["changed"] == 1
    assert "noop" not in found
    assert events[-1]["changed"] == 1
    chosen = {"noop": True, "tags": [], "environment": None}
    assert end(here, "0", options=chosen)["noop"] is True


def test_a_summary_of_before_does_not(here: Node, puppet: FakePuppet, events: Events) -> None:
    puppet.summary.write_text(SUMMARY)
    assert end(here, "1", started=STARTED + 3600)["verdict"] == "not attempted"


def test_a_puppet_that_still_holds_the_lock_was_faster(
    here: Node, puppet: FakePuppet, tmp_path: Path, events: Events
) -> None:
    with live(tmp_path, "puppet-x") as pid:
        puppet.lock.write_text(str(pid))
        assert end(here, "1")["verdict"] == "busy"


def test_a_node_that_was_disabled_meanwhile(here: Node, puppet: FakePuppet, events: Events) -> None:
    puppet.disabled.write_text('{"disabled_message":"maintenance"}')
    found = end(here, "1")
    assert (found["verdict"], found["reason"]) == ("not attempted", "Puppet disabled: maintenance")


@pytest.mark.parametrize(("begun", "word"), [(True, "interrupted"), (False, "not attempted")])
def test_a_run_that_was_killed(here: Node, begun: bool, word: str, events: Events) -> None:
    if begun:
        Path(here.store.log_path(RUN)).touch()
    assert end(here, "KILL", "killed")["verdict"] == word


# ---- what is said


def test_an_error_of_puppets_own_is_kept_for_a_run_that_failed(
    here: Node, puppet: FakePuppet, events: Events
) -> None:
    puppet.report.write_text(report(job_id=RUN, status="failed", failed=("Exec[-x]",)))
    lines = [{"level": "notice", "message": '"err"'}, {"level": "err", "message": "first\n  of all"}]
    Path(here.store.log_path(RUN)).write_text("\n".join(json.dumps(line) for line in [*lines, *lines]))
    found = end(here, "4")
    assert (found["verdict"], found["reason"], found["error"]) == ("failed", "Exec[-x]", "first of all")
    puppet.report.write_text(report(job_id=RUN))
    assert end(here, "2")["error"] is None


def test_a_reason_that_is_known_already_stays(here: Node, events: Events) -> None:
    found = end(here, "1", reason="/usr/bin/puppet cannot be executed: Exec format error")
    assert found["reason"] == "/usr/bin/puppet cannot be executed: Exec format error"


def test_a_run_that_never_had_its_turn(here: Node, events: Events) -> None:
    found = end(here, "TERM", "killed", state=runs.QUEUED, started=None)
    assert (found["verdict"], found["reason"]) == ("not attempted", "stopped while it waited")
    assert found["duration_s"] is None


def test_a_clock_that_was_set_back_makes_no_negative_time(here: Node, events: Events) -> None:
    assert end(here, "1", started=time.time() + 7200)["duration_s"] == 0


def test_the_journal_is_told_once(here: Node, puppet: FakePuppet, events: Events) -> None:
    puppet.report.write_text(report(job_id=RUN, status="failed", failed=("Exec[-x]",)))
    end(here, "4")
    [event] = events
    assert event["message_id"] == journal.ENDED
    assert event["message"] == f"run {RUN} of token:deploy: failed: Exec[-x]"
    assert event["priority"] == journal.WARNING
    assert event["duration_s"] > 0
    told = ("run", "caller", "client", "verdict", "reason", "exit_status", "changed", "failed")
    assert [event[name] for name in told] == [
        RUN,
        "token:deploy",
        "192.0.2.7",
        "failed",
        "Exec[-x]",
        "4",
        3,
        1,
    ]


def test_a_good_end_is_a_notice(here: Node, puppet: FakePuppet, events: Events) -> None:
    puppet.report.write_text(report(job_id=RUN))
    end(here, "2")
    assert (events[0]["priority"], events[0]["message"]) == (
        journal.NOTICE,
        f"run {RUN} of token:deploy: changed",
    )


# ---- masterless


def test_a_masterless_runs_report_goes_where_tools_look_for_it(
    here: Node, puppet: FakePuppet, events: Events
) -> None:
    Path(here.store.report_path(RUN)).write_text(report(job_id=""))
    assert end(here, "2", command="apply")["verdict"] == "changed"
    assert puppet.report.read_text() == report(job_id="")
    assert puppet.report.stat().st_mode & 0o777 == 0o640
    assert not os.path.exists(here.store.report_path(RUN))


@pytest.mark.parametrize("place", ["gone/last_run_report.yaml", "puppet.conf/last_run_report.yaml", ""])
def test_a_place_that_is_no_more_costs_no_verdict(
    here: Node, puppet: FakePuppet, place: str, events: Events
) -> None:
    settings = here.settings._replace(lastrunreport=os.fspath(puppet.directory / place))
    Path(here.store.report_path(RUN)).write_text(report(job_id=""))
    found = end(here, "2", command="apply", settings=settings._asdict())
    assert (found["state"], found["verdict"]) == ("finished", "changed")
    assert not list(puppet.directory.parent.rglob("*.puppet-twitch"))


def test_a_masterless_run_without_a_report(here: Node, puppet: FakePuppet, events: Events) -> None:
    assert end(here, "1", command="apply")["verdict"] == "not attempted"
    assert not puppet.report.exists()


# ---- for real


def test_a_run_from_its_beginning_to_its_end(node: House) -> None:
    question = Question(node, Run("anonymous", "192.0.2.7"), run=RUN)
    assert question.answer().kind == "started"
    assert question.end() == 0
    node.puppet.report.write_text(report(job_id=RUN))
    node.conclude(RUN, exit_status="2")
    found = node.store.read(RUN) or {}
    assert (found["state"], found["verdict"]) == ("finished", "changed")
    _, ended = node.events()
    assert ended["MESSAGE_ID"] == journal.ENDED
    assert (ended["PRIORITY"], ended["TWITCH_VERDICT"], ended["TWITCH_CHANGED"]) == ("5", "changed", "3")
    node.conclude(RUN)  # once more: there is nothing left to do
    assert (node.store.read(RUN), node.events()) == (found, [])


@pytest.mark.parametrize("run", ["", new_run(7), "../current"])
def test_without_a_run_there_is_nothing_to_conclude(node: House, run: str) -> None:
    node.conclude(run)
    assert node.events() == []
