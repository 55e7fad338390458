"""Which process may ask root, in whose name, and what a packet may be."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from typing import Any

import pytest

from tests.unit.fake_node import TWITCH_UID, FakeNode, Question, new_run
from tests.unit.processes import LIMIT_S
from twitch import messages
from twitch.errors import PacketError
from twitch.messages import INVALID, STARTED, Answer, Run
from twitch.root import peer_access

ASKED = Run("anonymous", "192.0.2.7")
VALID: dict[str, Any] = {"ask": "run", "caller": "anonymous", "client": "192.0.2.7"}


# ---- who may ask


def as_uid(uid: int) -> tuple[socket.socket, socket.socket]:
    """Return a connection whose peer has this uid (SO_PEERCRED keeps the uid at its creation)."""
    os.seteuid(uid)
    try:
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    finally:
        os.seteuid(0)


def ask_as(node: FakeNode, uid: int, asked: Run = ASKED) -> tuple[Answer, int, str]:
    """Ask for a run as this uid; return the answer, and the exit status and stderr of the handler."""
    peer, stdin = as_uid(uid)
    with peer, stdin:
        peer.settimeout(LIMIT_S)
        process = node.handle(new_run(1), stdin.fileno(), stderr=subprocess.PIPE)
        peer.sendall(messages.encode(asked))
        answer = messages.decode_answer(peer.recv(4096))
        _, errors = process.communicate(timeout=LIMIT_S)
    return answer, process.returncode, errors.decode()


@pytest.mark.parametrize("uid", [0, TWITCH_UID], ids=["root", "twitch"])
def test_root_and_the_listener_may_ask(node: FakeNode, uid: int) -> None:
    assert ask_as(node, uid) == (Answer(STARTED, run=new_run(1)), 0, "")


def test_another_user_may_not_ask(node: FakeNode) -> None:
    reason = "uid 65534 may not ask; only root and twitch may"
    assert ask_as(node, 65534) == (Answer(INVALID, reason=reason), 1, f"puppet-twitch: {reason}\n")
    assert node.puppet.calls() == []


def test_another_user_that_reads_late_gets_the_answer(node: FakeNode) -> None:
    peer, stdin = as_uid(65534)
    with peer:
        peer.settimeout(LIMIT_S)
        peer.sendall(messages.encode(ASKED))
        with stdin:
            process = node.handle(new_run(1), stdin.fileno(), stderr=subprocess.PIPE)
            process.communicate(timeout=LIMIT_S)
        assert messages.decode_answer(peer.recv(4096)).kind == INVALID


PERSON = Run("user:alice", "local", named=True)
POSING = {
    "as-a-person": PERSON,
    "as-a-person-elsewhere": PERSON._replace(client="192.0.2.7"),
    "as-a-person-beside-a-token": PERSON._replace(caller="token:deploy user:alice", client="192.0.2.7"),
    "at-the-node": PERSON._replace(caller="token:deploy"),
}


def test_root_may_ask_in_the_name_of_a_person(node: FakeNode) -> None:
    assert ask_as(node, 0, PERSON) == (Answer(STARTED, run=new_run(1)), 0, "")
    [record] = node.store.newest()
    assert (record.caller, record.client) == ("user:alice", "local")


@pytest.mark.parametrize("asked", POSING.values(), ids=POSING)
def test_the_listener_cannot_pose_as_a_person(node: FakeNode, asked: Run) -> None:
    reason = f"uid {TWITCH_UID} may not ask in the name of a user of this node; only root may"
    assert ask_as(node, TWITCH_UID, asked) == (
        Answer(INVALID, reason=reason),
        1,
        f"puppet-twitch: {reason}\n",
    )
    assert (node.puppet.calls(), node.store.newest()) == ([], [])


def test_root_alone_may_ask_if_the_listeners_user_does_not_exist(node: FakeNode) -> None:
    node.etc.joinpath("passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    node.etc.joinpath("group").write_text("root:x:0:\n")
    answer, status, _ = ask_as(node, TWITCH_UID)
    assert (answer.kind, status) == (INVALID, 1)
    assert ask_as(node, 0) == (Answer(STARTED, run=new_run(1)), 0, "")
    assert os.stat(node.store.directory).st_gid == 0


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        pytest.param(socket.AF_UNIX, socket.SOCK_STREAM, id="unix-stream"),
        pytest.param(socket.AF_INET, socket.SOCK_STREAM, id="tcp"),
        pytest.param(socket.AF_INET, socket.SOCK_DGRAM, id="udp"),
    ],
)
def test_input_that_is_another_kind_of_socket_is_refused(
    node: FakeNode, family: socket.AddressFamily, kind: socket.SocketKind
) -> None:
    with socket.socket(family, kind) as stdin:
        process = node.handle(new_run(1), stdin.fileno(), stderr=subprocess.PIPE)
    assert_no_connection(process)


def test_input_that_is_no_socket_is_refused(node: FakeNode) -> None:
    assert_no_connection(node.handle(new_run(1), subprocess.DEVNULL, stderr=subprocess.PIPE))


def assert_no_connection(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=LIMIT_S)
    text = "puppet-twitch: standard input is not a connection of puppet-twitch-run.socket\n"
    assert (process.returncode, errors.decode()) == (1, text)


def test_peer_that_sends_nothing_is_refused_after_the_timeout(
    root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_access, "PACKET_TIMEOUT_S", 0.01)
    peer, stdin = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with peer, stdin, pytest.raises(PacketError, match=r"no packet came within 0\.01 s"):
        peer_access.receive(stdin)


# ---- what it may ask


REFUSED: dict[str, bytes] = {
    "a-tag-that-is-an-option": json.dumps({**VALID, "tags": ["--server=evil.example.com"]}).encode(),
    "an-environment-with-a-newline": json.dumps({**VALID, "environment": "a\n--noop"}).encode(),
    "an-unknown-key": json.dumps({**VALID, "logdest": "/etc/passwd"}).encode(),
    "too-long": json.dumps({**VALID, "caller": "x" * 20000}).encode(),
    "two-objects": json.dumps(VALID).encode() * 2,
}


@pytest.mark.parametrize("packet", REFUSED.values(), ids=REFUSED)
def test_invalid_packet_is_answered_and_fails_the_unit(node: FakeNode, packet: bytes) -> None:
    question = Question(node, packet, run=new_run(1), stderr=subprocess.PIPE)
    answer = question.answer()
    assert answer.kind == INVALID
    assert question.errors() == f"puppet-twitch: {answer.reason}\n"
    assert question.end() == 1
    assert node.puppet.calls() == []
    assert node.store.newest() == []


def test_end_of_the_connection_without_a_packet_is_refused(node: FakeNode) -> None:
    question = Question(node, None, run=new_run(1), stderr=subprocess.DEVNULL)
    question.peer.shutdown(socket.SHUT_WR)
    assert question.answer().kind == INVALID
    assert question.end() == 1
