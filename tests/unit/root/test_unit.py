"""The unit of a run: its name, its status, the log level of journald, and the processes in it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.unit.processes import dead, live
from twitch.root import unit

NAME = "puppet-twitch-run@1-2-3.service"
GROUP = f"/system.slice/system-puppet\\x2dtwitch\\x2drun.slice/{NAME}"


@pytest.fixture
def in_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the control group of the unit in which this process seems to be."""
    (tmp_path / "self").write_text(f"1:name=systemd:/elsewhere\n0::{GROUP}\n")
    monkeypatch.setattr(unit, "CGROUP", f"{tmp_path}/{{}}")
    monkeypatch.setattr(unit, "CGROUPS", ("/nowhere", os.fspath(tmp_path)))
    monkeypatch.setattr(unit, "LOG_LEVELS", f"{tmp_path}/log-level-max:")
    group = tmp_path / GROUP.lstrip("/")
    group.mkdir(parents=True)
    return group


def test_name_of_the_unit_is_that_of_the_control_group(in_unit: Path, tmp_path: Path) -> None:
    (tmp_path / "17").write_text("0::/user.slice/user-0.slice/session-1.scope\n")
    assert unit.name() == NAME
    assert unit.name(17) is None
    assert unit.name(18) is None


def test_log_level_of_the_unit_is_lifted(in_unit: Path, tmp_path: Path) -> None:
    other = tmp_path / "log-level-max:other.service"
    for path in (tmp_path / f"log-level-max:{NAME}", other):
        path.symlink_to("5")
    unit.log_every_line()
    unit.log_every_line()  # without the link, for instance where the unit has no limit
    assert [path.name for path in tmp_path.glob("log-level-max:*")] == [other.name]


@pytest.mark.parametrize("form", ["{}/notify", "@{}/notify"], ids=["a path", "an abstract name"])
def test_status_is_told_to_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    address = form.format(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address.replace("@", "\0"))
        unit.tell("Puppet run 1")
        assert systemd.recv(100) == b"STATUS=Puppet run 1"


@pytest.mark.parametrize("address", ["", "/nowhere"])
def test_without_systemd_no_status_is_told(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    unit.tell("Puppet run 1")


def test_processes_that_a_run_has_left(in_unit: Path, tmp_path: Path) -> None:
    with live(tmp_path, "apt-get") as first, live(tmp_path, "dpkg") as second:
        pids = (second, os.getpid(), dead(), first)
        (in_unit / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
        assert [(left.name, left.pid) for left in unit.left_running()] == [
            ("apt-get", first),
            ("dpkg", second),
        ]
        assert all(0 <= left.age_s < 60 for left in unit.left_running())


def test_name_of_a_process_is_one_line(in_unit: Path, tmp_path: Path) -> None:
    with live(tmp_path, "x\nidle") as pid:
        (in_unit / "cgroup.procs").write_text(f"{pid}\n")
        (left,) = unit.left_running()
    assert left.name == "x\\nidle"


def test_no_process_is_left_where_no_unit_is(in_unit: Path, tmp_path: Path) -> None:
    assert unit.left_running() == ()  # the control group cannot be read
    (in_unit / "cgroup.procs").write_text(f"{os.getppid()}\n")
    (tmp_path / "self").write_text("0::/\n")
    assert unit.left_running() == ()
