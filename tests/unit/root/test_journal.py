"""An event never delays a run for long: with journald running, stopped, or not reading."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.processes import LIMIT_S
from twitch.root import journal

REPOSITORY = Path(__file__).resolve().parents[3]

SEND = "from twitch.root import journal; journal.event(journal.ASKED, 'a message', run='x' * 32)"


def send(directory: Path, code: str = SEND) -> subprocess.CompletedProcess[str]:
    """Write an event in a mount namespace where this directory is /run/systemd/journal."""
    path = "/run/systemd/journal"
    script = f'mkdir -p {path} && mount --bind "$0" {path} && exec "$1" -c "$2"'
    return subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            f"mount -t tmpfs tmpfs /run && {script}",
            directory,
            sys.executable,
            code,
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


@pytest.fixture
def journald(tmp_path: Path, root: None) -> socket.socket:
    """Return a socket in the place of journald's."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.settimeout(LIMIT_S)
    listening.bind(os.fspath(tmp_path / "socket"))
    return listening


def test_event_arrives_in_the_journal(journald: socket.socket, tmp_path: Path) -> None:
    assert send(tmp_path).returncode == 0
    entry = journald.recv(65536)
    assert b"MESSAGE=a message\n" in entry
    assert b"TWITCH_RUN=" + b"x" * 32 in entry


def test_value_of_an_event_cannot_add_a_field(journald: socket.socket, tmp_path: Path) -> None:
    values = r"reason='x\nTWITCH_RUN=y\r\x1b\u2028', options='\udcff', duration_s=1.25"
    forged = f"from twitch.root import journal; journal.event(journal.ENDED, 'a\\nPRIORITY=0', {values})"
    assert send(tmp_path, forged).returncode == 0
    assert journald.recv(65536).decode().splitlines() == [
        r"MESSAGE=a\nPRIORITY=0",
        f"MESSAGE_ID={journal.ENDED}",
        "PRIORITY=5",
        "SYSLOG_IDENTIFIER=puppet-twitch",
        r"TWITCH_REASON=x\nTWITCH_RUN=y\r\x1b\u2028",
        "TWITCH_OPTIONS=?",
        "TWITCH_DURATION_S=1.2",
    ]


def test_event_without_journald_is_no_error(tmp_path: Path, root: None) -> None:
    done = send(tmp_path)
    assert done.returncode == 0
    assert "a message" in done.stderr


def test_event_does_not_wait_for_a_full_journald(journald: socket.socket, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as noise:
        noise.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                noise.sendto(b"noise", os.fspath(tmp_path / "socket"))
    done = send(tmp_path)
    assert done.returncode == 0
    assert "a message" in done.stderr
