"""`make demo`: one machine that stays, is shown around, and goes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[1] / "lab" / "demo"


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DEMO, *arguments], capture_output=True, text=True, timeout=180)


@pytest.fixture(scope="module", autouse=True)
def stopped(lab: object) -> Iterator[None]:
    """Leave no machine behind, whatever a test finds."""
    yield
    assert demo("stop").returncode == 0


def test_shows_a_run_and_stays() -> None:
    shown = demo("start")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "Triggered puppet run" in shown.stdout
    assert demo("shell", "cat", "/etc/motd").stdout == "Puppet looks after this machine.\n"


def test_a_second_one_replaces_the_first() -> None:
    assert demo("shell", "touch", "/root/of-the-first").returncode == 0
    assert demo("start").returncode == 0
    assert demo("shell", "test", "-e", "/root/of-the-first").returncode == 1


def test_a_rebooted_machine_can_be_entered_again() -> None:
    def boot_id() -> str:
        return demo("shell", "cat", "/proc/sys/kernel/random/boot_id").stdout

    before = boot_id()
    demo("shell", "systemctl", "reboot")
    deadline = time.monotonic() + 60
    while boot_id() in (before, ""):
        assert time.monotonic() < deadline, "it does not come back"
        time.sleep(0.05)
    assert demo("shell", "cat", "/etc/motd").stdout == "Puppet looks after this machine.\n"


def test_stop_throws_it_away() -> None:
    assert demo("stop").returncode == 0
    gone = demo("shell", "true")
    assert (gone.returncode, gone.stderr) == (1, "demo: there is no demo machine: make demo\n")
    assert demo("stop").returncode == 0
