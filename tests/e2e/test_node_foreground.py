"""The listener by hand and under another manager, with an invalid configuration, and in its sandbox."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

PID = "/run/foreground"
# Python ends by itself, or with 128 and the number of SIGINT.
ENDED_BY_CTRL_C = (0, 130)


@contextmanager
def foreground(node: Machine, *command: str, end: int = signal.SIGTERM) -> Iterator[list[str]]:
    """Run a command as root would at a terminal, and end it; add its output and exit status to the list."""
    result: list[str] = []
    process = node.popen("/bin/sh", "-c", f'echo $$ >{PID}; exec "$@"', "sh", *command)
    try:
        yield result
    finally:
        node.sh(f"kill -{end:d} $(cat {PID})")
        output, _ = process.communicate(timeout=60)
        result += [output, str(process.returncode)]


def await_port(node: Machine, port: int) -> None:
    node.wait(f"ss -Hltn sport = :{port} | grep -q .", show="ss -ltn")


def listeners(node: Machine) -> set[str]:
    """Return the users of all processes that are listeners."""
    users = node.sh(
        "for process in /proc/[0-9]*; do"
        " tr '\\0' ' ' <$process/cmdline 2>/dev/null | grep -q '^/usr/bin/python3 -I .* listen' &&"
        " stat -c %U $process; done; true"
    )
    return set(users.stdout.split())


# -- by hand ------------------------------------------------------------------------------------


def test_listen_in_the_foreground_until_ctrl_c(clean_node12: Machine) -> None:
    stub.stub_puppet(clean_node12)
    command = ("puppet-twitch", "listen", "--bind", "127.0.0.1", "--port", "2024")
    with foreground(clean_node12, *command, end=signal.SIGINT) as result:
        await_port(clean_node12, 2024)
        assert clean_node12.curl("http://127.0.0.1:2024/version").status == 200
        assert listeners(clean_node12) == {"twitch"}
        stub.end_of(
            clean_node12, str(clean_node12.curl("http://127.0.0.1:2024/puppet/twitch").headers["Puppet-Run"])
        )
    output, code = result
    assert "listening on 127.0.0.1 port 2024" in output
    assert "Traceback" not in output
    assert int(code) in ENDED_BY_CTRL_C


def test_listen_in_the_foreground_with_tls(clean_node12: Machine) -> None:
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=node -out cert.pem -keyout key.pem"
    clean_node12.sh(f"mkdir -p /root/foreground && cd /root/foreground && {make} 2>&1")
    clean_node12.sh("install -m 644 /root/foreground/cert.pem /etc/puppet-twitch/ca.pem")
    tls = "[tls]\nenabled = yes\nca = /etc/puppet-twitch/ca.pem\nrevocation = no\n"
    clean_node12.write(stub.CONFIG, tls)
    listen = ("puppet-twitch", "listen", "--bind", "127.0.0.1", "--port", "2026")
    with foreground(clean_node12, *listen) as result:
        await_port(clean_node12, 2026)
        assert clean_node12.curl("http://127.0.0.1:2026/version").status == 503
    assert "puppet-twitch(1), listen, says how to pass them" in result[0]
    passed = [f"--property=LoadCredential={name}:/root/foreground/{name}.pem" for name in ("cert", "key")]
    manager = ("systemd-run", "--quiet", "--unit=foreground", "--property=User=twitch", *passed)
    clean_node12.run(*manager, *listen)
    await_port(clean_node12, 2026)
    assert clean_node12.curl("https://127.0.0.1:2026/version", "--insecure").status == 200
    clean_node12.run("systemctl", "stop", "foreground.service")
    lines = [line["MESSAGE"] for line in clean_node12.journal("_SYSTEMD_UNIT=foreground.service")]
    assert lines == ["listening on 127.0.0.1 port 2026; Ctrl-C ends"]
    clean_node12.sh("rm -r /root/foreground /etc/puppet-twitch/ca.pem")


def test_priorities_of_lines_are_for_the_journal_only(clean_node12: Machine) -> None:
    # A terminal of a desktop, and a shell in tmux, have the variable of the service that started them.
    listen = ("env", "JOURNAL_STREAM=8:1", "puppet-twitch", "listen", "--bind", "127.0.0.1", "--port", "2027")
    with foreground(clean_node12, *listen) as result:
        await_port(clean_node12, 2027)
        assert clean_node12.curl("http://127.0.0.1:2027/no/such/thing").status == 404
    assert "\nrefused 127.0.0.1: " in result[0]
    assert "<4>" not in result[0]


def held_connection(node: Machine, port: int, run: str) -> socket.socket:
    """Return a connection on which a listener has answered, and answers again when the run ends."""
    connection = socket.create_connection((node.address, port), timeout=60)
    wait = f"GET /puppet/runs/{run}?wait=60 HTTP/1.1\r\nHost: node\r\n\r\n"
    connection.sendall(b"GET /version HTTP/1.1\r\nHost: node\r\n\r\n" + wait.encode())
    assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    return connection


@pytest.mark.parametrize("shape", [(), ("--accept",)], ids=["one listener", "per connection"])
def test_listen_under_another_service_manager(clean_node: Machine, shape: tuple[str, ...]) -> None:
    stub.stub_puppet(clean_node)
    run = stub.hold(clean_node)
    clean_node.run("systemctl", "stop", "puppet-twitch.socket", "puppet-twitch.service")
    activate = ("systemd-socket-activate", "--listen=2025", *shape, "puppet-twitch", "listen")
    with foreground(clean_node, *activate) as result:
        await_port(clean_node, 2025)
        for _ in range(3):
            assert clean_node.curl("http://localhost:2025/version").status == 200
        # These managers start it as root, and it becomes twitch.
        with held_connection(clean_node, 2025, run):
            assert listeners(clean_node) == {"twitch"}
    assert "Traceback" not in result[0]


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
def test_exit_codes(clean_node12: Machine, arguments: str, expected: tuple[int, str]) -> None:
    done = clean_node12.run("puppet-twitch", *arguments.split(), check=False)
    code, text = expected
    assert done.returncode == code
    assert text in (done.stderr if code else done.stdout)
    assert "Traceback" not in done.stderr


# -- an invalid configuration -------------------------------------------------------------------


def test_invalid_configuration_gets_503_until_it_is_fixed(clean_node12: Machine) -> None:
    assert clean_node12.curl("/version").status == 200
    listener = stub.state(clean_node12, "puppet-twitch.service", "MainPID", "InvocationID")
    clean_node12.write(stub.CONFIG, "[access]\nanonymous = tigger\n")
    for path in ("/version", "/puppet/status", "/puppet/twitch"):
        reply = clean_node12.curl(path)
        assert reply.status == 503
        assert "tigger" not in reply.body
    lines = clean_node12.journal(f"_SYSTEMD_INVOCATION_ID={listener['InvocationID']}", "-g", "not a grant")
    assert [line["MESSAGE"] for line in lines] == [
        f"{stub.CONFIG}: [access] anonymous: word 1 (tigger) is not a grant; "
        "allowed: any of: trigger noop tags environment=PATTERN status logs cancel metrics disable"
    ]
    clean_node12.write(stub.CONFIG, "[access]\nanonymous = status\n")
    assert clean_node12.curl("/version").status == 200
    assert clean_node12.curl("/puppet/twitch").status == 401
    assert stub.state(clean_node12, "puppet-twitch.service", "MainPID", "InvocationID") == listener


def test_invalid_configuration_at_the_start_can_be_fixed(clean_node12: Machine) -> None:
    clean_node12.write(stub.CONFIG, "[access\n")
    assert clean_node12.curl("/version").status == 503
    clean_node12.write(stub.CONFIG, "[access]\n")
    assert clean_node12.curl("/version").status == 200


@pytest.mark.parametrize("command", [f"truncate -s 0 {stub.CONFIG}", f"rm {stub.CONFIG}"])
def test_emptied_configuration_gets_503_not_the_defaults(clean_node12: Machine, command: str) -> None:
    clean_node12.write(stub.CONFIG, "[access]\nanonymous =\n")
    assert clean_node12.curl("/puppet/status").status == 401
    clean_node12.sh(command)
    for _ in range(2):
        assert clean_node12.curl("/puppet/status").status == 503
    clean_node12.run("systemctl", "stop", "puppet-twitch.service")  # the next listener refuses it as well
    assert clean_node12.curl("/puppet/status").status == 503
    clean_node12.write(stub.CONFIG, "[access]\nanonymous = status\n")
    assert clean_node12.curl("/puppet/twitch").status == 401


# -- the sandbox --------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["puppet-twitch.service", "puppet-twitch@.service"])
def test_systemd_analyze_security(clean_node: Machine, unit: str) -> None:
    overall = clean_node.run("systemd-analyze", "security", "--no-pager", unit).stdout.splitlines()[-1]
    assert "Overall exposure level for puppet-twitch" in overall
    assert float(overall.partition(": ")[2].split()[0]) <= 0.5


def test_systemd_analyze_verify(node13: Machine) -> None:
    units = "/usr/lib/systemd/system/puppet-twitch*.[sp]*"  # services, sockets and the path
    assert node13.sh(f"ls {units} | wc -l").stdout == "10\n"
    done = node13.sh(f"systemd-analyze --man=no verify {units} 2>&1")
    assert done.stdout == ""


def test_listener_has_no_privileges_and_no_network(clean_node: Machine) -> None:
    assert clean_node.curl("/version").status == 200
    pid = stub.state(clean_node, "puppet-twitch.service", "MainPID")["MainPID"]
    status = dict(
        line.split(":\t", 1) for line in clean_node.read(f"/proc/{pid}/status").splitlines() if ":\t" in line
    )
    twitch = clean_node.sh("id -u twitch").stdout.strip()
    assert set(status["Uid"].split()) == {twitch}
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    # A network of its own: it can use the sockets that systemd passed to it, and reach nobody.
    links = clean_node.sh(f"nsenter --target {pid} --net ip -oneline link").stdout.splitlines()
    assert [link.split(": ")[1] for link in links] == ["lo"]


@pytest.mark.parametrize("shape", ["one listener", "per connection"])
def test_listener_reaches_root_and_the_log_reader_through_their_sockets_only(
    clean_node: Machine, shape: str
) -> None:
    stub.stub_puppet(clean_node)
    if shape == "per connection":
        stub.per_connection(clean_node)
    run = stub.hold(clean_node)
    clean_node.run("systemctl", "stop", "puppet-twitch.service", "puppet-twitch@*.service")
    with held_connection(clean_node, 2023, run):
        units = "systemctl show -P MainPID 'puppet-twitch.service' 'puppet-twitch@*.service'"
        (pid,) = set(clean_node.sh(units).stdout.split()) - {"0"}
        as_it = f"nsenter --target {pid} --mount setpriv --reuid=twitch --regid=twitch --clear-groups"
        for path in ("/run/dbus/system_bus_socket", "/run/systemd/private"):
            connect = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})"
            assert clean_node.exists(path)
            done = clean_node.sh(f'{as_it} python3 -c "{connect}"', check=False)
            assert "PermissionError" in done.stderr or "FileNotFoundError" in done.stderr, done
        # A list of what is there, because a site may have others that every user can open.
        # `test`, because find takes the type of a file that is bound over another from the directory.
        sockets = "-type s -o -path '/run/*' -exec test -S {} ';'"
        find = f"nsenter --target {pid} --mount find / -path /proc -prune -o '(' {sockets} ')' -print"
        found = set(clean_node.sh(find, check=False).stdout.split())
        sockets_of_ours = {"/run/puppet-twitch/run.sock", "/run/puppet-twitch/log.sock"}
        assert found == {*sockets_of_ours, "/run/systemd/notify"}
    stub.release(clean_node)
    stub.end_of(clean_node, run)
    stub.end_of(clean_node, stub.started(clean_node))


def test_listener_finds_a_run_directory_that_was_made_again(stub_node12: Machine) -> None:
    assert stub_node12.curl("/version").status == 200
    stub_node12.sh(f"rm -rf {stub.RUNTIME}; systemctl restart puppet-twitch-run.socket")
    stub.runs_again(stub_node12)


def test_listener_can_write_to_its_own_tmp_only(clean_node: Machine) -> None:
    assert clean_node.curl("/version").status == 200
    pid = stub.state(clean_node, "puppet-twitch.service", "MainPID")["MainPID"]
    as_it = f"nsenter --target {pid} --mount setpriv --reuid=twitch --regid=twitch --clear-groups"
    writable = clean_node.sh(
        f"{as_it} find / -path /proc -prune -o -type d -writable -print 2>/dev/null", check=False
    )
    assert set(writable.stdout.split()) == {"/tmp", "/var/tmp"}
    clean_node.sh(f"{as_it} touch /tmp/written /var/tmp/written")
    assert not clean_node.exists("/tmp/written")
    assert not clean_node.exists("/var/tmp/written")
