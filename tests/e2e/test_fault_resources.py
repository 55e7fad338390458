"""Out of memory, processes or descriptors, and without a journal: slower or refused, and never for good.

Limits of control groups do nothing in these machines, so resource limits and a system call that fails
stand in for them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

RUN_UNIT = "puppet-twitch-run@.service"
JOURNAL = "systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket"


@pytest.fixture
def tidy(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    stub.stub_puppet(node12, access="anonymous = trigger status logs")  # so that answers have reasons
    yield node12
    stub.clear(node12)


def runs_again(node: Machine) -> None:
    before = len(stub.stub_log(node))
    run = stub.started_when_mended(node)
    stub.end_of(node, run)
    assert stub.stub_log(node)[before:] == [f"began {run}", f"ended {run}"]
    assert node.curl("/puppet/status").body == "idle\n"


# -- the handler --------------------------------------------------------------------------------


@pytest.mark.parametrize("megabytes", [2, 12, 16, 20])
def test_too_little_memory_for_root_s_part(tidy: Machine, megabytes: int) -> None:
    # 2 is too little for Python to start at all; each of the others stops it somewhere else.
    assert tidy.curl("/puppet/status").body == "idle\n"
    stub.drop_in(tidy, RUN_UNIT, f"[Service]\nLimitAS={megabytes}M\n")
    reply = stub.trigger(tidy)
    assert reply.status in (202, 500, 503), reply
    if megabytes == 2:
        assert (reply.status, reply.body) == (503, "The handler left without an answer; try again\n")
    tidy.wait("! systemctl list-units --no-legend 'puppet-twitch-run@*' | grep -q .")
    tidy.sh(f"rm -r /etc/systemd/system/{RUN_UNIT}.d && systemctl daemon-reload")
    runs_again(tidy)
    if reply.status == 202:
        assert stub.record(tidy, str(reply.headers["Puppet-Run"]))["state"] == "finished"


NO_FORK = "[Service]\nSystemCallFilter=~fork:EAGAIN vfork:EAGAIN clone:EAGAIN clone3:ENOSYS\n"


@pytest.mark.parametrize("known", [False, True], ids=["settings unknown", "settings known"])
def test_no_process_more(tidy: Machine, known: bool) -> None:
    if known:
        assert tidy.curl("/puppet/status").body == "idle\n"
    else:
        tidy.run("rm", "-f", f"{stub.RUNTIME}/settings.json")
    stub.drop_in(tidy, RUN_UNIT, NO_FORK)
    reply = stub.trigger(tidy)
    if known:
        # A run needs no process but the handler's own; what Puppet then makes of it is Puppet's affair.
        assert stub.end_of(tidy, str(reply.headers["Puppet-Run"]))["state"] == "finished"
    else:
        assert (reply.status, "Resource temporarily unavailable" in reply.body) == (500, True)
    tidy.sh(f"rm -r /etc/systemd/system/{RUN_UNIT}.d && systemctl daemon-reload")
    runs_again(tidy)


# -- the listener -------------------------------------------------------------------------------


def limit(node: Machine, limits: str) -> None:
    """Let there be a listener with these limits."""
    stub.drop_in(node, "puppet-twitch.service", f"[Service]\n{limits}\n")
    node.run("systemctl", "stop", "puppet-twitch.service")
    assert node.curl("/version").status == 200


def strangers(node: Machine, count: int, said: bytes) -> ExitStack:
    held = ExitStack()
    for _ in range(count):
        one = held.enter_context(socket.create_connection((node.address, 2023), timeout=60))
        one.setblocking(False)
        with suppress(OSError):
            one.sendall(said)
    return held


def test_too_few_descriptors(tidy: Machine) -> None:
    limit(tidy, "LimitNOFILE=24")
    with strangers(tidy, 40, b"GET"):
        # Somebody has to go; who asks from elsewhere is answered all the same.
        assert tidy.curl("/version").status == 200
    runs_again(tidy)
    assert stub.state(tidy, "puppet-twitch.service", "NRestarts") == {"NRestarts": "0"}


def test_too_little_memory_for_the_listener(tidy: Machine) -> None:
    assert tidy.curl("/version").status == 200
    size = "awk '/^VmSize/{print $2}' /proc/$(systemctl show -P MainPID puppet-twitch.service)/status"
    limit(tidy, f"LimitAS={int(tidy.sh(size).stdout) + 512}K")
    body = b"POST /puppet/twitch HTTP/1.1\r\nHost: node\r\nContent-Length: 16000\r\n\r\n" + b"a" * 15999
    with strangers(tidy, 250, body):
        pass
    # Should it have ended, systemd starts the next one (RestartSec=2s); the port is open throughout.
    tidy.wait("curl --silent http://localhost:2023/version")
    tidy.sh("rm -r /etc/systemd/system/puppet-twitch.service.d && systemctl daemon-reload")
    tidy.run("systemctl", "stop", "puppet-twitch.service")
    runs_again(tidy)


# -- the journal --------------------------------------------------------------------------------


def test_without_a_journal(tidy: Machine) -> None:
    run = stub.hold(tidy)
    tidy.sh(f"systemctl stop {JOURNAL} systemd-journald.service")
    try:
        assert tidy.sh("ss -Hxl src /run/systemd/journal/stdout").stdout == ""
        stub.let_go(tidy)
        stub.end_of(tidy, run)
        tidy.run("systemctl", "stop", "puppet-twitch.service")
        runs_again(tidy)
    finally:
        tidy.sh(f"systemctl start {JOURNAL} systemd-journald.service")
    assert tidy.sh("systemctl --failed --no-legend").stdout == ""
    runs_again(tidy)


def test_the_journal_is_restarted_during_a_run(tidy: Machine) -> None:
    run = stub.hold(tidy)
    tidy.run("systemctl", "restart", "systemd-journald.service")
    stub.let_go(tidy)
    assert stub.end_of(tidy, run)["state"] == "finished"
    tidy.wait(
        f"journalctl --sync; journalctl -o cat TWITCH_RUN={run} TWITCH_VERDICT='not attempted' | grep -q ."
    )
