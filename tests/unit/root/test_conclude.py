"""The end of a run: it is judged, its record is written, and one event is logged."""

from __future__ import annotations

import json
import os
import select
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.concluding import begin, begun, end, read
from tests.unit.fake_node import TWITCH_GID, FakeNode, Question, new_run
from tests.unit.fake_puppet import FakePuppet
from tests.unit.processes import LIMIT_S
from tests.unit.records import OTHER, RUN, STARTED, finished
from tests.unit.reports import SUMMARY, report
from twitch.messages import STARTED as RUN_STARTED
from twitch.messages import Run
from twitch.record_files import KEEP_RUNS
from twitch.records import QUEUED, Left
from twitch.root import conclude, journal, unit
from twitch.root.claims import Claim
from twitch.root.error_text import Entry
from twitch.root.node import Node
from twitch.root.process import start_time

Events = list[dict[str, Any]]


# ---- what a run has left running


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[Left]:
    """Return the processes that are left in the unit of the run."""
    processes = [Left("apt-get", 40, 125)]
    monkeypatch.setattr(unit, "left_running", lambda: tuple(processes))
    return processes


def test_reason_of_a_run_that_was_stopped_names_what_goes_on(
    root_node: Node, puppet: FakePuppet, events: Events, left: list[Left]
) -> None:
    puppet.report.write_text(report(job_id=RUN, status="failed", completed=False))
    record = end(root_node, "0")
    stopped = "Puppet was told to stop before it was done; still running: apt-get (pid 40, 2m 5s)"
    assert (record.verdict, record.reason) == ("interrupted", stopped)
    assert record.left_running == (Left("apt-get", 40, 125),)
    left += [Left("sleep", pid, 1) for pid in range(41, 47)]
    record = end(root_node, "TERM", "killed")
    assert record.reason is not None and record.reason.endswith("sleep (pid 44, 1s) and 2 more")
    assert record.left_running is not None and len(record.left_running) == 7


@pytest.mark.parametrize(("status", "exit_status"), [("changed", "2"), ("failed", "4")])
def test_run_that_went_to_its_end_names_no_process(
    root_node: Node, puppet: FakePuppet, events: Events, left: list[Left], status: str, exit_status: str
) -> None:
    puppet.report.write_text(report(job_id=RUN, status=status))  # a daemon that was started on purpose
    record = end(root_node, exit_status)
    assert (record.left_running, "still running" in str(record.reason)) == (None, False)


# ---- the claim, and the records of earlier runs


def test_conclude_ends_the_claim_of_its_run_and_not_the_queued_one(root_node: Node, events: Events) -> None:
    queued = Claim(OTHER, os.getpid(), start_time(os.getpid()) or 0)
    root_node.store.claims.write_queued(queued)
    begun(root_node, OTHER, QUEUED)
    end(root_node)
    current = root_node.store.claims.current()
    assert current is not None and current.ended is not None
    assert root_node.store.claims.queued() == queued


def test_conclude_leaves_the_claim_of_a_later_run(root_node: Node, events: Events) -> None:
    record = begin(root_node)
    later = Claim(OTHER, 1, 1)
    root_node.store.claims.write_current(later)
    conclude.conclude(root_node.store, record, "exited", "0")
    assert root_node.store.claims.current() == later


def test_conclude_prunes_old_runs(root_node: Node, events: Events) -> None:
    for number in range(60):
        root_node.store.write(finished("changed", f"{number:032x}", asked=float(number)))
    end(root_node)
    conclude.tidy(root_node.store)
    assert len(root_node.store.newest()) == KEEP_RUNS


# ---- the record and the event


GENFAIL = Entry("err", "/Stage[main]/Main/Genfail[x]", "cannot list what is there")
FACTER = Entry("err", "Facter", "not installed here")


def test_error_of_a_failed_run_is_that_of_its_report(
    root_node: Node, puppet: FakePuppet, logged: list[Entry], events: Events
) -> None:
    logged.append(FACTER)  # the journal is not asked
    puppet.report.write_text(report(job_id=RUN, status="failed", failed=("Exec[-x]",)))
    record = end(root_node, "4")
    assert (record.verdict, record.reason, record.error) == ("failed", "Exec[-x]", "a message failed: true")


def test_error_of_a_good_run_is_not_recorded(
    root_node: Node, puppet: FakePuppet, logged: list[Entry], events: Events
) -> None:
    puppet.report.write_text(report(job_id=RUN))
    assert end(root_node, "2").error is None
    puppet.report.unlink()
    puppet.summary.write_text(SUMMARY)
    logged.append(FACTER)
    record = end(root_node, "2")
    assert (record.verdict, record.unreported, record.error) == ("changed", True, None)


