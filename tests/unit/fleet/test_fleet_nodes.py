"""Simulated nodes answer as a real one: a listener, a handler for each question, and conclude after a run."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Union

import pytest

from tests import fleet_nodes
from tests.fleet_nodes.credentials import CONFIG, OPERATOR
from tests.unit import listening
from tests.unit.fake_node import REPOSITORY, FakeNode, new_run
from tests.unit.processes import LIMIT_S, exit_status, wait_until
from tests.unit.reports import report
from twitch.listener import tokens

# Known only where Puppet's processes can be looked at, and in an answer that the listener has not remembered.
OF_PROCESSES = {"doing", "usual_s", "phase", "unit", "since", "pid"}
# The phases of the report, of which there may be none.
OF_REPORT = {"phases_s"}

END = "end"  # of the run under way

# The requests in their order. RUN stands for the id of the first run, QUEUED for that of the second.
STORY: tuple[Union[str, tuple[str, str]], ...] = (
    ("GET", "/puppet/status"),
    ("GET", "/puppet/runs/last"),
    ("GET", f"/puppet/runs/{new_run(99)}?wait=0"),
    ("POST", "/puppet/twitch?lable=CHG-1"),
    ("POST", "/puppet/twitch?label=CHG-1&queue=true"),
    ("GET", "/puppet/status"),
    ("GET", "/puppet/runs/RUN"),
    ("GET", "/puppet/runs/RUN?wait=0"),
    ("POST", "/puppet/twitch?noop=true"),
    ("POST", "/puppet/twitch?queue=true&tags=ntp&wait=0"),
    ("POST", "/puppet/twitch?queue=true&noop=true"),
    ("GET", "/puppet/status"),
    ("GET", "/puppet/runs?limit=10"),
    END,
    ("GET", "/puppet/runs/RUN?wait=50"),
    END,
    ("GET", "/puppet/runs/QUEUED?wait=50"),
    ("GET", "/puppet/runs/last"),
    ("GET", "/puppet/runs?since=1h"),
    ("GET", "/puppet/status?max_age=2h"),
    ("DELETE", "/puppet/status"),
)


class Systemd(threading.Thread):
    """Starts a handler for each connection to the run socket, and conclude when a run has ended."""

    def __init__(self, node: FakeNode) -> None:
        super().__init__(daemon=True)
        self._node = node
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = node.run / "puppet-twitch/run.sock"
        self._socket.bind(os.fspath(path))
        path.chmod(0o666)
        self._socket.listen(16)
        self._number = 0
        self._handlers: list[threading.Thread] = []
        self.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # closed
            self._number += 1
            handler = threading.Thread(target=self._handle, args=(connection, new_run(self._number)))
            self._handlers.append(handler)
            handler.start()

    def _handle(self, connection: socket.socket, run: str) -> None:
        with connection:
            exit_status(self._node.handle(run, connection.fileno()))
            if self._node.store.read(run):
                self._node.conclude(run)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self.join(LIMIT_S)
        self._socket.close()
        for handler in self._handlers:
            handler.join(LIMIT_S)


def tell(address: tuple[str, int], token: str, end: Callable[[str], None]) -> list[tuple[Any, ...]]:
    """Return the answer to each request of STORY: its status, the names of its headers, its form in JSON."""
    answers: list[tuple[Any, ...]] = []
    runs: list[str] = []
    to_end = iter(runs)
    for step in STORY:
        if isinstance(step, str):
            end(next(to_end))
            continue
        method, target = step
        for word, run in zip(("RUN", "QUEUED"), runs):
            target = target.replace(word, run)
        connection = http.client.HTTPConnection(*address, timeout=LIMIT_S)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        if answer.status == 202 and method == "POST":
            runs.append(body["run"])
        names = [name for name, _ in answer.getheaders()]
        answers.append((*step, answer.status, names, form(body)))
    return answers


def form(value: Any) -> Any:
    """Return the keys and types of a value in JSON, and of a list the form of its first item."""
    if isinstance(value, dict):
        return {name: form(item) for name, item in value.items() if not by_chance(name, item)}
    if isinstance(value, list):
        return [form(item) for item in value[:1]]
    return (
        "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__
    )


def by_chance(name: str, value: Any) -> bool:
    """Return whether a field is not always in the answer of a real node."""
    progress = name == "resources" and isinstance(value, int)
    return progress or name in OF_PROCESSES | OF_REPORT


@pytest.fixture
def real(node: FakeNode) -> Iterator[list[tuple[Any, ...]]]:
    """Return the answers of a real listener and real handlers, whose Puppet is a command of the test."""
    token, line = tokens.new(OPERATOR)
    node.etc.joinpath("puppet-twitch/tokens").write_text(line + "\n")
    node.configure(CONFIG.format(anonymous="status"))
    node.puppet.hold_runs()
    # Where the user of the listener can read it, as in an installation.
    shutil.copytree(node.tree, node.lib / "tree")
    node.tree = Path("/var/lib/tree")

    def end(run: str) -> None:
        node.puppet.report.write_text(report(job_id=run))
        node.puppet.release_run()

    systemd = Systemd(node)
    with listening.port() as port:
        listener = listening.start(node, port)
        yield tell(port.getsockname(), token, end)
        listening.stopped(listener)
    systemd.close()


@pytest.fixture
def simulated() -> Iterator[list[tuple[Any, ...]]]:
    """Return the answers of a simulated node."""
    with fleet_nodes.start(nodes=1, run_s=(LIMIT_S, LIMIT_S)) as fleet:
        [node] = fleet.specs
        yield tell((node.address, fleet.port), fleet.credentials.token, lambda run: fleet.finish(node.name))


def test_simulated_node_answers_as_a_real_one(
    real: list[tuple[Any, ...]], simulated: list[tuple[Any, ...]]
) -> None:
    for ours, theirs in zip(simulated, real):
        assert ours == theirs
    assert len(simulated) == len(real) == len([step for step in STORY if step != END])


# Starts a fleet, prints the processes of its nodes, and waits.
STARTED = """
import time
from tests import fleet_nodes
with fleet_nodes.start(nodes=1500) as fleet:
    print(*(process.pid for process in fleet.processes), flush=True)
    time.sleep(600)
"""


def test_simulated_nodes_end_with_the_process_that_has_started_them(tmp_path: Path) -> None:
    command, environment = [sys.executable, "-c", STARTED], {**os.environ, "TMPDIR": os.fspath(tmp_path)}
    parent = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, env=environment)
    assert parent.stdout
    pids = parent.stdout.readline().decode().split()
    assert pids
    parent.kill()
    parent.communicate(timeout=LIMIT_S)
    wait_until(lambda: not any(map(goes_on, pids)), "the nodes end")
    wait_until(lambda: not list(tmp_path.glob("fleet-nodes-*")), "their files are removed")


def goes_on(pid: str) -> bool:
    """Return whether a process has not ended; one that nobody has waited for (Z) has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
