"""Disabling Puppet with reasons, owners and ends. Beside Puppet's own commands: test_agent_disable.py."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e import access, stub
from tests.e2e.systems import every_node
from tests.e2e.test_readme import CONSOLE
from tests.lab.curl import Reply
from tests.lab.machine import Machine
from twitch.root import journal

TIMER = "puppet-twitch-expiry.timer"
BY_HAND = '{"disabled_message":"by hand"}'
NAMES = ("deploy", "backup", "ops")
ACCESS = "anonymous = trigger status disable\ntoken:* = trigger status disable\ncooldown = 0\n"


def ask(node: Machine, verb: str, query: str = "", *arguments: str) -> Reply:
    return node.curl(f"http://127.0.0.1:2023/puppet/{verb}{query}", "-X", "POST", *arguments)


def status(node: Machine, *arguments: str) -> dict[str, object]:
    time.sleep(1.1)  # the listener remembers root's answer for a second
    found: dict[str, object] = json.loads(node.curl("/puppet/status", *access.JSON, *arguments).body)
    return found


def events(node: Machine, message_id: str) -> list[str]:
    found = node.journal("_UID=0", f"MESSAGE_ID={getattr(journal, message_id)}")
    return [entry["MESSAGE"] for entry in found]


@pytest.fixture
def callers(node: Machine) -> Iterator[dict[str, tuple[str, ...]]]:
    """Return the arguments of curl of three callers with tokens, on a node that anyone may disable."""
    tokens = {name: access.new_token(node, name) for name in NAMES}
    access.write_tokens(node, *(line for _, line in tokens.values()))
    yield {name: access.bearer(token) for name, (token, _) in tokens.items()}
    node.run("rm", access.TOKENS)


@pytest.fixture
def stub_callers(clean_node: Machine, callers: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    stub.stub_puppet(clean_node, access=ACCESS)
    return callers


# ---- holds


def test_three_parties(clean_node: Machine, stub_callers: dict[str, tuple[str, ...]]) -> None:
    deploy, backup, ops = (stub_callers[name] for name in NAMES)
    assert ask(clean_node, "disable", "?reason=kernel&for=2h", *deploy).status == 200
    assert ask(clean_node, "disable", "?reason=dump&for=1h", *backup).status == 200
    assert ask(clean_node, "disable", "?reason=look", *ops).status == 200
    assert ask(clean_node, "disable", "?reason=kernel+again&for=3h", *deploy).status == 200
    disabled = status(clean_node, *ops)["disabled"]
    assert isinstance(disabled, dict)
    assert [(hold["caller"], hold["reason"]) for hold in disabled["holds"]] == [
        ("token:backup", "dump"),
        ("token:ops", "look"),
        ("token:deploy", "kernel again"),
    ]
    assert set(status(clean_node)["disabled"]) == {"since", "until"}  # type: ignore[call-overload]
    reply = ask(clean_node, "enable", "", *backup)
    assert reply.status == 409
    assert "still disabled by others: look (token:ops at 127.0.0.1, until " in reply.body
    assert "dump" not in reply.body
    assert ask(clean_node, "enable", "", *ops).status == 409
    assert ask(clean_node, "enable", "", *deploy).body == "Puppet enabled\n"
    assert not clean_node.exists(stub.STUB_DISABLED)
    assert ask(clean_node, "enable", "", *deploy).status == 200
    # Root logs it after its answer.
    asked = "token:deploy at 127.0.0.1 asked to disable Puppet until "
    clean_node.wait(lambda: [text for text in events(clean_node, "DISABLED") if text.startswith(asked)])


def test_twenty_at_once_lose_no_hold(clean_node: Machine) -> None:
    stub.stub_puppet(clean_node, access=ACCESS)
    lines = [access.new_token(clean_node, f"t{number}") for number in range(20)]
    access.write_tokens(clean_node, *(line for _, line in lines))
    commands = (
        f"curl -s -o /dev/null -w '%{{http_code}}\\n' -X POST -H 'Authorization: Bearer {token}'"
        " 'http://localhost:2023/puppet/disable?reason=x&for=1h' &"
        for token, _ in lines
    )
    answers = clean_node.sh("\n".join([*commands, "wait"]), timeout_s=300).stdout.split()
    assert answers == ["200"] * 20
    holds = json.loads(clean_node.read(stub.STUB_DISABLED))["puppet_twitch"]["holds"]
    assert sorted(hold["caller"] for hold in holds) == sorted(f"token:t{number}" for number in range(20))
    clean_node.run("rm", access.TOKENS, stub.STUB_DISABLED)


def test_wait_for_a_run_under_way(clean_node12: Machine) -> None:
    stub.stub_puppet(clean_node12, access=ACCESS)
    run = stub.hold(clean_node12)
    reply = ask(clean_node12, "disable", "?reason=x&for=1h&wait=1s")
    assert (reply.status, reply.headers["Puppet-Run"]) == (202, run)
    assert reply.body.endswith("; a Puppet run is still under way\n")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, clean_node12, "disable", "?reason=x&for=1h&wait=1m")
        stub.release(clean_node12)
        assert waiting.result().status == 200
    assert stub.stub_log(clean_node12) == stub.in_order(run)
    assert stub.trigger(clean_node12).status == 423


# ---- the end

# Long enough for root to hear of it, and for what a test does before the end, on a busy machine.
SHORT = "12s"


@every_node
def test_hold_ends_by_itself(clean_node: Machine) -> None:
    stub.stub_puppet(clean_node, access=ACCESS)
    before = len(events(clean_node, "EXPIRED"))
    assert ask(clean_node, "disable", "?reason=long&for=1h").status == 200
    assert clean_node.sh(f"systemctl is-active {TIMER}").stdout == "active\n"
    assert ask(clean_node, "disable", f"?reason=short&for={SHORT}").status == 200
    # Without a question to root, which would lift it, too.
    clean_node.wait(f"! test -e {stub.STUB_DISABLED}")
    clean_node.wait(f"! test -e {stub.HISTORY}/disabled.json")
    clean_node.wait(lambda: len(events(clean_node, "EXPIRED")) > before)  # after the end of the timer
    assert len(events(clean_node, "EXPIRED")) == before + 1
    explained = clean_node.sh(f"journalctl -x -o short MESSAGE_ID={journal.EXPIRED}").stdout
    assert "A time in which Puppet was disabled has ended" in explained
    assert "The reason: short" in explained
    assert clean_node.sh("systemctl --failed --no-legend").stdout == ""


@every_node
def test_end_does_no_harm_to_what_was_done_by_hand(clean_node: Machine) -> None:
    stub.stub_puppet(clean_node, access=ACCESS)
    assert ask(clean_node, "disable", f"?reason=short&for={SHORT}").status == 200
    # As `puppet agent --enable` and `--disable` do.
    clean_node.sh(f"rm {stub.STUB_DISABLED}; echo '{BY_HAND}' >{stub.STUB_DISABLED}")
    clean_node.wait(f"! test -e {stub.HISTORY}/disabled.json")
    assert clean_node.read(stub.STUB_DISABLED) == f"{BY_HAND}\n"
    assert clean_node.sh("systemctl --failed --no-legend").stdout == ""


AS_LISTENER = """
import socket
from twitch.messages import Disable, decode_answer, encode
for until in None, 2**33:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
        peer.connect("/run/puppet-twitch/run.sock")
        peer.sendall(encode(Disable("token:any", "192.0.2.7", "x", until)))
        print(decode_answer(peer.recv(1 << 18)).kind)
