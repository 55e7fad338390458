"""What the handler hears: any packet gets an answer, and only a valid one from the right peer a run."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.house import PYTHON, TWITCH_UID, House, Question, new_run
from twitch import messages
from twitch.errors import PacketError
from twitch.messages import Answer, Run, Status
from twitch.root import handler

ASKED = Run("anonymous", "192.0.2.7")
VALID: dict[str, Any] = {"ask": "run", "caller": "anonymous", "client": "192.0.2.7"}


# ---- who may ask


def as_uid(uid: int) -> tuple[socket.socket, socket.socket]:
    """A connection whose peer has this uid (SO_PEERCRED is of the moment in which it is made)."""
    os.seteuid(uid)
    try:
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(("uid", "kind"), [(0, "started"), (TWITCH_UID, "started"), (65534, "invalid")])
def test_only_root_and_the_listener_may_ask(node: House, uid: int, kind: str) -> None:
    ours, theirs = as_uid(uid)
    process = node.handle(new_run(1), theirs.fileno(), stderr=subprocess.PIPE)
    theirs.close()
    ours.sendall(messages.encode(ASKED))
    answer = messages.decode_answer(ours.recv(4096))
    _, said = process.communicate()
    assert answer.kind == kind
    if kind == "invalid":
        assert answer.reason == "uid 65534 may not ask; only root and twitch may"
        assert (process.returncode, said.decode()) == (1, f"puppet-twitch: {answer.reason}\n")
        assert node.puppet.asked() == []


def test_without_the_listeners_user_root_alone_may_ask(node: House) -> None:
    node.etc.joinpath("passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    node.etc.joinpath("group").write_text("root:x:0:\n")
    ours, theirs = as_uid(TWITCH_UID)
    process = node.handle(new_run(1), theirs.fileno(), stderr=subprocess.DEVNULL)
    ours.sendall(messages.encode(ASKED))
    assert messages.decode_answer(ours.recv(4096)).kind == "invalid"
    assert process.wait() == 1
    question = Question(node, ASKED, run=new_run(1))
    assert question.answer().kind == "started"
    question.end()
    assert os.stat(node.store.directory).st_gid == 0


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        pytest.param(socket.AF_UNIX, socket.SOCK_STREAM, id="unix-stream"),
        pytest.param(socket.AF_INET, socket.SOCK_STREAM, id="tcp"),
        pytest.param(socket.AF_INET, socket.SOCK_DGRAM, id="udp"),
    ],
)
def test_another_kind_of_socket_is_not_listened_to(
    node: House, family: socket.AddressFamily, kind: socket.SocketKind
) -> None:
    with socket.socket(family, kind) as stdin:
        process = node.handle(new_run(1), stdin.fileno(), stderr=subprocess.PIPE)
    _, said = process.communicate()
    text = "puppet-twitch: standard input is not a connection of puppet-twitch-run.socket\n"
    assert (process.returncode, said.decode()) == (1, text)


def test_no_socket_at_all_is_explained(node: House) -> None:
    process = node.handle(new_run(1), subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, said = process.communicate()
    text = "puppet-twitch: standard input is not a connection of puppet-twitch-run.socket\n"
    assert (process.returncode, said.decode()) == (1, text)


def test_a_peer_that_says_nothing_is_not_waited_for(root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "PACKET_TIMEOUT_S", 0.01)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, pytest.raises(PacketError, match=r"no packet came within 0\.01 s"):
        handler._receive(theirs)


# ---- what it may ask


REFUSED: dict[str, bytes] = {
    "a-tag-that-is-an-option": json.dumps({**VALID, "tags": ["--server=evil.example.com"]}).encode(),
    "an-environment-with-a-newline": json.dumps({**VALID, "environment": "a\n--noop"}).encode(),
    "an-unknown-key": json.dumps({**VALID, "logdest": "/etc/passwd"}).encode(),
    "too-long": json.dumps({**VALID, "caller": "x" * 20000}).encode(),
    "two-objects": json.dumps(VALID).encode() * 2,
}


@pytest.mark.parametrize("packet", REFUSED.values(), ids=REFUSED)
def test_a_packet_that_is_refused_is_answered_and_fails_the_unit(node: House, packet: bytes) -> None:
    question = Question(node, packet, run=new_run(1), stderr=subprocess.PIPE)
    answer = question.answer()
    assert answer.kind == "invalid"
    assert question.process.stderr is not None
    assert question.process.stderr.read().decode() == f"puppet-twitch: {answer.reason}\n"
    assert question.end() == 1
    assert node.puppet.asked() == []
    assert node.store.newest() == []


def test_an_end_without_a_packet_is_refused(node: House) -> None:
    question = Question(node, None, run=new_run(1), stderr=subprocess.DEVNULL)
    question.peer.shutdown(socket.SHUT_WR)
    assert question.answer().kind == "invalid"
    assert question.end() == 1


# ---- anything

# A process with everything imported, inside the node, that forks a handler for each packet: the code
# and the paths are the real ones, only the start of the interpreter is not repeated.
FORKS = """\
import os, socket, sys
sys.path.insert(0, sys.argv[1])
from twitch import __main__
from twitch.root import conclude, handler, journal, status, turn
orders = socket.socket(fileno=3)
while True:
    run, descriptors, _, _ = socket.recv_fds(orders, 64, 1)
    if not run:
        sys.exit()
    child = os.fork()
    if child == 0:
        orders.close()
        os.dup2(descriptors[0], 0)
        os.close(descriptors[0])
        os.environ["INVOCATION_ID"] = run.decode()
        sys.stderr = open(os.devnull, "w")
        os._exit(__main__.main(["handle"]))
    os.close(descriptors[0])
    orders.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
