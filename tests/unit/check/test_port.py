"""The process that has the port: systemd, or somebody else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Optional

import pytest

from twitch.check import port, systemd
from twitch.check.findings import FAULT, Finding

OURS = 'LISTEN 0 4096 *:2023 *:* users:(("python3",pid=77,fd=3),("systemd",pid=1,fd=43))'


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines that `ss` prints, to be filled by a test."""
    lines: list[str] = []

    def output(command: Sequence[str]) -> Optional[str]:
        return "\n".join(lines) if command[-1] == "sport = :2023" else None

    monkeypatch.setattr(systemd, "output", output)
    monkeypatch.setattr(systemd, "unit_of", lambda pid: "x.service")
    monkeypatch.setattr(systemd, "is_main", lambda pid: pid == 12345)
    monkeypatch.setattr(systemd, "end_command", lambda pid: f"end {pid}")
    monkeypatch.setattr(systemd, "show", lambda *_: "[::]:2023 (Stream) 192.0.2.1:2023 (Stream)")
    return lines


def test_a_port_of_systemd_is_no_finding(sockets: list[str]) -> None:
    assert list(port.check()) == []
    sockets.append(OURS)
    assert list(port.check()) == []


def test_a_port_of_another_process_is_a_fault(sockets: list[str]) -> None:
    pid = os.getpid()
    sockets += [OURS, f'LISTEN 0 128 127.0.0.1:2023 0.0.0.0:* users:(("nc",pid={pid},fd=4))']
    text = (
        f"process {pid} (nc, user root) has opened 127.0.0.1:2023, not systemd, "
        "so it reads tokens that are sent there; it is in x.service"
    )
    fix = f"end {pid}; systemctl restart puppet-twitch.socket"
    assert list(port.check()) == [Finding(FAULT, text, fix)]


def test_a_process_that_has_ended_meanwhile_has_no_user(sockets: list[str]) -> None:
    sockets.append('LISTEN 0 128 127.0.0.1:2023 0.0.0.0:* users:(("nc",pid=99999999,fd=4))')
    (fault,) = port.check()
    assert "(nc, user unknown)" in fault.text


def test_the_main_process_is_named_not_its_worker(sockets: list[str]) -> None:
    users = '(("nginx",pid=12346,fd=5),("nginx",pid=12345,fd=5))'
    sockets.append(f"LISTEN 0 128 0.0.0.0:2023 0.0.0.0:* users:{users}")
    (fault,) = port.check()
    assert fault.text.startswith("process 12345 (nginx, ")
    assert fault.fix.startswith("end 12345; ")
