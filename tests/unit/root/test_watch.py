"""What is kept up to date when nobody asks: the runs that Puppet has started itself, and the textfile."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Callable

import pytest

from tests.unit.fake_puppet import FakePuppet
from tests.unit.processes import dead, live
from tests.unit.records import OTHER, RUN, finished, record
from tests.unit.reports import BEGAN, report
from twitch import metrics
from twitch.errors import PuppetError
from twitch.records import FINISHED, PUPPET, Record
from twitch.root import counts, figures, history, memory, watch
from twitch.root.claims import Claim
from twitch.root.node import Node
from twitch.root.process import start_time
from twitch.root.store import Store

UUID = "51308328-235e-43b6-9328-3018b87af00a"  # of the report
PUPPETS_OWN = UUID.replace("-", "")


class Watched:
    """A node, the textfile, and the command that a change of the node starts."""

    def __init__(self, node: Node, puppet: FakePuppet, textfile: Path) -> None:
        self.node, self.puppet, self.textfile = node, puppet, textfile

    @property
    def store(self) -> Store:
        return self.node.store

    def recorded(self) -> list[str]:
        return sorted(found.run for found in self.store.newest() if found.state == FINISHED)

    def fire(self) -> str:
        watch.main()
        return self.textfile.read_text()


@pytest.fixture
def watched(root_node: Node, puppet: FakePuppet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    textfile = tmp_path / "textfiles" / "puppet-twitch.prom"
    textfile.parent.mkdir()
    monkeypatch.setattr(watch, "TEXTFILE", os.fspath(textfile))
    monkeypatch.setattr(watch, "Store", lambda: root_node.store)
    monkeypatch.setattr(watch, "Node", lambda own: root_node)
    monkeypatch.setattr(memory, "limit", lambda: None)
    return Watched(root_node, puppet, textfile)


# ---- runs that Puppet has started itself


def test_run_of_puppet_is_put_on_record_once(watched: Watched) -> None:
    watched.puppet.report.write_text(report(job_id="", status="failed", failed=("Exec[-x]",)))
    for _ in range(3):
        watched.fire()
    assert watched.recorded() == [PUPPETS_OWN]
    found = watched.store.read(PUPPETS_OWN)
    assert found is not None
    assert (found.started_by, found.verdict, found.started, found.ended) == (
        PUPPET,
        "failed",
        BEGAN,
        BEGAN + 2.25,
    )
    assert (found.transaction_uuid, found.caller) == (UUID, "")


def test_job_id_of_another_tool_is_no_run_of_ours(watched: Watched) -> None:
    watched.puppet.report.write_text(report(job_id="4711"))
    watched.fire()
    assert watched.recorded() == [PUPPETS_OWN]


# How the node can know that a run was one of ours: the part of its state that names the run.
OURS: dict[str, Callable[[Store], None]] = {
    "record": lambda store: store.write(finished("changed")),
    "claim": lambda store: store.claims.write_current(Claim(RUN, dead(), 0, ended=BEGAN)),
    "report-of-apply": lambda store: store.write(finished("changed", OTHER, transaction_uuid=UUID)),
}


@pytest.mark.parametrize("known", OURS.values(), ids=OURS)
def test_run_of_ours_is_not_recorded_again(watched: Watched, known: Callable[[Store], None]) -> None:
    known(watched.store)
    before = watched.recorded()
    watched.puppet.report.write_text(report(job_id=RUN))
    watched.fire()
    assert watched.recorded() == before


def test_node_without_a_report_has_nothing_to_record(watched: Watched) -> None:
    watched.fire()
    watched.puppet.report.write_text("status: nonsense\n")
    watched.fire()
    assert watched.recorded() == []


def test_history_that_cannot_be_written_costs_the_record_only(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(watched.store.state).write_text("")
    watched.puppet.report.write_text(report(job_id=""))
    assert "puppet_agent_last_run_success 1\n" in watched.fire()
    assert "cannot be put on record" in capsys.readouterr().err


@pytest.mark.parametrize(("keep", "size"), [(60, 2**30), (3, 2**30), (60, 1)])
def test_run_of_puppet_keeps_as_many_runs_as_the_configuration_says(
    watched: Watched, keep: int, size: int
) -> None:
    watched.node.config = watched.node.config._replace(keep_runs=keep, keep_bytes=size)
    for number in range(55):  # more than the defaults keep
        history.add(
            watched.store, finished("changed", f"{number:032x}", asked=float(number)), os.getgid(), 100, 2**30
        )
    watched.puppet.report.write_text(report(job_id=""))
    watched.fire()
    assert len(watched.recorded()) == (1 if size == 1 else min(keep, 56))
    assert PUPPETS_OWN in watched.recorded()


def test_report_from_the_future_is_not_put_on_record(watched: Watched) -> None:
    # It would be the last run of the node for good.
    watched.puppet.report.write_text(report(job_id="").replace("time: '2026-", "time: '2099-"))
    watched.fire()
    assert watched.recorded() == []


def test_last_success_is_that_of_puppets_own_run(watched: Watched) -> None:
    watched.puppet.report.write_text(report(job_id=""))
    watched.fire()
    assert counts.read(watched.store).last_success == BEGAN + 2.25
    assert counts.read(watched.store).runs == {}  # puppet-twitch was not asked for it


# ---- the textfile


def test_textfile_has_no_state(watched: Watched) -> None:
    text = watched.fire()
    assert "puppet_agent_collect_success 1\n" in text
    assert "puppet_agent_state" not in text


def test_textfile_is_not_written_without_its_directory(watched: Watched) -> None:
    watched.textfile.parent.rmdir()
    watch.main()
    assert not watched.textfile.parent.exists()


def test_textfile_that_cannot_be_written_is_no_failure(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    watched.textfile.mkdir()
    watch.main()
    assert "cannot be written: Is a directory" in capsys.readouterr().err


def test_link_of_another_user_does_not_lead_the_textfile_elsewhere(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # User prometheus owns the directory above in Debian.
    theirs, elsewhere = tmp_path / "prometheus", tmp_path / "elsewhere"
    theirs.mkdir()
    elsewhere.mkdir()
    theirs.chmod(0o777)
    (theirs / "node-exporter").symlink_to(elsewhere)
    monkeypatch.setattr(watch, "TEXTFILE", os.fspath(theirs / "node-exporter" / "puppet-twitch.prom"))
    watch.main()
    assert os.listdir(elsewhere) == []
    assert "node-exporter/puppet-twitch.prom cannot be written: " in capsys.readouterr().err


def test_textfile_says_that_puppet_cannot_be_read(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(own: Store) -> Node:
        raise PuppetError("no puppet")

    monkeypatch.setattr(watch, "Node", missing)
    assert watched.fire() == metrics.text(None)
    assert capsys.readouterr().err == "<4>Puppet cannot be read: no puppet\n"


def test_change_while_it_looks_is_seen(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    look = figures.look

    def disabled_meanwhile(node: Node) -> metrics.Figures:
        found = look(node)
        looks.append(found.enabled)
        if found.enabled:
            watched.puppet.disabled.write_text("{}")
        return found

    monkeypatch.setattr(figures, "look", disabled_meanwhile)
    assert "puppet_agent_enabled 0\n" in watched.fire()
    assert looks == [True, False]


# ---- the end of a run of ours


def test_verdict_that_is_about_to_be_written_is_awaited(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.store.prepare(0)
    watched.store.write(record())
    watched.store.claims.write_current(Claim(RUN, dead(), 0))

    def conclude(seconds: float) -> None:
        counts.add(watched.store, finished("changed"))
        watched.store.write(finished("changed"))
        watched.store.claims.release(RUN, BEGAN)

    monkeypatch.setattr(time, "sleep", conclude)
    assert 'puppet_twitch_runs_total{verdict="changed"} 1\n' in watched.fire()


def test_run_that_has_its_lock_is_under_way(watched: Watched, tmp_path: Path) -> None:
    with live(tmp_path, "puppet-x") as pid:
        watched.store.write(record())
        watched.store.claims.write_current(Claim(RUN, pid, start_time(pid) or 0))
        watched.puppet.lock.write_text(str(pid))
        assert "puppet_agent_run_started_timestamp_seconds 1769072699\n" in watched.fire()


def test_verdict_that_does_not_come_is_not_awaited_for_long(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "VERDICT_S", 0)
    watched.store.write(record())
    watched.store.claims.write_current(Claim(RUN, dead(), 0))
    watched.fire()
    found: Record = watched.store.newest()[0]
    assert found.verdict is None  # root writes it when it is next asked