"""


def test_listener_that_was_taken_over_cannot_disable_for_good(clean_node12: Machine) -> None:
    stub.stub_puppet(clean_node12)
    clean_node12.write("/root/ask.py", AS_LISTENER)
    command = "env PYTHONPATH=/usr/lib/puppet-twitch python3 -"
    asked = f"setpriv --reuid=twitch --regid=twitch --clear-groups {command} </root/ask.py"
    assert clean_node12.sh(asked).stdout.split() == ["invalid", "invalid"]
    assert clean_node12.sh(f"{command} </root/ask.py").stdout.split() == ["disabled", "disabled"]
    assert "until 2242-03-16T12:56:32Z)" in clean_node12.read(stub.STUB_DISABLED)


# ---- the disk, and what is in the place of the lock

PLACE = "/root/state"
TMPFS = f"mount -t tmpfs -o size=16k,mode=755 tmpfs {PLACE}"
FAULTS = {
    "directory": (
        f"mkdir {PLACE}/lock",
        "lock is a directory, and not a lock of Puppet; look at it, then remove",
    ),
    "link": (f"ln -s /etc/shadow {PLACE}/lock", "lock is a symbolic link, and not a lock of Puppet"),
    "fifo": (f"mkfifo {PLACE}/lock", "lock is a FIFO, and not a lock of Puppet"),
    "full": (
        f"{TMPFS}; dd if=/dev/zero of={PLACE}/fill bs=4k",
        "No space left on device: '/root/state/lock'",
    ),
    "read-only": (f"{TMPFS}; mount -o remount,ro {PLACE}", "Read-only file system: '/root/state/lock'"),
    "missing": (f"rmdir {PLACE}", "/root/state does not exist, because Puppet has never run"),
}


def test_fault_of_the_lock_is_named_and_nothing_is_lost(clean_node12: Machine) -> None:
    node = clean_node12
    stub.stub_puppet(node, access="anonymous = trigger status disable logs\ncooldown = 0")
    setting = f"agent_disabled_lockfile = {PLACE}/lock"
    node.sh(f"sed -i 's,^agent_disabled_lockfile.*,{setting},' {stub.STUB}/settings")
    for name, (spoil, text) in FAULTS.items():
        node.sh(f"mkdir -p {PLACE}; {spoil}", check=False)
        before = node.sh(f"ls -lA {PLACE}", check=False).stdout
        for query in ("?reason=x", "?reason=x&force=true"):
            reply = ask(node, "disable", query)
            assert (reply.status, reply.body[:27]) == (500, "Puppet cannot be disabled: "), name
            assert text in reply.body, name
        assert node.sh(f"ls -lA {PLACE}", check=False).stdout == before, name
        node.sh(f"umount {PLACE}; rm -rf {PLACE}", check=False)
    node.run("mkdir", "-p", PLACE)
    assert ask(node, "disable", "?reason=x").status == 200
    node.run("rm", "-r", PLACE)


# ---- README


def test_example_of_readme_has_its_real_answers(clean_node12: Machine) -> None:
    stub.stub_puppet(clean_node12, access="token:deploy = trigger disable\ncooldown = 0")
    token, line = access.new_token(clean_node12, "deploy")
    access.write_tokens(clean_node12, line)
    clean_node12.write("/root/FILE", f"Authorization: Bearer {token}\n", 0o600)
    (block,) = (block for block in CONSOLE if "/puppet/disable" in block)
    steps = re.findall(r"\$ (curl .*)\n(.*)\n", block)
    assert len(steps) == 3
    for command, answer in steps:
        command = command.replace("curl ", "curl -s ").replace("localhost", "127.0.0.1")
        done = clean_node12.sh(f"cd /root; {command}")
        assert re.sub(r"20[0-9-]+T[0-9:]+Z", "2026-11-26T02:00:00Z", done.stdout).rstrip("\n") == answer
    clean_node12.run("rm", access.TOKENS)
