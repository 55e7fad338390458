"""`make demo`: a machine that shows a run, stays, and can be entered, rebooted and removed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[1] / "lab" / "demo"


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DEMO, *arguments], capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module", autouse=True)
def stopped(lab: object) -> Iterator[None]:
    """Leave no machine behind, even after a failure."""
    yield
    assert demo("stop").returncode == 0


def test_demo_shows_a_run_and_stays() -> None:
    start = demo("start")
    assert start.returncode == 0, start.stdout + start.stderr
    assert "Triggered puppet run" in start.stdout
    assert demo("shell", "cat", "/etc/motd").stdout == "Puppet looks after this machine.\n"


def test_second_demo_replaces_the_first() -> None:
    assert demo("shell", "touch", "/root/of-the-first").returncode == 0
    assert demo("start").returncode == 0
    assert demo("shell", "test", "-e", "/root/of-the-first").returncode == 1


def test_demo_machine_can_be_entered_after_a_reboot() -> None:
    def boot_id() -> str:
        return demo("shell", "cat", "/proc/sys/kernel/random/boot_id").stdout

    before = boot_id()
    demo("shell", "systemctl", "reboot")
    deadline = time.monotonic() + 180
    while boot_id() in (before, ""):
        assert time.monotonic() < deadline, "the machine does not come back"
        time.sleep(0.05)
    assert demo("shell", "cat", "/etc/motd").stdout == "Puppet looks after this machine.\n"


def test_demo_stop_removes_the_machine() -> None:
    assert demo("stop").returncode == 0
    shell = demo("shell", "true")
    assert (shell.returncode, shell.stderr) == (1, "demo: there is no demo machine: make demo\n")
    assert demo("stop").returncode == 0
