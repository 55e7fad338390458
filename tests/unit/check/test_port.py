"""The process that has the port: systemd, or somebody else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import pytest

from twitch.check import port, systemd
from twitch.check.findings import FAULT, Finding
from twitch.root import unit


class FakeSockets:
    """What `ss` prints, and the processes in /proc that have the sockets open."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        self.lines: list[str] = []

    def listen(self, address: str, *processes: tuple[int, str]) -> None:
        """Add a listening socket that these processes (pid and name) have open."""
        inode = 1000 + len(self.lines)
        self.lines.append(f"LISTEN 0 128 {address} 0.0.0.0:* ino:{inode} sk:19d9 cgroup:/ <->")
        for pid, name in processes:
            directory = self.proc / str(pid)
            (directory / "fd").mkdir(parents=True, exist_ok=True)
            (directory / "comm").write_bytes(os.fsencode(name) + b"\n")
            (directory / "fd" / str(inode)).symlink_to(f"socket:[{inode}]")
            (directory / "fd" / "0").unlink(missing_ok=True)
            (directory / "fd" / "0").symlink_to("/dev/null")


@pytest.fixture
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSockets:
    fake = FakeSockets(tmp_path)

    def output(command: Sequence[str]) -> Optional[str]:
        return "\n".join(fake.lines) if command[-1] == "sport = :2023" else None

    monkeypatch.setattr(port, "PROC", os.fspath(tmp_path))
    monkeypatch.setattr(unit, "COMM", f"{tmp_path}/{{}}/comm")
    monkeypatch.setattr(systemd, "output", output)
    monkeypatch.setattr(systemd, "unit_of", lambda pid: "x.service")
    monkeypatch.setattr(systemd, "is_main", lambda pid: pid == 12345)
    monkeypatch.setattr(systemd, "end_command", lambda pid: f"end {pid}")
    monkeypatch.setattr(systemd, "show", lambda *_: "[::]:2023 (Stream) 192.0.2.1:2023 (Stream)")
    return fake


def test_a_port_of_systemd_is_no_finding(sockets: FakeSockets) -> None:
    assert list(port.check()) == []
    sockets.listen("*:2023", (77, "python3"), (1, "systemd"))
    assert list(port.check()) == []


def test_a_port_of_another_process_is_a_fault(sockets: FakeSockets) -> None:
    pid = os.getpid()
    sockets.listen("*:2023", (77, "python3"), (1, "systemd"))
    sockets.listen("127.0.0.1:2023", (pid, "nc"))
    text = (
        f"process {pid} (nc, user root) has opened 127.0.0.1:2023, not systemd, "
        "so it reads tokens that are sent there; it is in x.service"
    )
    fix = f"end {pid}; systemctl restart puppet-twitch.socket"
    assert list(port.check()) == [Finding(FAULT, text, fix)]


def test_a_process_that_has_ended_meanwhile_has_no_user(sockets: FakeSockets) -> None:
    sockets.listen("127.0.0.1:2023", (99999999, "nc"))
    (fault,) = port.check()
    assert "(nc, user unknown)" in fault.text


def test_the_main_process_is_named_not_its_worker(sockets: FakeSockets) -> None:
    sockets.listen("0.0.0.0:2023", (12346, "nginx"), (12345, "nginx"))
    (fault,) = port.check()
    assert fault.text.startswith("process 12345 (nginx, ")
    assert fault.fix.startswith("end 12345; ")


@pytest.mark.parametrize("name", ['x",pid=1,', "x\nok    all is well", "\udcff\udcfe"])
def test_a_process_cannot_hide_behind_its_name(sockets: FakeSockets, name: str) -> None:
    sockets.listen("127.0.0.1:2023", (99999999, name))
    (fault,) = port.check()
    assert fault.fix == "end 99999999; systemctl restart puppet-twitch.socket"
    assert "\n" not in fault.text
