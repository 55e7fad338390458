"""Room on the file systems where runs write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.check.levels import texts
from twitch import record_files
from twitch.check import space
from twitch.check.findings import FAULT, NOTE
from twitch.root.settings import Settings

MIB = 1024 * 1024


class Disk:
    """What statvfs(3) says of one file system, the same for all paths."""

    def __init__(self) -> None:
        self.f_bfree, self.f_frsize = 1024, 1024 * 1024
        self.f_files, self.f_ffree = 1000, 900
        self.f_flag = 0


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "statvfs", lambda path: disk)
    monkeypatch.setattr(record_files, "ROOT", f"{tmp_path}/run")
    monkeypatch.setattr(record_files, "HISTORY", f"{tmp_path}/var")
    return disk


def settings(directory: Path) -> Settings:
    state = f"{directory}/state"
    return Settings(
        agent_catalog_run_lockfile=f"{state}/run.lock",
        agent_disabled_lockfile=f"{state}/disabled.lock",
        config="",
        lastrunfile=f"{directory}/public/summary.yaml",
        lastrunreport=f"{state}/report.yaml",
        logdest="",
        runtimeout="1h",
    )


def test_room_is_no_finding(disk: Disk, tmp_path: Path) -> None:
    assert list(space.check(settings(tmp_path))) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param({"f_bfree": 0}, "is full: 0 KiB free, 64 KiB needed, so no run can start", id="full"),
        pytest.param({"f_ffree": 1}, "has no free inodes: 1 free, 8 needed, so no run", id="inodes"),
        pytest.param({"f_flag": os.ST_RDONLY}, "is read-only, so no run can start", id="read-only"),
    ],
)
def test_a_file_system_without_room_is_a_fault(
    disk: Disk, tmp_path: Path, change: dict[str, int], text: str
) -> None:
    vars(disk).update(change)
    findings = list(space.check(settings(tmp_path)))
    ours, puppets = texts(findings, FAULT)
    assert ours.startswith(f"the file system of {tmp_path}/run (mounted at /")
    assert text in ours
    assert "so Puppet cannot write its catalog and report" in puppets
    (history,) = texts(findings, NOTE)
    assert history.endswith("so the history of runs is not kept")
    assert all(finding.by_hand and "du -xah /" in finding.fix for finding in findings)


def test_a_file_system_without_a_number_of_inodes_has_enough(disk: Disk, tmp_path: Path) -> None:
    disk.f_files = disk.f_ffree = 0  # btrfs
    assert list(space.check(settings(tmp_path))) == []


def test_without_settings_only_our_own_places_are_looked_at(disk: Disk) -> None:
    disk.f_bfree = 0
    assert len(list(space.check(None))) == 2