@pytest.mark.parametrize("exit_status", ["0", "2"])
def test_resource_that_cannot_generate_others_fails_a_run_without_a_report(
    root_node: Node, puppet: FakePuppet, logged: list[Entry], exit_status: str, events: Events
) -> None:
    puppet.summary.write_text(SUMMARY)
    logged += [FACTER, GENFAIL, Entry("err", "Puppet", "Could not send report")]
    record = end(root_node, exit_status)
    assert (record.verdict, record.unreported) == ("failed", True)
    assert record.reason == "error of /Stage[main]/Main/Genfail[x]"
    assert record.error == "cannot list what is there"


def test_reason_that_was_noted_before_is_kept(root_node: Node, events: Events) -> None:
    record = end(root_node, "1", reason="/usr/bin/puppet cannot be executed: Exec format error")
    assert record.reason == "/usr/bin/puppet cannot be executed: Exec format error"


def test_run_that_is_stopped_in_the_queue_is_not_attempted(root_node: Node, events: Events) -> None:
    record = end(root_node, "TERM", "killed", state=QUEUED, started=None)
    assert (record.verdict, record.reason) == ("not attempted", "stopped while it waited in the queue")
    assert record.duration_s is None


def test_clock_that_was_set_back_gives_no_negative_duration(root_node: Node, events: Events) -> None:
    assert end(root_node, "1", started=time.time() + 7200).duration_s == 0


def test_event_of_a_failed_run_is_one_warning(root_node: Node, puppet: FakePuppet, events: Events) -> None:
    puppet.report.write_text(report(job_id=RUN, status="failed", failed=("Exec[-x]",)))
    end(root_node, "4")
    [event] = events
    assert event.pop("duration_s") > 0
    assert event == {
        "message_id": journal.ENDED,
        "message": f"run {RUN} of token:deploy: failed: Exec[-x]",
        "priority": journal.WARNING,
        "run": RUN,
        "caller": "token:deploy",
        "client": "192.0.2.7",
        "verdict": "failed",
        "reason": "Exec[-x]",
        "exit_status": "4",
        "changed": 3,
        "failed": 1,
        "would_change": None,
        "label": None,
    }


def test_event_of_a_good_run_is_a_notice(root_node: Node, puppet: FakePuppet, events: Events) -> None:
    puppet.report.write_text(report(job_id=RUN))
    end(root_node, "2")
    message = f"run {RUN} of token:deploy: changed"
    assert (events[0]["priority"], events[0]["message"]) == (journal.NOTICE, message)


# ---- masterless


def test_report_of_a_masterless_run_is_moved_to_its_usual_place(
    root_node: Node, puppet: FakePuppet, events: Events
) -> None:
    written = Path(root_node.report_path(RUN))
    written.write_text(report(job_id=""))
    written.chmod(0o640)  # as Puppet makes it
    assert end(root_node, "2", command="apply", report=root_node.report_path(RUN)).verdict == "changed"
    assert puppet.report.read_text() == report(job_id="")
    assert puppet.report.stat().st_mode & 0o777 == 0o640
    assert not os.path.exists(root_node.report_path(RUN))


def test_report_of_a_masterless_run_is_not_written_through_a_link(
    root_node: Node, puppet: FakePuppet, tmp_path: Path, events: Events
) -> None:
    # Puppet's directories may belong to another user, who must not choose what root writes to.
    target = tmp_path / "target"
    target.write_text("untouched")
    puppet.report.with_name(f"{puppet.report.name}.puppet-twitch").symlink_to(target)
    puppet.report.symlink_to(target)
    Path(root_node.report_path(RUN)).write_text(report(job_id=""))
    assert end(root_node, "2", command="apply", report=root_node.report_path(RUN)).verdict == "changed"
    assert target.read_text() == "untouched"
    assert not puppet.report.is_symlink() and puppet.report.read_text() == report(job_id="")


@pytest.mark.parametrize("place", ["gone/last_run_report.yaml", "puppet.conf/last_run_report.yaml", ""])
def test_verdict_does_not_depend_on_the_usual_place_of_the_report(
    root_node: Node, puppet: FakePuppet, place: str, events: Events
) -> None:
    settings = root_node.settings._replace(lastrunreport=os.fspath(puppet.directory / place))
    Path(root_node.report_path(RUN)).write_text(report(job_id=""))
    report_path = root_node.report_path(RUN)
    record = end(root_node, "2", command="apply", settings=settings._asdict(), report=report_path)
    assert (record.state, record.verdict) == ("finished", "changed")
    assert not list(puppet.directory.parent.rglob("*.puppet-twitch"))


