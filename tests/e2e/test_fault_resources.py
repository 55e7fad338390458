"""Without memory, processes, descriptors or a journal: requests are slower or refused, but never for good.

Control group limits have no effect in these machines, so resource limits and a failing system call
replace them.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

RUN_UNIT = "puppet-twitch-run@.service"
JOURNAL = "systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket"


# -- the handler --------------------------------------------------------------------------------


@pytest.mark.parametrize("megabytes", [2, 12, 16, 20])
def test_too_little_memory_for_the_handler(stub_node12: Machine, megabytes: int) -> None:
    # With 2, Python does not start at all; each of the others stops the handler in another place.
    assert stub_node12.curl("/puppet/status").body == "idle\n"
    stub.drop_in(stub_node12, RUN_UNIT, f"[Service]\nLimitAS={megabytes}M\n")
    reply = stub.trigger(stub_node12)
    assert reply.status in (202, 500, 503), reply
    if megabytes == 2:
        assert (reply.status, reply.body) == (503, "The handler left without an answer; try again\n")
    stub_node12.wait("! systemctl list-units --no-legend 'puppet-twitch-run@*' | grep -q .")
    stub_node12.sh(f"rm -r /etc/systemd/system/{RUN_UNIT}.d && systemctl daemon-reload")
    stub.runs_again(stub_node12)
    if reply.status == 202:
        assert stub.record(stub_node12, str(reply.headers["Puppet-Run"]))["state"] == "finished"


NO_FORK = "[Service]\nSystemCallFilter=~fork:EAGAIN vfork:EAGAIN clone:EAGAIN clone3:ENOSYS\n"


@pytest.mark.parametrize("known", [False, True], ids=["settings unknown", "settings known"])
def test_no_more_processes_for_the_handler(stub_node12: Machine, known: bool) -> None:
    if known:
        assert stub_node12.curl("/puppet/status").body == "idle\n"
    else:
        stub_node12.run("rm", "-f", f"{stub.RUNTIME}/settings.json")
    stub.drop_in(stub_node12, RUN_UNIT, NO_FORK)
    reply = stub.trigger(stub_node12)
    if known:
        # A run needs no process but the handler's own; how Puppet then ends does not matter here.
        assert stub.end_of(stub_node12, str(reply.headers["Puppet-Run"]))["state"] == "finished"
    else:
        assert (reply.status, "Resource temporarily unavailable" in reply.body) == (500, True)
    stub_node12.sh(f"rm -r /etc/systemd/system/{RUN_UNIT}.d && systemctl daemon-reload")
    stub.runs_again(stub_node12)


# -- the listener -------------------------------------------------------------------------------


def limit(node: Machine, limits: str) -> None:
    """Start a listener with these limits."""
    stub.drop_in(node, "puppet-twitch.service", f"[Service]\n{limits}\n")
    node.run("systemctl", "stop", "puppet-twitch.service")
    assert node.curl("/version").status == 200


def clients(node: Machine, count: int, sent: bytes) -> ExitStack:
    """Return open connections, each of which has sent these bytes."""
    held = ExitStack()
    for _ in range(count):
        one = held.enter_context(socket.create_connection((node.address, 2023), timeout=60))
        one.setblocking(False)
        with suppress(OSError):
            one.sendall(sent)
    return held


def test_too_few_descriptors_for_the_listener(stub_node12: Machine) -> None:
    limit(stub_node12, "LimitNOFILE=24")
    with clients(stub_node12, 40, b"GET"):
        # The listener closes one of these; a client from elsewhere is answered.
        assert stub_node12.curl("/version").status == 200
    stub.runs_again(stub_node12)
    assert stub.state(stub_node12, "puppet-twitch.service", "NRestarts") == {"NRestarts": "0"}


def test_too_little_memory_for_the_listener(stub_node12: Machine) -> None:
    assert stub_node12.curl("/version").status == 200
    size = "awk '/^VmSize/{print $2}' /proc/$(systemctl show -P MainPID puppet-twitch.service)/status"
    limit(stub_node12, f"LimitAS={int(stub_node12.sh(size).stdout) + 512}K")
    body = b"POST /puppet/twitch HTTP/1.1\r\nHost: node\r\nContent-Length: 16000\r\n\r\n" + b"a" * 15999
    with clients(stub_node12, 250, body):
        pass
    # If the listener has ended, systemd starts the next one (RestartSec=2s); the port stays open.
    stub_node12.wait("curl --silent http://localhost:2023/version")
    stub_node12.sh("rm -r /etc/systemd/system/puppet-twitch.service.d && systemctl daemon-reload")
    stub_node12.run("systemctl", "stop", "puppet-twitch.service")
    stub.runs_again(stub_node12)


# -- the journal --------------------------------------------------------------------------------


def test_run_without_a_journal(stub_node12: Machine) -> None:
    run = stub.hold(stub_node12)
    stub_node12.sh(f"systemctl stop {JOURNAL} systemd-journald.service")
    try:
        assert stub_node12.sh("ss -Hxl src /run/systemd/journal/stdout").stdout == ""
        stub.release(stub_node12)
        stub.end_of(stub_node12, run)
        stub_node12.run("systemctl", "stop", "puppet-twitch.service")
        stub.runs_again(stub_node12)
    finally:
        stub_node12.sh(f"systemctl start {JOURNAL} systemd-journald.service")
    assert stub_node12.sh("systemctl --failed --no-legend").stdout == ""
    stub.runs_again(stub_node12)


def test_journal_restarted_during_a_run(stub_node12: Machine) -> None:
    run = stub.hold(stub_node12)
    stub_node12.run("systemctl", "restart", "systemd-journald.service")
    stub.release(stub_node12)
    assert stub.end_of(stub_node12, run)["state"] == "finished"
    stub_node12.wait(
        f"journalctl --sync; journalctl -o cat TWITCH_RUN={run} TWITCH_VERDICT='not attempted' | grep -q ."
    )
