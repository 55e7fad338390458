"""What Puppet has left of a run: which report, summary, lock and error is that of the run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.unit.concluding import begin, end, read
from tests.unit.fake_puppet import FakePuppet
from tests.unit.processes import live
from tests.unit.records import OTHER, RUN, STARTED
from tests.unit.reports import SUMMARY, report
from twitch.records import Options, outcome
from twitch.root import conclude, verdict
from twitch.root.error_text import Entry
from twitch.root.node import Node

Events = list[dict[str, Any]]


# ---- whose report is it?


def test_report_with_the_job_id_of_the_run_decides(
    root_node: Node, puppet: FakePuppet, events: Events
) -> None:
    puppet.report.write_text(report(job_id=RUN, noop=True, noop_pending=True, environment="staging"))
    record = end(root_node, "2")
    assert (record.state, record.verdict, record.reason) == ("finished", "changed", None)
    assert (record.noop, record.noop_pending, record.environment) == (True, True, "staging")
    assert record.would_change == 1  # of four out of sync, three have changed (`noop => false`)
    assert events[-1]["message"] == f"run {RUN} of token:deploy: changed; noop; 1 would change"
    assert (events[-1]["verdict"], events[-1]["would_change"]) == ("changed", 1)
    assert record.counts is not None
    assert (record.counts["changed"], record.cached_catalog_status) == (3, "not_used")
    assert (record.unreported, record.exit_status, record.failed_resources) == (False, "2", ())
    assert (record.settings, record.command) == ({}, None)


def test_report_of_another_run_since_the_start_means_busy(
    root_node: Node, puppet: FakePuppet, events: Events
) -> None:
    puppet.report.write_text(report(job_id=OTHER))
    assert end(root_node, "1").verdict == "busy"


def test_report_of_an_earlier_run_is_ignored(root_node: Node, puppet: FakePuppet, events: Events) -> None:
    puppet.report.write_text(report(job_id=OTHER))
    os.utime(puppet.report, (STARTED - 60, STARTED - 60))
    record = end(root_node, "1")
    assert (record.verdict, record.reason) == ("not attempted", "Puppet exited with 1 before its run began")


def test_report_that_is_cut_short_leaves_the_run_unreported(
    root_node: Node, puppet: FakePuppet, events: Events
) -> None:
    puppet.report.write_text(report(job_id=RUN)[:40])
    record = end(root_node, "2")
    assert (record.verdict, record.unreported) == ("changed", True)
    assert record.reason == "its report is missing or not whole"


def test_summary_decides_where_no_reports_are_kept(
    root_node: Node, puppet: FakePuppet, events: Events
) -> None:
    puppet.summary.write_text(SUMMARY)
    record = end(root_node, "2")
    assert (record.verdict, record.unreported) == ("changed", True)
    assert record.counts is not None and record.counts["changed"] == 1
    assert (record.environment, record.noop) == ("staging", None)
    assert events[-1]["changed"] == 1
    assert end(root_node, "0", options=Options(noop=True)).noop is True
    pending = SUMMARY.replace("out_of_sync: 1\n", "out_of_sync: 4\n")
    puppet.summary.write_text(pending.replace("events:\n", "events:\n  noop: 5\n"))
    noop = end(root_node, "0", options=Options(noop=True))
    assert outcome(noop) == "unchanged; noop; 3 would change; unreported"


def test_summary_of_an_earlier_run_is_ignored(root_node: Node, puppet: FakePuppet, events: Events) -> None:
    puppet.summary.write_text(SUMMARY)
    assert end(root_node, "1", started=STARTED + 3600).verdict == "not attempted"


def test_summary_without_the_time_of_its_run_is_ignored(
    root_node: Node, puppet: FakePuppet, events: Events
) -> None:
    puppet.summary.write_text(SUMMARY.replace("  last_run: 1769072702\n", ""))
    assert end(root_node, "1").verdict == "not attempted"


def test_another_puppet_that_still_holds_the_lock_means_busy(
    root_node: Node, puppet: FakePuppet, tmp_path: Path, events: Events
) -> None:
    with live(tmp_path, "puppet-x") as pid:
        puppet.lock.write_text(str(pid))
        assert end(root_node, "1").verdict == "busy"


def test_agent_that_was_disabled_meanwhile_means_not_attempted(
    root_node: Node, puppet: FakePuppet, events: Events
) -> None:
    puppet.disabled.write_text('{"disabled_message":"maintenance"}')
    record = end(root_node, "1")
    assert (record.verdict, record.reason) == ("not attempted", "Puppet disabled: maintenance")


LOCKS = {
    "of-this-run": ("{pid}", "agent", "interrupted"),
    "none": (None, "agent", "not attempted"),
    "stale-of-another": ("4194304", "agent", "not attempted"),
    "held-by-another": ("{other}", "agent", "interrupted"),
    "none-for-apply": (None, "apply", "interrupted"),
}


@pytest.mark.parametrize(("content", "command", "word"), LOCKS.values(), ids=LOCKS)
def test_killed_run_has_begun_if_its_lock_is_left(
    root_node: Node,
    puppet: FakePuppet,
    tmp_path: Path,
    events: Events,
    content: Optional[str],
    command: str,
    word: str,
) -> None:
    record = begin(root_node, command=command)
    claim = root_node.store.claims.current()
    assert claim is not None
    with live(tmp_path, "puppet-x") as other:
        if content:
            puppet.lock.write_text(content.format(pid=claim.pid, other=other))
        conclude.conclude(root_node.store, record, "killed", "KILL")
    assert read(root_node.store).verdict == word


def test_killed_run_with_a_lock_that_cannot_be_read(
    root_node: Node, puppet: FakePuppet, events: Events
) -> None:
    os.mkfifo(puppet.lock)
    assert end(root_node, "KILL", "killed").verdict == "interrupted"


def test_run_of_a_version_with_fewer_settings_is_concluded(root_node: Node, events: Events) -> None:
    assert end(root_node, "1", settings={}).verdict == "not attempted"


# ---- errors in the journal, and certificates


def test_agent_that_failed_under_its_lock_without_a_report_has_failed(
    root_node: Node, puppet: FakePuppet, logged: list[Entry], events: Events
) -> None:
    logged.append(Entry("err", "Puppet", "no functional server"))
    os.utime(puppet.directory, (STARTED - 60, STARTED - 60))
    record = end(root_node, "1")
    assert (record.verdict, record.error) == ("not attempted", "no functional server")
    puppet.lock.touch()
    puppet.lock.unlink()
    record = end(root_node, "1")
    assert (record.verdict, record.reason, record.unreported) == ("failed", "no catalog was applied", False)


def test_masterless_run_that_does_not_compile_has_failed(
    root_node: Node, logged: list[Entry], events: Events
) -> None:
    logged.append(Entry("err", "Puppet", "Unknown resource type"))
    record = end(root_node, "1", command="apply")
    assert (record.verdict, record.reason) == ("failed", "no catalog was applied")
    assert record.error == "Unknown resource type"


def test_node_without_a_signed_certificate_is_named(
    root_node: Node, puppet: FakePuppet, tmp_path: Path, events: Events
) -> None:
    hostcert = tmp_path / "node.pem"
    settings = {**root_node.settings._asdict(), "hostcert": os.fspath(hostcert), "certname": "node.example"}
    record = end(root_node, "1", settings=settings)
    assert record.verdict == "not attempted"
    assert str(record.reason).endswith(": puppetserver ca sign --certname node.example")
    settings["localcacert"] = os.fspath(tmp_path / "ca.pem")
    assert end(root_node, "1", settings=settings).reason == verdict.NO_CA
    (tmp_path / "ca.pem").touch()
    assert end(root_node, "1", settings=settings).reason == record.reason
    (tmp_path / "ca.pem").unlink()
    hostcert.touch()
    assert end(root_node, "1", settings=settings).reason == "Puppet exited with 1 before its run began"
    hostcert.unlink()
    reason = end(root_node, "1", settings=settings, command="apply").reason
    assert reason == "Puppet exited with 1 before its run began"  # no server knows of it