"""


class Heard(NamedTuple):
    """What became of a packet."""

    answer: Answer
    status: int
    argv: list[str]  # of what it has become, if anything


class Forks:
    """Hands packets to handlers."""

    def __init__(self, node: House) -> None:
        self._node = node
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._count = 0
        with theirs:
            shell = ("/bin/sh", "-c", 'exec "$@" 3<&0 </dev/null', "sh")
            self._process = node.start(*shell, PYTHON, "-I", "-c", FORKS, node.tree, stdin=theirs.fileno())

    def hear(self, packet: bytes) -> Heard:
        self._count += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            socket.send_fds(self._orders, [new_run(self._count).encode()], [theirs.fileno()])
            if packet:
                ours.sendall(packet)
            else:
                ours.shutdown(socket.SHUT_WR)
            answer = messages.decode_answer(ours.recv(messages.MAX_PACKET_BYTES + 1))
            status = int(self._orders.recv(16))
        argv = [word for run in self._node.puppet.runs() for word in run["argv"]]
        for path in (
            *self._node.puppet.directory.glob("run.*"),
            self._node.run / "puppet-twitch/current.json",
        ):
            path.unlink(missing_ok=True)
        return Heard(answer, status, argv)

    def close(self) -> None:
        self._orders.close()
        self._process.wait()


@pytest.fixture
def forks(node: House) -> Iterator[Forks]:
    node.configure("[access]\ncooldown = 0\n")
    one = Forks(node)
    yield one
    one.close()


odd = st.sampled_from(["-x", "--server=x", "a\n", "a\tb", "a\0", "é", "x" * 101, "", "../x", " ", "a,b"])
words = st.sampled_from(["a", "A::b", "production"]) | odd
scalars: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | words
near: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"ask": st.sampled_from(["run", "run", "status"]), "caller": st.just("anonymous") | words},
    optional={
        "client": st.sampled_from(["192.0.2.7", "::1", "::1"]) | words,
        "noop": st.booleans() | scalars,
        "queue": st.booleans() | scalars,
        "tags": st.lists(words, max_size=3) | scalars,
        "environment": words | scalars,
        "server": words,
    },
)
packets = st.binary(max_size=60) | near.map(lambda fields: json.dumps(fields).encode())


HARMLESS = re.compile(
    r"--logdest=syslog,/run/puppet-twitch/runs/[0-9a-f]{32}\.jsonl|--noop|--strict_environment_mode"
    r"|--tags=[A-Za-z0-9_][A-Za-z0-9_:.,-]*|--environment=[A-Za-z0-9_]+"
)


@given(packet=packets)
@example(packet=json.dumps(VALID).encode())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_packet_is_answered_and_runs_only_what_it_may(forks: Forks, packet: bytes) -> None:
    heard = forks.hear(packet)
    try:
        question = messages.decode_question(packet)
    except PacketError:
        assert (heard.answer.kind, heard.status, heard.argv) == ("invalid", 1, [])
        return
    if isinstance(question, Status):
        assert (heard.answer.kind, heard.status, heard.argv) == ("status", 0, [])
    else:
        assert (heard.answer.kind, heard.status, heard.argv[1]) == ("started", 0, "agent")
        assert all(HARMLESS.fullmatch(word) for word in heard.argv[10:])
