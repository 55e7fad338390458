"""The lab itself: machines that know each other and keep their disks, and nothing left over."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import cgroups, network
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.machine import Machine

ENTER = Path(__file__).resolve().parents[1] / "lab" / "enter"
ROOT = ENTER.parents[2]

SYSTEMD = {"debian12": "252", "debian13": "257"}


@pytest.fixture(scope="module", params=SYSTEMD)
def image(request: pytest.FixtureRequest) -> str:
    """Return the name of each image that nodes have."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def machine(lab: Lab, image: str) -> Iterator[Machine]:
    """Boot a machine of that image that no other test knows."""
    booted = lab.boot("extra", image=image)
    yield booted
    lab.discard(booted)


@pytest.fixture(scope="module")
def neighbour(lab: Lab) -> Iterator[Machine]:
    """Boot a second machine on the same network."""
    booted = lab.boot("node11", image="debian12")
    yield booted
    lab.discard(booted)


def test_boots_the_systemd_it_says(machine: Machine, image: str) -> None:
    assert machine.sh("systemctl is-system-running").stdout == "running\n"
    assert machine.sh("systemctl --version").stdout.split()[1] == SYSTEMD[image]


def test_has_puppet_with_every_service_off(machine: Machine) -> None:
    assert machine.sh("puppet --version").stdout.startswith(("7.", "8."))
    assert machine.sh("systemctl is-active puppet.service", check=False).stdout == "inactive\n"


@pytest.mark.parametrize("family", ["4", "6"])
def test_machines_reach_each_other_by_name(machine: Machine, neighbour: Machine, family: str) -> None:
    neighbour.sh(
        "systemctl is-active web || systemd-run --unit=web"
        " /usr/bin/python3 -m http.server 8000 --bind :: --directory /etc"
    )
    neighbour.wait("ss -Hltn sport = :8000 | grep -q .")
    reply = machine.curl("http://node11:8000/hostname", f"-{family}")
    assert (reply.status, reply.body) == (200, "node11\n")
    assert reply.headers["CONTENT-length"] == "7"


def test_a_name_is_free_as_soon_as_its_machine_is_gone(lab: Lab) -> None:
    network.plug_in("gone", ["10.77.0.90"])
    # An open socket keeps the deleted namespace alive, as the kernel itself does for a while.
    with network.Netns("gone", ["10.77.0.90"]).open_socket():
        network.unplug("gone")
        network.plug_in("gone", ["10.77.0.90"])
    network.unplug("gone")


def test_a_machine_that_cannot_boot_leaves_its_name_free(lab: Lab) -> None:
    network.plug_in("demo", ["10.77.0.91"])
    with pytest.raises(LabError, match="exists"):
        lab.boot("demo", image="debian12")
    network.unplug("demo")
    lab.discard(lab.boot("demo", image="debian12"))


def test_keeps_files_and_journal_across_a_reboot(machine: Machine) -> None:
    machine.write("/root/kept", "as it was\n", 0o600)
    machine.write("/run/lost", "")
    machine.sh("logger -t before kept too")
    boot = machine.read("/proc/sys/kernel/random/boot_id"), machine.leader
    machine.reboot()
    assert machine.read("/root/kept") == "as it was\n"
    assert machine.sh("stat -c %a /root/kept").stdout == "600\n"
    assert not machine.exists("/run/lost")
    assert [entry["MESSAGE"] for entry in machine.journal("-t", "before")] == ["kept too"]
    assert machine.leader != boot[1]


def test_commands_are_of_the_machine_and_of_no_unit(machine: Machine) -> None:
    marker = uuid.uuid4().hex
    machine.run("logger", "-t", "who", marker)
    (entry,) = machine.journal("-t", "who", f"_HOSTNAME={machine.name}")
    assert (entry["MESSAGE"], entry["_UID"]) == (marker, "0")
    assert "_SYSTEMD_UNIT" not in entry
    assert machine.sh("env | cut -d= -f1 | sort").stdout.split() == ["HOME", "LANG", "PATH", "PWD"]


def test_a_failing_command_says_everything(machine: Machine) -> None:
    with pytest.raises(LabError) as caught:
        machine.sh("echo to stdout; echo to stderr >&2; exit 3")
    for part in ("extra", "exited 3", "to stdout", "to stderr"):
        assert part in str(caught.value)
    assert machine.sh("exit 3", check=False).returncode == 3


def test_a_killed_command_ends_inside_too(machine: Machine) -> None:
    with machine.popen("sh", "-c", "echo $$; exec sleep 1000") as command:
        assert command.stdout
        pid = int(command.stdout.readline())
        assert machine.read(f"/proc/{pid}/cmdline")
        command.kill()
    machine.wait(f"! test -e /proc/{pid}")
    with pytest.raises(LabError, match=r"still running after 0\.2 s"):
        machine.run("sleep", "1001", timeout_s=0.2)
    machine.wait("! pgrep -f 'sleep 100[1]'")


