"""The listener by hand and under other managers, with a broken configuration, and inside its sandbox."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

PID = "/run/foreground"
# Over the SIGTERM and SIGINT of a shell: 128 and the signal's number.
ENDED_BY_CTRL_C = (0, 130)


@pytest.fixture
def tidy(node: Machine) -> Iterator[Machine]:
    stub.clear(node)
    yield node
    stub.clear(node)


@pytest.fixture
def tidy12(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    yield node12
    stub.clear(node12)


@contextmanager
def foreground(node: Machine, *command: str, end: int = signal.SIGTERM) -> Iterator[list[str]]:
    """Run a command as root would at a terminal, and end it; what it said is in the list then."""
    said: list[str] = []
    process = node.popen("/bin/sh", "-c", f'echo $$ >{PID}; exec "$@"', "sh", *command)
    try:
        yield said
    finally:
        node.sh(f"kill -{end:d} $(cat {PID})")
        output, _ = process.communicate(timeout=60)
        said += [output, str(process.returncode)]


def await_port(node: Machine, port: int) -> None:
    node.wait(f"ss -Hltn sport = :{port} | grep -q .", show="ss -ltn")


def listeners(node: Machine) -> set[str]:
    """Return as whom each process runs that is a listener at this moment."""
    users = node.sh(
        "for process in /proc/[0-9]*; do"
        " tr '\\0' ' ' <$process/cmdline 2>/dev/null | grep -q '^/usr/bin/python3 -I .* listen' &&"
        " stat -c %U $process; done; true"
    )
    return set(users.stdout.split())


# -- by hand ------------------------------------------------------------------------------------


def test_it_listens_in_the_foreground_until_ctrl_c(tidy12: Machine) -> None:
    stub.stub_puppet(tidy12)
    command = ("puppet-twitch", "listen", "--bind", "127.0.0.1", "--port", "2024")
    with foreground(tidy12, *command, end=signal.SIGINT) as said:
        await_port(tidy12, 2024)
        assert tidy12.curl("http://127.0.0.1:2024/version").status == 200
        assert listeners(tidy12) == {"twitch"}
        stub.end_of(tidy12, str(tidy12.curl("http://127.0.0.1:2024/puppet/twitch").headers["Puppet-Run"]))
    output, code = said
    assert "listening on 127.0.0.1 port 2024" in output
    assert "Traceback" not in output
    assert int(code) in ENDED_BY_CTRL_C


@pytest.mark.parametrize("shape", [(), ("--accept",)], ids=["one listener", "a listener each"])
def test_it_works_under_another_service_manager(tidy: Machine, shape: tuple[str, ...]) -> None:
    activate = ("systemd-socket-activate", "--listen=2025", *shape, "puppet-twitch", "listen")
    with foreground(tidy, *activate) as said:
        await_port(tidy, 2025)
        for _ in range(3):
            assert tidy.curl("http://localhost:2025/version").status == 200
        # Whoever starts it, and these do so as root.
        with socket.create_connection((tidy.address, 2025), timeout=60) as kept:
            kept.sendall(b"GET /version HTTP/1.1\r\nHost: node\r\n\r\n")
            assert kept.recv(4096).startswith(b"HTTP/1.1 200 ")
            assert listeners(tidy) == {"twitch"}
    assert "Traceback" not in said[0]


COMMANDS = {
    "--help": (0, "usage: puppet-twitch"),
    "--version": (0, "puppet-twitch "),
    "nonsense": (64, "nonsense: not understood; see puppet-twitch --help"),
    "": (64, "usage: puppet-twitch"),
    "listen": (64, "no sockets from systemd"),
    "listen --port 65536": (64, "--port 65536: not understood"),
    "listen --port 2023": (64, "cannot listen on 127.0.0.1 port 2023: Address already in use"),
}


@pytest.mark.parametrize(("arguments", "expected"), COMMANDS.items(), ids=COMMANDS)
def test_its_exit_codes(tidy12: Machine, arguments: str, expected: tuple[int, str]) -> None:
    done = tidy12.run("puppet-twitch", *arguments.split(), check=False)
    code, text = expected
    assert done.returncode == code
    assert text in (done.stderr if code else done.stdout)
    assert "Traceback" not in done.stderr


# -- a broken configuration ---------------------------------------------------------------------


def test_a_fault_in_the_configuration_closes_the_port_until_it_is_mended(tidy12: Machine) -> None:
    assert tidy12.curl("/version").status == 200
    listener = stub.state(tidy12, "puppet-twitch.service", "MainPID", "InvocationID")
    tidy12.write(stub.CONFIG, "[access]\nanonymous = tigger\n")
    for path in ("/version", "/puppet/status", "/puppet/twitch"):
        reply = tidy12.curl(path)
        assert reply.status == 503
        assert "tigger" not in reply.body
    lines = tidy12.journal(f"_SYSTEMD_INVOCATION_ID={listener['InvocationID']}", "-g", "not a grant")
    assert [line["MESSAGE"] for line in lines] == [
        f"{stub.CONFIG}: [access] anonymous: word 1 (tigger) is not a grant; "
        "allowed: any of: trigger noop tags environment=PATTERN status logs"
    ]
    tidy12.write(stub.CONFIG, "[access]\nanonymous = status\n")
    assert tidy12.curl("/version").status == 200
    assert tidy12.curl("/puppet/twitch").status == 401
    assert stub.state(tidy12, "puppet-twitch.service", "MainPID", "InvocationID") == listener


def test_a_node_that_starts_with_a_fault_heals_as_well(tidy12: Machine) -> None:
    tidy12.write(stub.CONFIG, "[access\n")
    assert tidy12.curl("/version").status == 503
    tidy12.write(stub.CONFIG, "[access]\n")
    assert tidy12.curl("/version").status == 200


@pytest.mark.parametrize("fall_silent", [f"truncate -s 0 {stub.CONFIG}", f"rm {stub.CONFIG}"])
def test_a_configuration_that_falls_silent_is_not_the_permissive_default(
    tidy12: Machine, fall_silent: str
) -> None:
    tidy12.write(stub.CONFIG, "[access]\nanonymous =\n")
    assert tidy12.curl("/puppet/status").status == 401
    tidy12.sh(fall_silent)
    for _ in range(2):
        assert tidy12.curl("/puppet/status").status == 503
    tidy12.run("systemctl", "stop", "puppet-twitch.service")  # the next listener refuses it as well
    assert tidy12.curl("/puppet/status").status == 503
    tidy12.write(stub.CONFIG, "[access]\nanonymous = status\n")
    assert tidy12.curl("/puppet/twitch").status == 401


# -- the sandbox --------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["puppet-twitch.service", "puppet-twitch@.service"])
def test_systemd_finds_next_to_nothing_exposed(tidy: Machine, unit: str) -> None:
    overall = tidy.run("systemd-analyze", "security", "--no-pager", unit).stdout.splitlines()[-1]
    assert "Overall exposure level for puppet-twitch" in overall
    assert float(overall.partition(": ")[2].split()[0]) <= 0.5


def test_systemd_has_no_complaint_about_a_unit(node13: Machine) -> None:
    units = "/usr/lib/systemd/system/puppet-twitch*.s*"
    assert node13.sh(f"ls {units} | wc -l").stdout == "5\n"
    done = node13.sh(f"systemd-analyze --man=no verify {units} 2>&1")
    assert done.stdout == ""


def test_what_the_listener_cannot_do(tidy: Machine) -> None:
    assert tidy.curl("/version").status == 200
    pid = stub.state(tidy, "puppet-twitch.service", "MainPID")["MainPID"]
    status = dict(
        line.split(":\t", 1) for line in tidy.read(f"/proc/{pid}/status").splitlines() if ":\t" in line
    )
    twitch = tidy.sh("id -u twitch").stdout.strip()
    assert set(status["Uid"].split()) == {twitch}
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    # A network of its own, in which nobody is to be reached, but the sockets that were handed over.
    links = tidy.sh(f"nsenter --target {pid} --net ip -oneline link").stdout.splitlines()
    assert [link.split(": ")[1] for link in links] == ["lo"]


@pytest.mark.parametrize("shape", ["one listener", "a listener each"])
def test_it_reaches_root_through_the_run_socket_only(tidy: Machine, shape: str) -> None:
    stub.stub_puppet(tidy)
    if shape == "a listener each":
        stub.per_connection(tidy)
    with socket.create_connection((tidy.address, 2023), timeout=60) as kept:
        kept.sendall(b"GET /version HTTP/1.1\r\nHost: node\r\n\r\n")
        assert kept.recv(4096).startswith(b"HTTP/1.1 200 ")
        units = "systemctl show -P MainPID 'puppet-twitch.service' 'puppet-twitch@*.service'"
        (pid,) = set(tidy.sh(units).stdout.split()) - {"0"}
        as_it = f"nsenter --target {pid} --mount setpriv --reuid=twitch --regid=twitch --clear-groups"
        for path in ("/run/dbus/system_bus_socket", "/run/systemd/private"):
            connect = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})"
            assert tidy.exists(path)
            done = tidy.sh(f'{as_it} python3 -c "{connect}"', check=False)
            assert "PermissionError" in done.stderr or "FileNotFoundError" in done.stderr, done
    stub.end_of(tidy, stub.started(tidy))


def test_the_listener_has_nothing_to_write_to_but_a_tmp_of_its_own(tidy: Machine) -> None:
    assert tidy.curl("/version").status == 200
    pid = stub.state(tidy, "puppet-twitch.service", "MainPID")["MainPID"]
    as_it = f"nsenter --target {pid} --mount setpriv --reuid=twitch --regid=twitch --clear-groups"
    writable = tidy.sh(
        f"{as_it} find / -path /proc -prune -o -type d -writable -print 2>/dev/null", check=False
    )
    assert set(writable.stdout.split()) == {"/tmp", "/var/tmp"}
    tidy.sh(f"{as_it} touch /tmp/written /var/tmp/written")
    assert not tidy.exists("/tmp/written")
    assert not tidy.exists("/var/tmp/written")
