"""The lab itself, where other tests would not notice a fault: errors, names and disks, and nothing left over.

That machines boot, reach each other and run Puppet is what every other test in this directory shows.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import cgroups, network
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.machine import Machine

ENTER = Path(__file__).resolve().parents[1] / "lab" / "enter"


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Iterator[Machine]:
    """Boot a machine that no other test uses."""
    booted = lab.boot("extra", image="debian12")
    yield booted
    lab.discard(booted)


def test_failing_command_raises_with_its_output(machine: Machine) -> None:
    with pytest.raises(LabError) as caught:
        machine.sh("echo to stdout; echo to stderr >&2; exit 3")
    for part in ("extra", "exited 3", "to stdout", "to stderr"):
        assert part in str(caught.value)
    assert machine.sh("exit 3", check=False).returncode == 3


def test_killed_command_ends_in_the_machine_too(machine: Machine) -> None:
    with machine.popen("sh", "-c", "echo $$; exec sleep 1000") as command:
        assert command.stdout
        pid = int(command.stdout.readline())
        assert machine.read(f"/proc/{pid}/cmdline")
        command.kill()
    machine.wait(f"! test -e /proc/{pid}")
    with pytest.raises(LabError, match=r"still running after 0\.2 s"):
        machine.run("sleep", "1001", timeout_s=0.2)
    machine.wait("! pgrep -f 'sleep 100[1]'")


def test_command_belongs_to_no_unit(machine: Machine) -> None:
    # Tests select journal entries by unit: those of their own commands must not be among them.
    marker = uuid.uuid4().hex
    machine.run("logger", "-t", "lab", marker)
    (entry,) = machine.journal("-t", "lab", f"_HOSTNAME={machine.name}")
    assert (entry["MESSAGE"], entry["_UID"]) == (marker, "0")
    assert "_SYSTEMD_UNIT" not in entry


def test_reboot_keeps_the_disk_and_the_journal(machine: Machine) -> None:
    machine.write("/root/kept", "as it was\n")
    machine.write("/run/lost", "")
    machine.sh("logger -t before kept too")
    leader = machine.leader
    machine.reboot()
    assert machine.leader != leader
    assert machine.read("/root/kept") == "as it was\n"
    assert not machine.exists("/run/lost")
    assert [entry["MESSAGE"] for entry in machine.journal("-t", "before")] == ["kept too"]


def test_name_is_free_as_soon_as_its_machine_is_gone(lab: Lab) -> None:
    network.plug_in("gone", ["10.77.0.90"])
    # An open socket keeps the deleted namespace alive, as the kernel itself does for a while.
    with network.Netns("gone", ["10.77.0.90"]).open_socket():
        network.unplug("gone")
        network.plug_in("gone", ["10.77.0.90"])
    network.unplug("gone")


def test_name_is_free_after_a_failed_boot(lab: Lab) -> None:
    network.plug_in("demo", ["10.77.0.91"])
    with pytest.raises(LabError, match="exists"):
        lab.boot("demo", image="debian12")
    network.unplug("demo")
    lab.discard(lab.boot("demo", image="debian12"))


def test_kept_disk_is_the_beginning_of_many_machines(lab: Lab) -> None:
    first = lab.boot("demo", image="debian12")
    first.sh("echo first >/root/file; rm -r /opt /etc/motd; mkdir /opt; touch /opt/new")
    second = lab.boot("demo", image="debian12", disk=lab.keep(first))
    second.sh("echo second >/root/file")
    disk = lab.keep(second)
    for _ in range(2):
        machine = lab.boot("demo", image="debian12", disk=disk)
        assert machine.read("/root/file") == "second\n"
        assert machine.run("ls", "/opt").stdout == "new\n"
        assert not machine.exists("/etc/motd")
        machine.sh("echo third >/root/file; touch /opt/newer")
        lab.discard(machine)


def test_enter_passes_arguments_input_directory_and_exit_code(lab: Lab, tmp_path: Path) -> None:
    command = [os.fspath(ENTER), "sh", "-c", 'pwd; printf "%s|" "$@"; cat; exit 42', "sh", "a b", "", "c"]
    done = subprocess.run(command, input="input", capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stdout) == (42, f"{tmp_path}\na b||c|input")


# -- nothing is left: each of these is a second lab beside the one that runs the tests ----------

SECOND_LAB = """
import sys, time
from tests.lab.lab import Lab

with Lab() as lab:
    lab.boot("extra", image="debian12")
    print("up", flush=True)
    if sys.argv[1] == "exit":
        sys.exit(7)
    time.sleep(600)
"""
ENDINGS = {
    "exit": (None, 7),
    "Ctrl-C": (signal.SIGINT, 130),  # for every process in the terminal's foreground group
    "SIGTERM": (signal.SIGTERM, 143),
    "SIGKILL": (signal.SIGKILL, -signal.SIGKILL),
}


@pytest.mark.parametrize(("sent", "code"), ENDINGS.values(), ids=ENDINGS)
def test_nothing_is_left_of_a_lab(lab: Lab, sent: signal.Signals | None, code: int) -> None:
    before = surroundings()
    second = subprocess.Popen(
        [ENTER, sys.executable, "-c", SECOND_LAB, "stay" if sent else "exit"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ENTER.parents[2],
        start_new_session=True,
    )
    assert second.stdout
    assert second.stdout.readline() == "up\n"
    (group,) = surroundings()[0] - before[0]
    if sent is signal.SIGINT:
        os.killpg(second.pid, sent)
    elif sent:
        second.send_signal(sent)
    assert second.wait(60) == code
    if sent is signal.SIGKILL:
        # Nobody was left to remove the empty control group: the next lab does.
        await_empty(group)
        assert subprocess.run([ENTER, "true"], timeout=60).returncode == 0
    assert surroundings() == before


def surroundings() -> tuple[set[Path], str, set[str]]:
    """Return what a lab could leave behind: control groups, mounts, named networks."""
    groups = set(cgroups.own().glob(f"{cgroups.PREFIX}*"))
    mounts = subprocess.run(["findmnt", "-rno", "TARGET,FSTYPE"], capture_output=True, text=True, check=True)
    # /run/mount is libmount's own, from the first mount on.
    return groups, mounts.stdout, set(os.listdir("/run")) - {"mount"}


def await_empty(group: Path) -> None:
    """Wait until every process of a lab has ended: they are all below its group."""
    deadline = time.monotonic() + 60
    while "populated 0" not in (group / "cgroup.events").read_text():
        assert time.monotonic() < deadline, f"processes are left in {group}"
        time.sleep(0.01)