def test_copies_files_and_directories(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_text("text")
    machine.copy(tmp_path, "/opt/copied")
    machine.copy(tmp_path / "deep" / "file", "/opt/alone")
    assert machine.read("/opt/copied/deep/file") == machine.read("/opt/alone") == "text"


def test_clients_have_addresses_of_their_own(lab: Lab, neighbour: Machine) -> None:
    client = lab.client("10.77.0.200", "10.77.0.201", "fd77::200")
    neighbour.sh("systemctl is-active echo || systemd-run --unit=echo " + _echo_the_peer())
    neighbour.wait("ss -Hltn sport = :7000 | grep -q .")
    for target, source in (
        (neighbour.address, "10.77.0.201"),
        (neighbour.address, "10.77.0.200"),
        (neighbour.address6, "fd77::200"),
    ):
        with client.connect(target, 7000, source=source) as connection:
            assert connection.makefile().read().removeprefix("::ffff:") == source
    assert "10.77.0.200/24" in client.run("ip", "address").stdout


def _echo_the_peer() -> str:
    return (
        "/usr/bin/python3 -c 'import socket; s = socket.create_server("
        '("", 7000), family=socket.AF_INET6, dualstack_ipv6=True)\n'
        "while True: c, a = s.accept(); c.sendall(a[0].encode()); c.close()'"
    )


# -- nothing is left ----------------------------------------------------------------------------


INNER = """
import sys, time
from tests.lab.lab import Lab

with Lab() as lab:
    lab.boot("extra", image="debian12")
    lab.client("10.77.0.200")
    print("up", flush=True)
    if sys.argv[1] == "exit":
        sys.exit(7)
    if sys.argv[1] == "exception":
        raise RuntimeError("of the test's making")
    while True:
        time.sleep(0.1)  # not pause(): a signal just before it would be slept through
"""


class Inner:
    """A lab started by a test, marked so that whatever it leaves can be found."""

    def __init__(self, ending: str) -> None:
        self.mark = f"lab-{uuid.uuid4().hex}"
        self.process = subprocess.Popen(
            [ENTER, sys.executable, "-c", textwrap.dedent(INNER), ending, self.mark],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
            # A shell in the background has it ignored, and hands that on to all it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert self.process.stdout
        said = self.process.stdout.readline()
        assert said == "up\n", self.process.communicate()
        self.pids = [self.process.pid, *_descendants(self.process.pid)]

    def end(self) -> tuple[int, str]:
        """Wait for the end; return exit code and what was said about it."""
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in map(int, children) for found in (child, *_descendants(child))]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def _lab_groups() -> set[Path]:
    return {found for parent in cgroups.own() for found in parent.glob(f"{cgroups.PREFIX}*")}


def _surroundings() -> tuple[set[Path], str, set[str]]:
    """Return what a lab could leave behind: control groups, mounts, named networks."""
    mounts = subprocess.run(
        ["findmnt", "-rno", "TARGET,FSTYPE"], stdout=subprocess.PIPE, text=True, check=True
    )
    # /run/mount is libmount's own, from the first mount on.
    return _lab_groups(), mounts.stdout, set(os.listdir("/run")) - {"mount"}


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    ("ending", "sent", "code"),
    [
        ("exit", None, 7),
        ("exception", None, 1),
        ("wait", signal.SIGINT, 130),
        ("wait", signal.SIGTERM, 143),
    ],
    ids=["exit", "exception", "SIGINT", "SIGTERM"],
)
def test_nothing_is_left(ending: str, sent: signal.Signals | None, code: int) -> None:
    before = _surroundings()
    inner = Inner(ending)
    assert len(_lab_groups()) > len(before[0])
    if sent:
        inner.process.send_signal(sent)
    assert inner.end()[0] == code
    assert _surroundings() == before
    assert not [pid for pid in inner.pids if _alive(pid)]


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize("victim", ["command", "init", "enter"])
def test_nothing_is_left_of_a_lab_that_was_killed(victim: str) -> None:
    before = _surroundings()
    inner = Inner("wait")
    enter, init, command = inner.pids[:3]
    os.kill({"command": command, "init": init, "enter": enter}[victim], signal.SIGKILL)
    assert inner.end()[0] == (-signal.SIGKILL if victim == "enter" else 128 + signal.SIGKILL)
    # Without its `enter`, nobody reaps for us to wait on.
    _await(lambda: not [pid for pid in inner.pids if _alive(pid)])
    if victim == "enter":
        # Nobody was left to remove the empty control groups: the next lab does.
        assert len(_lab_groups()) > len(before[0])
        assert subprocess.run([ENTER, "true"]).returncode == 0
    assert _surroundings() == before


def test_passes_arguments_directory_and_terminal_through(lab: Lab, tmp_path: Path) -> None:
    command = [os.fspath(ENTER), "sh", "-c", 'pwd; printf "%s|" "$@"; cat; exit 42', "sh", "a b", "", "c"]
    done = subprocess.run(command, input="fed", capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (42, f"{tmp_path}\na b||c|fed")
    unknown = subprocess.run([ENTER, "no-such-command"], capture_output=True, text=True)
    assert (unknown.returncode, unknown.stderr) == (
        127,
        "tests/lab/enter: no-such-command: No such file or directory\n",
    )


def test_ctrl_c_reaches_the_command_once(lab: Lab) -> None:
    # A terminal signals its whole foreground group, of which the command is one.
    script = textwrap.dedent(
        """
        import signal, sys, time
        got = []
        signal.signal(signal.SIGINT, lambda number, frame: got.append(number))
        print("ready", flush=True)
        while not got:
            time.sleep(0.01)
        signal.signal(signal.SIGALRM, lambda number, frame: None)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        signal.pause()
        print("got", len(got), flush=True)
        """
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(ENTER, [os.fspath(ENTER), sys.executable, "-c", script])
    with open(terminal, "r+b", buffering=0) as screen:
        seen = b""
        while b"ready" not in seen:
            seen += screen.read(100)
        screen.write(b"\x03")
        while b"got" not in seen or not seen.endswith(b"\n"):
            seen += screen.read(100)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"got 1\r\n" in seen


def _await(condition: Callable[[], object], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.01)
