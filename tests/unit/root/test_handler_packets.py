"""Questions to the handler: each kind has a function, and any packet is answered and runs only Puppet."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.fake_node import PYTHON, FakeNode, new_run
from tests.unit.processes import LIMIT_S, exit_status
from twitch import messages
from twitch.errors import PacketError
from twitch.messages import INVALID, STARTED, STATUS, Answer, Run, Status
from twitch.root import handler

ASKED = Run("anonymous", "192.0.2.7")
VALID: dict[str, Any] = {"ask": "run", "caller": "anonymous", "client": "192.0.2.7"}


# ---- kinds of questions


def test_handler_has_a_function_for_each_kind_of_question() -> None:
    assert set(handler.HANDLERS) == {kind.type for kind in messages.QUESTIONS.values()}


# A handler of a version whose messages.py has a kind of question that handler.py does not have.
WITH_ANOTHER_KIND = """\
import sys
sys.path.insert(0, sys.argv[1])
from twitch import __main__, messages

class Reboot(tuple):
    pass

messages.QUESTIONS["reboot"] = messages.Kind(Reboot, lambda fields: Reboot())
sys.exit(__main__.main(["handle"]))
"""


def test_kind_of_question_without_a_function_is_an_error_and_not_a_status(node: FakeNode) -> None:
    peer, stdin = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with peer, stdin:
        peer.settimeout(LIMIT_S)
        command = (PYTHON, "-I", "-c", WITH_ANOTHER_KIND, node.tree)
        process = node.start(*command, stdin=stdin.fileno(), stderr=subprocess.PIPE)
        stdin.close()
        peer.sendall(b'{"ask":"reboot"}')
        assert peer.recv(messages.MAX_PACKET_BYTES) == b""  # the end, without an answer
        _, errors = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, "KeyError" in errors.decode()) == (1, True)
    assert (node.puppet.calls(), node.store.newest()) == ([], [])


# ---- any packet

# A process on the node with everything imported, which forks a handler for each packet: the code and the
# paths are the real ones, only the start of the interpreter is not repeated.
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


class Outcome(NamedTuple):
    """What became of a packet."""

    answer: Answer
    exit_status: int
    argv: list[str]  # of the Puppet that the handler became, if it did


class Forks:
    """Hands packets to handlers."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node
        self._orders, stdin = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders.settimeout(LIMIT_S)
        self._count = 0
        with stdin:
            shell = ("/bin/sh", "-c", 'exec "$@" 3<&0 </dev/null', "sh")
            self._process = node.start(*shell, PYTHON, "-I", "-c", FORKS, node.tree, stdin=stdin.fileno())

    def handle(self, packet: bytes) -> Outcome:
        self._count += 1
        peer, stdin = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with peer, stdin:
            peer.settimeout(LIMIT_S)
            socket.send_fds(self._orders, [new_run(self._count).encode()], [stdin.fileno()])
            if packet:
                peer.sendall(packet)
            else:
                peer.shutdown(socket.SHUT_WR)
            answer = messages.decode_answer(peer.recv(messages.MAX_PACKET_BYTES + 1))
            status = int(self._orders.recv(16))
        argv = [word for run in self._node.puppet.runs() for word in run["argv"]]
        for path in (
            *self._node.puppet.directory.glob("run.*"),
            self._node.run / "puppet-twitch/current.json",
        ):
            path.unlink(missing_ok=True)
        return Outcome(answer, status, argv)

    def close(self) -> None:
        self._orders.close()
        exit_status(self._process)


@pytest.fixture
def forks(node: FakeNode) -> Iterator[Forks]:
    node.configure("[access]\ncooldown = 0\n")
    started = Forks(node)
    yield started
    started.close()


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
    r"--logdest=syslog|--noop|--strict_environment_mode"
    r"|--tags=[A-Za-z0-9_][A-Za-z0-9_:.,-]*|--environment=[A-Za-z0-9_]+"
)


@given(packet=packets)
@example(packet=json.dumps(VALID).encode())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_packet_is_answered_and_runs_nothing_but_an_agent(forks: Forks, packet: bytes) -> None:
    outcome = forks.handle(packet)
    try:
        question = messages.decode_question(packet)
    except PacketError:
        assert (outcome.answer.kind, outcome.exit_status, outcome.argv) == (INVALID, 1, [])
        return
    if isinstance(question, Status):
        assert (outcome.answer.kind, outcome.exit_status, outcome.argv) == (STATUS, 0, [])
    else:
        assert (outcome.answer.kind, outcome.exit_status, outcome.argv[1]) == (STARTED, 0, "agent")
        assert all(HARMLESS.fullmatch(word) for word in outcome.argv[12:])
