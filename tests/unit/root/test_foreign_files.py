"""A status and a conclude answer whatever user `puppet` has put where Puppet's files should be.

Real processes of puppet-twitch, on real files.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Callable

import pytest

from tests.unit.concluding import dead_claim, read
from tests.unit.fake_node import PYTHON, FakeNode, Question, new_run
from tests.unit.processes import LIMIT_S, exit_status
from tests.unit.records import RUN, record
from tests.unit.reports import SUMMARY
from tests.unit.root.test_plain_yaml import BOMB
from twitch import messages
from twitch.messages import STATUS, Status
from twitch.records import RUNNING


def loop(path: Path) -> None:
    path.symlink_to(path)


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**30)


PLACED: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "zeros-without-end": lambda path: path.symlink_to("/dev/zero"),
    "link-loop": loop,
    "directory": Path.mkdir,
    "references": lambda path: path.write_text(BOMB),
    "deep": lambda path: path.write_text("[" * 2**20),
    "deep-json": lambda path: path.write_text('{"metrics":' + "[" * 2**20),
    "wide-json": lambda path: path.write_text('{"status":"changed","metrics":[' + "[]," * 2**22 + "1]}"),
    "a-gigabyte": sparse,
    "binary": lambda path: path.write_bytes(os.urandom(2**20)),
    "one-line": lambda path: path.write_bytes(b"x" * 2**25),
    "empty": Path.touch,
}


def place(node: FakeNode, make: Callable[[Path], object], *paths: Path) -> None:
    for path in paths or (node.puppet.report, node.puppet.summary, node.puppet.lock, node.puppet.disabled):
        make(path)


@pytest.mark.parametrize("make", PLACED.values(), ids=PLACED)
def test_status_answers(node: FakeNode, make: Callable[[Path], object]) -> None:
    place(node, make, node.puppet.report, node.puppet.summary, node.puppet.lock)
    answer = Question(node, Status(), run=new_run(1)).answer()
    assert answer.kind == STATUS and answer.status is not None
    assert answer.status.state == "idle"
    assert answer.status.last is None


@pytest.mark.parametrize("make", PLACED.values(), ids=PLACED)
def test_conclude_ends_a_run(node: FakeNode, make: Callable[[Path], object]) -> None:
    os.mkdir(node.store.directory)
    settings = node.puppet.settings._asdict()
    node.store.write(record(RUN, RUNNING, command="agent", settings=settings))
    node.store.claims.write_current(dead_claim())
    place(node, make)
    node.conclude(RUN, status="2")
    ended = read(node.store)
    assert (ended.state, ended.verdict, ended.unreported) == ("finished", "changed", True)


@pytest.mark.parametrize("kind", ["status", "conclude"])
def test_limit_of_memory_ends_in_an_answer(node: FakeNode, kind: str) -> None:
    # A hard limit of the unit's is kept, if it is lower than ours: here so low that it strikes.
    node.store.prepare(0)
    node.store.write(record(RUN, RUNNING, command="agent", settings=node.puppet.settings._asdict()))
    node.store.claims.write_current(dead_claim())
    PLACED["wide-json"](node.puppet.report)
    node.puppet.summary.write_text(SUMMARY)
    limit = ["/usr/bin/prlimit", f"--data={20 * 2**20}"]
    environment = {"INVOCATION_ID": RUN, "EXIT_CODE": "exited", "EXIT_STATUS": "2"}
    if kind == "conclude":
        process = node.start(*limit, PYTHON, "-I", node.tree, "conclude", environment=environment)
        assert exit_status(process) == 0
    else:
        peer, stdin = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with peer, stdin:
            process = node.start(
                *limit, PYTHON, "-I", node.tree, "handle", stdin=stdin.fileno(), environment=environment
            )
            peer.settimeout(LIMIT_S)
            peer.sendall(messages.encode(Status()))
            answer = messages.decode_answer(peer.recv(messages.MAX_PACKET_BYTES + 1))
            assert exit_status(process) == 0
        assert answer.status is not None and answer.status.last is not None
        assert answer.status.last.counts["changed"] == 1  # of the summary
    ended = read(node.store)
    assert (ended.state, bool(ended.unreported)) == ("finished", kind == "conclude")