def test_report_of_a_masterless_run_stays_until_its_verdict_is_written(
    root_node: Node, puppet: FakePuppet, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    Path(root_node.report_path(RUN)).write_text(report(job_id=""))
    record = begin(root_node, command="apply", report=root_node.report_path(RUN))
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(root_node.store, "write", full)
        conclude.conclude(root_node.store, record, "exited", "2")
    conclude.conclude(root_node.store, record, "", "")
    assert read(root_node.store).verdict == "changed"


def test_report_of_a_masterless_run_that_version_1_0_0_has_begun(
    root_node: Node, puppet: FakePuppet, events: Events
) -> None:
    Path(root_node.store.report_path(RUN)).write_text(report(job_id=""))
    assert end(root_node, "2", command="apply").verdict == "changed"
    assert puppet.report.read_text() == report(job_id="")


def test_masterless_run_without_a_report_is_not_attempted(
    root_node: Node, puppet: FakePuppet, events: Events
) -> None:
    assert end(root_node, "1", command="apply").verdict == "not attempted"
    assert not puppet.report.exists()


# ---- with real processes


def test_run_from_its_beginning_to_its_end(node: FakeNode) -> None:
    question = Question(node, Run("anonymous", "192.0.2.7"), run=RUN)
    assert question.answer().kind == RUN_STARTED
    assert question.end() == 0
    node.puppet.report.write_text(report(job_id=RUN))
    node.conclude(RUN, status="2")
    record = read(node.store)
    assert (record.state, record.verdict) == ("finished", "changed")
    _, ended = node.events()
    assert ended["MESSAGE_ID"] == journal.ENDED
    assert (ended["PRIORITY"], ended["TWITCH_VERDICT"], ended["TWITCH_CHANGED"]) == ("5", "changed", "3")
    node.conclude(RUN)  # once more: there is nothing left to do
    assert (node.store.read(RUN), node.events()) == (record, [])


def test_connection_of_a_run_ends_when_its_verdict_is_on_record(node: FakeNode) -> None:
    question = Question(node, Run("anonymous", "192.0.2.7"), run=RUN)
    assert question.answer().kind == RUN_STARTED
    assert question.process.wait(LIMIT_S) == 0
    assert select.select([question.peer], [], [], 0) == ([], [], [])
    node.conclude(RUN, status="2", stdin=question.unit_end.fileno())
    assert question.at_end()  # although systemd has the connection until the unit is gone
    assert read(node.store).state == "finished"
    question.end()


@pytest.mark.parametrize("run", ["", new_run(7), "../current"])
def test_conclude_without_a_record_does_nothing(node: FakeNode, run: str) -> None:
    node.conclude(run)
    assert node.events() == []


# The options of a run that version 1.0.0 has begun; an upgrade replaces the code under it.
BEGUN_BY_1_0_0 = {"noop": False, "tags": [], "environment": None}


@pytest.mark.parametrize(
    ("state", "started", "exit_status", "verdict"),
    [("running", STARTED, "2", "changed"), ("queued", None, "TERM", "not attempted")],
)
def test_run_that_version_1_0_0_has_begun_is_concluded(
    node: FakeNode, state: str, started: object, exit_status: str, verdict: str
) -> None:
    os.mkdir(node.store.directory)
    fields = {
        **{"run": RUN, "state": state, "asked": STARTED, "started": started, "caller": "anonymous"},
        **{"client": "192.0.2.7", "options": BEGUN_BY_1_0_0, "command": "agent"},
        **{"settings": node.puppet.settings._asdict()},
    }
    Path(node.store.path(RUN)).write_text(json.dumps(fields))
    Path(node.store.directory, f"{RUN}.jsonl").write_text("{}")
    node.store.prepare(TWITCH_GID)  # by a handler of this version that has been asked meanwhile
    claim = {"run": RUN, "pid": 1, "start": 1, "options": BEGUN_BY_1_0_0, "ended": None, "named": False}
    node.run.joinpath("puppet-twitch/current.json").write_text(json.dumps(claim))
    node.puppet.report.write_text(report(job_id=RUN))
    node.conclude(RUN, status=exit_status)
    record = read(node.store)
    assert (record.state, record.verdict, record.caller) == ("finished", verdict, "anonymous")
    current = node.store.claims.current()
    assert current is not None and current.ended is not None
    assert os.listdir(node.store.directory) == []
    assert os.listdir(node.store.history) == [f"{RUN}.json"]
