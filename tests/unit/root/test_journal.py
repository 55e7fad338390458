"""An event never keeps a run from beginning, be journald gone, deaf, or in the best of health."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]

SEND = "from twitch.root import journal; journal.event(journal.ASKED, 'a message', run='x' * 32)"


def send(directory: Path) -> subprocess.CompletedProcess[str]:
    """Send an event in a mount namespace where this directory is /run/systemd/journal."""
    where = "/run/systemd/journal"
    script = f'mkdir -p {where} && mount --bind "$0" {where} && exec "$1" -c "$2"'
    return subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            f"mount -t tmpfs tmpfs /run && {script}",
            directory,
            sys.executable,
            SEND,
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def journald(tmp_path: Path, root: None) -> socket.socket:
    """Return a socket where journald's would be."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(os.fspath(tmp_path / "socket"))
    return listening


def test_an_event_arrives(journald: socket.socket, tmp_path: Path) -> None:
    assert send(tmp_path).returncode == 0
    sent = journald.recv(65536)
    assert b"MESSAGE=a message\n" in sent
    assert b"TWITCH_RUN=" + b"x" * 32 in sent


def test_without_journald_nothing_fails(tmp_path: Path, root: None) -> None:
    assert send(tmp_path).returncode == 0


def test_a_journald_that_does_not_listen_is_not_waited_for(journald: socket.socket, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as noise:
        noise.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                noise.sendto(b"noise", os.fspath(tmp_path / "socket"))
    done = send(tmp_path)
    assert done.returncode == 0
    assert "a message" in done.stderr
